import type { Clock } from "../../lib/clock.ts";
import { type MatrixEvent, splitStateKey } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import type { EventStore } from "../../storage/events/event-store.ts";
import { derivedText } from "../../storage/events/persist/bulk.ts";
import type { MembershipChange, Memberships } from "../../storage/rooms/memberships.ts";
import type { RoomVersions } from "../../storage/rooms/room-versions.ts";
import { emptyState } from "../../storage/state/snapshot.ts";
import type { StateStore } from "../../storage/state/state-store.ts";
import type { Streams } from "../../storage/stream-ids.ts";
import type { Crowds } from "../push/crowds.ts";
import type { StreamChanges } from "../streams/changes.ts";
import type { Notifier } from "../streams/notifier.ts";
import type { EventToPersist } from "./event-to-persist.ts";
import type { PlannedRoom } from "./plan.ts";

export interface PublishContext {
  readonly clock: Clock;
  readonly serverName: string;
  readonly events: EventStore;
  readonly state: StateStore;
  readonly members: Memberships;
  readonly roomVersions: RoomVersions;
  readonly streams: Streams;
  readonly notifier: Notifier;
  readonly changes: StreamChanges;
  readonly crowds: Crowds;
}

/** What was stored of one room, for those who act upon it (device lists, presence, appservices, pushers). */
export interface StoredEvents {
  readonly roomId: string;
  readonly backfilled: boolean;
  /** New events that the auth rules allow, outliers among them. */
  readonly events: readonly MatrixEvent[];
  readonly memberships: readonly MembershipChange[];
  /** The same events with whom they notify. */
  readonly items: readonly EventToPersist[];
  /** Events of the room were redacted. */
  readonly redacted: boolean;
  /** The last local user has left. */
  readonly serverLeft: boolean;
}

/** More changed memberships that are not at hand than this: the room's members are read anew instead. */
const FEW = 50;

/** Brings the caches in step with what was stored, and wakes those whom it concerns as soon as it is visible. */
export class Publisher {
  private readonly listeners = new Set<(stored: StoredEvents) => void>();
  /** What waits until its position is visible: ids become visible in order (risk 22). */
  private notices: { readonly position: number; readonly userIds: ReadonlySet<string>; readonly roomId: string }[] = [];

  constructor(private readonly ctx: PublishContext) {
    ctx.streams.events.onAdvance((token) => this.flush(token));
  }

  /** Calls `fn` after each commit, before the events are visible to sync; returns the function that stops it. `fn` must not throw. */
  onStored(fn: (stored: StoredEvents) => void): () => void {
    this.listeners.add(fn);
    return () => this.listeners.delete(fn);
  }

  stored(rooms: readonly PlannedRoom[]): void {
    for (const room of rooms) this.storedRoom(room);
  }

  private storedRoom({ plan, work }: PlannedRoom): void {
    const { ctx } = this;
    const { roomId } = plan;
    const forgotten = new Set<string>();
    for (const { event, after, before, mayBeRedacted } of plan.events) {
      ctx.roomVersions.remember(roomId, event.roomVersion);
      if (mayBeRedacted) ctx.events.forget(event.eventId);
      else ctx.events.remember(event);
      const group = event.rejectedReason === undefined ? after : before;
      if (group !== undefined) ctx.state.remember(event.eventId, group);
      if (event.redacts !== undefined && event.rejectedReason === undefined) forgotten.add(event.redacts);
    }
    for (const { event, after } of plan.deoutliered) {
      forgotten.add(event.eventId);
      if (after !== undefined) ctx.state.remember(event.eventId, after);
    }
    for (const id of forgotten) {
      ctx.events.forget(id);
      ctx.crowds.forget(roomId, id);
    }
    for (const { event, crowd } of work.items) if (crowd !== undefined && crowd.length > 0 && event.rejectedReason === undefined) ctx.crowds.add(event, crowd);
    if (plan.banRedactions.length > 0) ctx.events.forgetRoom(roomId);
    if (plan.state !== undefined) ctx.state.currentBecame(roomId, plan.state.serverLeft ? emptyState : plan.state.next);

    const memberships = this.applyMemberships({ plan, work });
    const accepted = plan.events.filter(({ event }) => event.rejectedReason === undefined);
    const stored: StoredEvents = {
      roomId,
      backfilled: plan.backfilled,
      events: accepted.map(({ event }) => event),
      memberships,
      items: work.items.filter(({ event }) => event.rejectedReason === undefined),
      redacted: forgotten.size > 0 || plan.banRedactions.length > 0,
      serverLeft: plan.state?.serverLeft === true,
    };
    if (!plan.backfilled) this.notify({ plan, work }, memberships);
    for (const listener of this.listeners) listener(stored);
  }

