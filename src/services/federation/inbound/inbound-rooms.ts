import { isJsonObject } from "../../../lib/json.ts";
import { KeyedMutex } from "../../../lib/keyed-mutex.ts";
import { parseJson } from "../../../lib/lossless-json.ts";
import { signals } from "../../../lib/signals.ts";
import { type InternalMetadata, MatrixEvent } from "../../../protocol/event/event.ts";
import type { RoomVersion } from "../../../protocol/room-versions.ts";
import { DatabaseUnavailable } from "../../../storage/database.ts";
import { removeStagedEvents, roomsWithStagedEvents, stagedEvents, type StagedEvent } from "../../../storage/federation/staging.ts";
import type { Context } from "../../context.ts";
import { MOST_STAGED, pruneStaged } from "./prune-staged.ts";
import { type ReceivedEvent, type ReceiveContext, receiveNewEvents } from "../receive-events.ts";

type Needs = ReceiveContext & Pick<Context, "clock" | "log" | "modules" | "read" | "roomVersions" | "transaction">;

/** Events of a room that are taken together. */
const BATCH = 100;
/** Rooms at work at the same time. */
const ROOMS_AT_ONCE = 50;
const RETRY_MS = 5_000;
/** How long closing waits for what is under way: what is staged is taken up at the next start. */
const CLOSING_MS = 2_000;

/**
 * Takes staged events into their rooms: each room by itself, in order, one batch after the other. What is staged survives a restart, and
 * is taken up again by `resume`.
 */
export class InboundRooms {
  private readonly waiting = new Set<string>();
  private readonly working = new Set<string>();
  private readonly held = new Map<string, number>();
  /** Events staged since the room was last found empty, or pruned. */
  private readonly staged = new Map<string, number>();
  private readonly pruning = new Map<string, Promise<void>>();
  private readonly mutex = new KeyedMutex();
  private closed = false;
  private idle: (() => void)[] = [];

  constructor(private readonly context: () => Needs) {}

  /** There are new staged events of the room, so many. */
  wake(roomId: string, count = 0): void {
    if (this.closed) return;
    const staged = (this.staged.get(roomId) ?? 0) + count;
    this.staged.set(roomId, staged);
    if (staged > MOST_STAGED) this.prune(roomId);
    this.waiting.add(roomId);
    this.pump();
  }

  /** Takes up what was left by an earlier run of the server. */
  async resume(): Promise<void> {
    for (const roomId of await roomsWithStagedEvents(this.context().read)) this.wake(roomId);
  }

  /** Leaves the room's events where they are until the returned function is called: this server is joining the room. */
  hold(roomId: string): () => void {
    this.held.set(roomId, (this.held.get(roomId) ?? 0) + 1);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      const left = this.held.get(roomId)! - 1;
      if (left > 0) this.held.set(roomId, left);
      else this.held.delete(roomId);
      this.wake(roomId);
    };
  }

  /** Runs `fn` while nothing else from other servers is taken into the room. */
  async exclusively<T>(roomId: string, fn: () => Promise<T>): Promise<T> {
    return await this.mutex.exclusively(roomId, fn);
  }

  /** Resolves when nothing is under way; held rooms do not count. */
  async whenIdle(): Promise<void> {
    while (this.working.size > 0 || [...this.waiting].some((roomId) => !this.held.has(roomId))) await new Promise<void>((resolve) => this.idle.push(resolve));
    await Promise.all(this.pruning.values());
  }

  /** Takes nothing more, and waits a little for what is under way. */
  async close(): Promise<void> {
    this.closed = true;
    this.waiting.clear();
    const patience = new AbortController();
    await Promise.race([this.whenIdle(), this.context().clock.sleep(CLOSING_MS, patience.signal)]);
    patience.abort();
  }

  private prune(roomId: string): void {
    if (this.pruning.has(roomId)) return;
    this.staged.set(roomId, 0);
    const ctx = this.context();
    const done = pruneStaged(ctx, roomId)
      .catch((error: unknown) =>
        ctx.log.named("synapse.federation.federation_server").warn(`Waiting events of ${roomId} could not be looked through`, { error }),
      )
      .finally(() => this.pruning.delete(roomId));
    this.pruning.set(roomId, done);
  }

  private pump(): void {
    for (const roomId of this.waiting) {
      if (this.working.size >= ROOMS_AT_ONCE) return;
      if (this.working.has(roomId) || this.held.has(roomId)) continue;
      this.waiting.delete(roomId);
      this.working.add(roomId);
      void this.work(roomId).finally(() => {
        this.working.delete(roomId);
        for (const resolve of this.idle.splice(0)) resolve();
        if (!this.closed) this.pump();
      });
    }
  }

  private async work(roomId: string): Promise<void> {
    const ctx = this.context();
    try {
      while (!this.closed && !this.held.has(roomId)) {
        const staged = await stagedEvents(ctx.read, roomId, BATCH);
        if (staged.length === 0) {
          this.staged.delete(roomId);
          return;
        }
        await this.exclusively(roomId, () => this.takeBatch(ctx, roomId, staged));
      }
      if (!this.closed) this.waiting.add(roomId);
    } catch (error) {
      if (this.closed) return;
      ctx.log.named("synapse.federation.federation_server").warn(`Events of ${roomId} could not be handled now`, { error });
      ctx.clock.after(RETRY_MS, () => this.wake(roomId));
    }
  }

  private async takeBatch(ctx: Needs, roomId: string, staged: readonly StagedEvent[]): Promise<void> {
    const version = await ctx.roomVersions.get(roomId);
    const received =
      version === undefined
        ? []
        : staged.flatMap((row): ReceivedEvent[] => {
            const event = stagedEvent(row, version);
            return event === undefined ? [] : [{ event, origin: row.origin }];
          });
    const { spamChecker } = ctx.modules;
    const kept: ReceivedEvent[] = [];
    for (const item of received) if (!(await spamChecker.dropsFederatedEvent(item.event))) kept.push(item);
    try {
      await receiveNewEvents(ctx, roomId, kept);
    } catch (error) {
      if (error instanceof DatabaseUnavailable) throw error;
      ctx.log.named("synapse.federation.federation_server").error(`Failed to handle events of ${roomId}`, { error });
    }
    await ctx.transaction("remove_received_event_from_staging", (txn) => removeStagedEvents(txn, staged), { isolation: "read committed" });
    const now = ctx.clock.now();
    for (const { receivedTs } of staged) signals.eventReceived.emit({ seconds: Math.max(0, now - receivedTs) / 1000 });
  }
}

/** The event of a row, which was checked before it was staged; undefined where it cannot be read. */
function stagedEvent(row: StagedEvent, version: RoomVersion): MatrixEvent | undefined {
  try {
    const json = parseJson(row.json);
    const metadata = parseJson(row.metadata);
    if (!isJsonObject(json)) return undefined;
    return new MatrixEvent(json, version, row.eventId, isJsonObject(metadata) ? (metadata as InternalMetadata) : {});
  } catch {
    return undefined;
  }
}
