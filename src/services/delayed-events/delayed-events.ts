import type { Timer } from "../../lib/clock.ts";
import { isJsonObject, type JsonObject, JsonText, stringifyAscii } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { forbidden, MatrixError, notFound } from "../../protocol/errors.ts";
import { MatrixEvent } from "../../protocol/event/event.ts";
import { localpartOf } from "../../protocol/ids.ts";
import {
  anyDelayedEvents,
  cancelDelayedEvent,
  cancelOvertakenStateEvents,
  type DelayedEvent,
  delayedEventRoomAt,
  delayedEventsOf,
  delayedEventsPosition,
  deleteSentEvent,
  insertDelayedEvent,
  nextDelayedSend,
  restartDelayedEvent,
  saveDelayedEventsPosition,
  skipDelayedEventsPosition,
  takeDelayedEvent,
  takeDueEvents,
  takenEvents,
} from "../../storage/events/delayed-events.ts";
import type { Context } from "../context.ts";
import { type Requester, requesterFor } from "../requester.ts";
import type { MembershipAction } from "../rooms/local-membership.ts";
import { updateMembership } from "../rooms/membership.ts";
import type { Publisher } from "../events/publish.ts";
import { sendEvent, ShadowBanned } from "../events/send.ts";
import { checkSize, validateNewEvent } from "../events/validate.ts";

/** An event to be sent later. */
export interface NewDelayedEvent {
  readonly roomId: string;
  readonly type: string;
  /** undefined for messages. */
  readonly stateKey: string | undefined;
  readonly content: JsonObject;
  /** Milliseconds. */
  readonly delay: number;
  readonly timestamp: number | undefined;
  readonly stickyDurationMs: number | undefined;
}

/** What other processes may have added is looked for so often, ms. */
const LOOK_AGAIN_MS = 60_000;

/**
 * Events that are sent later unless their owner cancels or restarts them (MSC4140): how calls notice who dropped out. They are rows, so
 * they outlive restarts; the main process sends them. State that another user changes cancels what waits to change it.
 */
export class DelayedEvents {
  private timer: Timer | undefined;
  private started = false;
  private closed = false;
  /** Something may wait: state is to be followed. */
  private waiting = true;
  private stateChanged = false;
  /** Work goes one after another, so that nothing is sent that was overtaken. */
  private work: Promise<void> = Promise.resolve();
  private readonly undo: (() => void)[] = [];

  constructor(private readonly context: () => Context) {}