  /** Current memberships that changed, those learnt out of band included. */
  private applyMemberships({ plan, work }: Pick<PlannedRoom, "plan" | "work">): MembershipChange[] {
    const { ctx } = this;
    const { roomId } = plan;
    const atHand = new Map(work.items.map(({ event }) => [event.eventId, event]));
    const changes: MembershipChange[] = [];
    const unknown: string[] = [];
    for (const [key, id] of plan.state?.set ?? []) {
      const [type, userId] = splitStateKey(key);
      if (type !== "m.room.member") continue;
      const event = atHand.get(id) ?? ctx.events.peek(id);
      if (event === undefined) unknown.push(userId);
      else changes.push({ ...membershipChange(userId, event), replaces: plan.state?.previous.get(key) });
    }
    for (const key of plan.state?.removed ?? []) {
      const [type, userId] = splitStateKey(key);
      if (type !== "m.room.member") continue;
      changes.push({
        roomId,
        userId,
        membership: undefined,
        sender: "",
        eventId: "",
        streamOrdering: 0,
        roomVersion: undefined,
        profile: { displayName: undefined, avatarUrl: undefined },
      });
    }
    for (const { event } of plan.events) {
      if (plan.backfilled || !event.outlier || event.internal.out_of_band_membership !== true || event.rejectedReason !== undefined) continue;
      if (event.stateKey !== undefined && getDomain(event.stateKey) === ctx.serverName) changes.push(membershipChange(event.stateKey, event));
    }
    ctx.members.apply(changes);
    for (const userId of unknown) ctx.members.forgetUser(userId);
    if (unknown.length > 0 || plan.state?.serverLeft === true || changes.length > FEW * 20) ctx.members.forgetRoom(roomId);
    return changes;
  }

  private notify({ plan, work }: Pick<PlannedRoom, "plan" | "work">, memberships: readonly MembershipChange[]): void {
    const { ctx } = this;
    const live = plan.events.filter(({ event }) => event.rejectedReason === undefined && !event.outlier);
    const position = Math.max(
      plan.position,
      ...plan.events.map(({ streamOrdering }) => streamOrdering),
      ...plan.deoutliered.map(({ streamOrdering }) => streamOrdering),
    );
    if (live.length > 0 || plan.state !== undefined) ctx.changes.events.record(plan.roomId, position);
    if (plan.state !== undefined) ctx.changes.currentState.record(plan.roomId, position);
    if (plan.backward.gaps.length > 0) ctx.changes.timelineGaps.record(plan.roomId, position);
    for (const { event, streamOrdering } of live)
      ctx.changes.recentEvents.record(plan.roomId, { position: streamOrdering, eventId: event.eventId, depth: event.depth });
    const userIds = new Set<string>();
    for (const { userId } of memberships) if (getDomain(userId) === ctx.serverName) userIds.add(userId);
    for (const { alsoWake } of work.items) for (const userId of alsoWake ?? []) userIds.add(userId);
    this.notices.push({ position, userIds, roomId: plan.roomId });
  }

  private flush(token: number): void {
    if (this.notices.length > 0) {
      const visible = this.notices.filter(({ position }) => position <= token);
      this.notices = this.notices.filter(({ position }) => position > token);
      for (const { userIds, roomId } of visible) {
        this.ctx.notifier.wakeUsers(userIds, "room_key");
        const members = this.ctx.members.peekLocal(roomId);
        if (members !== undefined) this.ctx.notifier.wakeMembers(members, "room_key");
        else void this.wakeLater(roomId);
      }
    }
    this.ctx.notifier.announce();
  }

  /** The room's members are not in memory: a room that nobody has looked at since the start. */
  private async wakeLater(roomId: string): Promise<void> {
    try {
      this.ctx.notifier.wakeMembers(await this.ctx.members.joinedLocal(roomId), "room_key");
    } catch {
      // The database went away: whoever waits looks again by itself.
    }
  }
}

function membershipChange(userId: string, event: MatrixEvent): MembershipChange {
  return {
    roomId: event.roomId,
    userId,
    membership: event.membership ?? "",
    sender: event.sender,
    eventId: event.eventId,
    streamOrdering: event.streamOrdering ?? 0,
    roomVersion: event.roomVersion.id,
    profile: { displayName: derivedText(event.content.displayname) ?? undefined, avatarUrl: derivedText(event.content.avatar_url) ?? undefined },
  };
}