  /** Sends what was due while the server was down, then all that comes due. Main process only. */
  async start(publisher: Publisher): Promise<void> {
    if (this.started) return;
    this.started = true;
    const ctx = this.context();
    this.undo.push(
      publisher.onStored(({ events, backfilled }) => {
        if (!backfilled && events.some((event) => event.stateKey !== undefined)) this.stateChanged = true;
      }),
      ctx.streams.events.onAdvance(() => {
        if (this.waiting && this.stateChanged) this.inBackground("delayed_events.notify_new_event", () => this.follow());
      }),
    );
    await this.follow();
    const interrupted = await ctx.transaction("take_interrupted_delayed_events", (txn) => takenEvents(txn, ctx.config.server.serverName));
    this.inBackground("_send_events", async () => {
      await this.sendAll(interrupted);
      await this.sendDue();
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    this.timer?.cancel();
    for (const undo of this.undo) undo();
    await this.work;
  }

  /** Resolves when the work under way is done. */
  async settled(): Promise<void> {
    await this.work;
  }

  /**
   * Schedules an event; returns its delay id.
   * @throws MatrixError 403 M_FORBIDDEN where delayed events are off or the delay is too long, 404 for unknown rooms, 429, and as sending an event
   */
  async add(requester: Requester, event: NewDelayedEvent): Promise<string> {
    const ctx = this.context();
    const { server } = ctx.config;
    await ctx.limits.check("message", requester.userId, { requester });
    if (!server.msc4140Enabled) throw forbidden("Sending delayed events has been disallowed");
    if (event.delay > server.maxEventDelayDurationMs)
      throw forbidden(`The requested delay (${event.delay}ms) exceeds the allowed maximum (${server.maxEventDelayDurationMs}ms)`);
    await this.validate(requester, event);
    const now = ctx.clock.now();
    const row: DelayedEvent = {
      delay_id: `syd_${ctx.random.letters(20)}`,
      user_localpart: localpartOf(requester.userId),
      device_id: requester.deviceId ?? null,
      delay: event.delay,
      send_ts: now + event.delay,
      room_id: event.roomId,
      event_type: event.type,
      state_key: event.stateKey ?? null,
      origin_server_ts: event.timestamp ?? null,
      content: stringifyAscii(event.content),
      sticky_duration_ms: event.stickyDurationMs ?? null,
    };
    const position = ctx.streams.events.currentToken();
    await ctx.transaction("add_delayed_event", async (txn) => {
      const roomAt = await delayedEventRoomAt(txn, row.user_localpart, server.maxDelayedEventsPerUser);
      if (roomAt !== undefined) throw tooMany(roomAt - now);
      await skipDelayedEventsPosition(txn, position);
      await insertDelayedEvent(txn, row);
    });
    this.waiting = true;
    await this.schedule();
    return row.delay_id;
  }

  /** What waits of a user, as clients see it. */
  async list(requester: Requester): Promise<object[]> {
    const ctx = this.context();
    await ctx.limits.check("delayedEventMgmt", requester.userId, { requester });
    const rows = await delayedEventsOf(ctx.read, localpartOf(requester.userId));
    return rows.map((row) => ({
      delay_id: row.delay_id,
      room_id: row.room_id,
      type: row.event_type,
      ...(row.state_key === null ? {} : { state_key: row.state_key }),
      delay: row.delay,
      running_since: row.send_ts - row.delay,
      content: new JsonText(row.content),
    }));
  }

  /** @throws MatrixError 404 M_NOT_FOUND when nothing of that id waits */
  async cancel(delayId: string): Promise<void> {
    if (!(await this.context().transaction("cancel_delayed_event", (txn) => cancelDelayedEvent(txn, storable(delayId))))) throw unknownEvent();
    await this.schedule();
  }

  /** Lets the time run anew. @throws MatrixError 404 M_NOT_FOUND when nothing of that id waits */
  async restart(delayId: string): Promise<void> {
    const ctx = this.context();
    if (!(await ctx.transaction("restart_delayed_event", (txn) => restartDelayedEvent(txn, storable(delayId), ctx.clock.now())))) throw unknownEvent();
    await this.schedule();
  }

  /** Sends it now. @throws MatrixError 404 M_NOT_FOUND when nothing of that id waits, and as sending an event */
  async send(delayId: string): Promise<void> {
    const row = await this.context().transaction("process_target_delayed_event", (txn) => takeDelayedEvent(txn, storable(delayId)));
    if (row === undefined) throw unknownEvent();
    await this.schedule();
    await this.sendOne(row, row.origin_server_ts ?? undefined);
  }

  /** Sets the timer to what comes next. */
  private async schedule(): Promise<void> {
    if (!this.started || this.closed) return;
    const ctx = this.context();
    const next = await nextDelayedSend(ctx.read);
    this.timer?.cancel();
    if (this.closed) return;
    const wait = next === undefined ? LOOK_AGAIN_MS : Math.min(Math.max(next - ctx.clock.now(), 0), LOOK_AGAIN_MS);
    this.timer = ctx.clock.after(wait, () => this.inBackground("_send_on_timeout", () => this.sendDue()));
  }

  private async sendDue(): Promise<void> {
    const ctx = this.context();
    try {
      await this.follow();
      const next = await nextDelayedSend(ctx.read);
      if (next !== undefined && next <= ctx.clock.now())
        await this.sendAll(await ctx.transaction("process_timeout_delayed_events", (txn) => takeDueEvents(txn, ctx.clock.now())));
    } finally {
      await this.schedule();
    }
  }

  /** Of several that set the same state, the first one that succeeds counts. */
  private async sendAll(rows: readonly DelayedEvent[]): Promise<void> {
    const ctx = this.context();
    const sent = new Set<string>();
    for (const row of rows) {
      const key = row.state_key === null ? undefined : JSON.stringify([row.room_id, row.event_type, row.state_key]);
      try {
        if (key !== undefined && sent.has(key)) await ctx.transaction("delete_processed_delayed_event", (txn) => deleteSentEvent(txn, row.delay_id));
        else {
          await this.sendOne(row, row.origin_server_ts ?? row.send_ts);
          if (key !== undefined) sent.add(key);
        }
      } catch (error) {
        ctx.log.named("synapse.handlers.delayed_events").warn("Failed to send delayed event", { error });
      }
    }
  }

  /** The row goes when the event is sent or refused; when something failed here, it stays for the next start. */
  private async sendOne(row: DelayedEvent, timestamp: number | undefined): Promise<void> {
    const ctx = this.context();
    const done = (): Promise<void> => ctx.transaction("delete_processed_delayed_event", (txn) => deleteSentEvent(txn, row.delay_id));
    try {
      await this.deliver(row, timestamp);
    } catch (error) {
      if (!(error instanceof MatrixError) && !(error instanceof ShadowBanned)) throw error;
      await done();
      if (error instanceof MatrixError) throw error;
      return;
    }
    await done();
  }

  private async deliver(row: DelayedEvent, timestamp: number | undefined): Promise<void> {
    const ctx = this.context();
    const userId = `@${row.user_localpart}:${ctx.config.server.serverName}`;
    const user = await ctx.accounts.user(userId);
    const requester = requesterFor(userId, {
      deviceId: row.device_id ?? undefined,
      isGuest: user?.isGuest ?? false,
      shadowBanned: user?.shadowBanned ?? false,
    });
    const parsed = parseJson(row.content);
    const content = isJsonObject(parsed) ? parsed : {};
    const { room_id: roomId, delay_id: delayId } = row;
    // Scheduling counted against the limit already; an event that waited must not be lost to it.
    const options = { rateLimit: false };
    if (row.event_type === "m.room.member" && row.state_key !== null) {
      const action = content["membership"] as MembershipAction;
      await updateMembership(ctx, requester, { roomId, target: row.state_key, action, content, timestamp, delayId }, options);
    } else {
      const stickyDurationMs = row.sticky_duration_ms ?? undefined;
      await sendEvent(
        ctx,
        requester,
        { roomId, type: row.event_type, stateKey: row.state_key ?? undefined, content, timestamp, delayId, stickyDurationMs },
        options,
      );
    }
  }

  /** Cancels what was overtaken by changes of state. */
  private async follow(): Promise<void> {
    const ctx = this.context();
    this.stateChanged = false;
    if (!(await anyDelayedEvents(ctx.read))) {
      this.waiting = false;
      return;
    }
    const position = ctx.streams.events.currentToken();
    await ctx.transaction("cancel_delayed_state_events", async (txn) => {
      const last = await delayedEventsPosition(txn);
      if (last === position) return;
      // Events can be fewer than before: rooms are purged.
      if (last < position) await cancelOvertakenStateEvents(txn, ctx.config.server.serverName, last, position);
      await saveDelayedEventsPosition(txn, position);
    });
  }

  private async validate(requester: Requester, event: NewDelayedEvent): Promise<void> {
    const ctx = this.context();
    const version = await ctx.roomVersions.get(event.roomId);
    if (version === undefined) throw notFound(`Could not find room version for ${event.roomId}`);
    const json = {
      type: event.type,
      content: event.content,
      room_id: event.roomId,
      sender: requester.userId,
      ...(event.stateKey === undefined ? {} : { state_key: event.stateKey }),
    };
    const draft = new MatrixEvent(json, version, "");
    validateNewEvent(ctx.config, draft);
    checkSize(draft, stringifyAscii(json));
  }

  private inBackground(name: string, work: () => Promise<void>): void {
    if (this.closed) return;
    this.work = this.work.then(work).catch((error: unknown) => {
      this.context().log.named("synapse.metrics.background_process_metrics").error(`Background process '${name}' threw an exception`, { error });
    });
  }
}

const unknownEvent = (): MatrixError => notFound("Delayed event not found");

/** Postgres cannot hold NUL: no id has it. */
const storable = (delayId: string): string => delayId.replaceAll("\0", "");

function tooMany(waitMs: number): MatrixError {
  const wait = waitMs > 0 ? { retry_after_ms: waitMs } : {};
  const headers: Record<string, string> = waitMs > 0 ? { "Retry-After": String(Math.ceil(waitMs / 1000)) } : {};
  return new MatrixError(429, "M_LIMIT_EXCEEDED", "The maximum number of delayed events has been reached.", wait, headers);
}
