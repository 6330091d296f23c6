import type { Clock } from "../../lib/clock.ts";
import { KeyedMutex } from "../../lib/keyed-mutex.ts";
import type { Logger } from "../../lib/log.ts";
import { inBlock } from "../../lib/request-context.ts";
import { signals } from "../../lib/signals.ts";
import { UpdatableCache } from "../../lib/updatable-cache.ts";
import { forbidden } from "../../protocol/errors.ts";
import { type Database, DatabaseUnavailable, isUniqueViolation } from "../../storage/database.ts";
import { readRoomHead } from "../../storage/events/graph.ts";
import type { Batch, PersistOptions } from "../../storage/events/persist/batch.ts";
import { writeBatch } from "../../storage/events/persist/layout.ts";
import { GoneWhilePersisting } from "../../storage/events/persist/state-tables.ts";
import { StateSnapshot, stateFrom } from "../../storage/state/snapshot.ts";
import type { Streams } from "../../storage/stream-ids.ts";
import { type EventToPersist, StaleEvent } from "./event-to-persist.ts";
import { planRoom, type PlannedRoom } from "./plan.ts";
import type { PlanContext, RoomWork } from "./plan-context.ts";
import { RoomHead, type Tip } from "./room-head.ts";

export interface PersisterContext extends Omit<PlanContext, "now"> {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Logger;
  readonly streams: Streams;
  readonly options: PersistOptions;
  /** Called when a batch is stored: brings caches in step and tells those who wait. Must not throw. */
  stored(rooms: readonly PlannedRoom[]): void;
}

/** Events that one caller wants stored together, of one room. */
interface Task {
  readonly roomId: string;
  readonly items: readonly EventToPersist[];
  readonly backfilled: boolean;
  readonly refresh: boolean;
  readonly isLight: boolean;
  resolve(): void;
  reject(error: unknown): void;
}

/** Rooms whose heads are kept. */
const HEADS = 10_000;
/** Events in one transaction, and of them of one room. */
const BATCH_EVENTS = 250;
const ROOM_EVENTS = 100;
/** Events without their place in the history, in one transaction: they come by thousands, and each takes little. */
const BATCH_OUTLIERS = 1000;

/**
 * The queue that all events pass on their way to the database. All that is ready at the same moment, whatever the rooms, goes into one
 * transaction (group commit), while more gathers behind it. Events of a room are stored one batch after another, in the order in which
 * they came.
 *
 * There are two lanes: what this server has just made itself, which needs no reading, does not wait for what comes from elsewhere.
 */
export class Persister {
  private readonly queues = new Map<string, Task[]>();
  private readonly heads = new UpdatableCache<string, RoomHead>(HEADS);
  /** Heads of rooms with something under way: must not be dropped from the cache meanwhile. */
  private readonly pinned = new Map<string, RoomHead>();
  private readonly busyRooms = new Set<string>();
  private readonly lanes = { light: false, heavy: false };
  private readonly mutex = new KeyedMutex();
  private pumping = false;
  private idle: { promise: Promise<void>; resolve: () => void } | undefined;
  private readonly planContext: PlanContext;

  constructor(private readonly ctx: PersisterContext) {
    this.planContext = { ...ctx, resolve: (roomId, states, known) => ctx.resolve(roomId, states, known), now: () => ctx.clock.now() };
  }

  /**
   * Stores events (of any rooms; those of one room together, in this order) and returns when they are committed and visible.
   * Each event then has its `streamOrdering`; events that were stored before are left as they are.
   * @param options.backfilled history: gets negative positions and changes nothing about the present
   * @throws StaleEvent or GoneWhilePersisting when what an event was built on is lost: build it anew (`isRetryable`)
   */
  async persist(items: readonly EventToPersist[], options: { readonly backfilled?: boolean } = {}): Promise<void> {
    const byRoom = new Map<string, EventToPersist[]>();
    for (const item of items) {
      let list = byRoom.get(item.event.roomId);
      if (list === undefined) byRoom.set(item.event.roomId, (list = []));
      list.push(item);
    }
    await Promise.all([...byRoom].map(([roomId, list]) => this.enqueue(roomId, list, options.backfilled ?? false)));
  }

  /** Works out the room's current state anew from its extremities, whose state groups were changed (end of a partial join). */
  async refreshState(roomId: string): Promise<void> {
    this.forgetRoom(roomId);
    this.ctx.state.forgetGroups();
    await this.enqueue(roomId, [], false, true);
  }

  /** The head of a room, as builders of new events see it (`tips`). */
  async head(roomId: string): Promise<RoomHead> {
    return (
      this.pinned.get(roomId) ??
      (await this.heads.get(roomId, async () => {
        const { extremities, minDepth, hasJoinedRow } = await readRoomHead(this.ctx.read, roomId);
        const states = await this.ctx.state.snapshotsOf(extremities.flatMap(({ stateGroup }) => stateGroup ?? []));
        const tips = extremities.map(({ eventId, depth, stateGroup }): Tip => {
          const state = stateGroup === undefined ? undefined : states.get(stateGroup);
          return { eventId, depth, state: state ?? StateSnapshot.full(roomId, stateFrom([])) };
        });
        return new RoomHead(new Map(tips.map((tip) => [tip.eventId, tip])), minDepth, hasJoinedRow);
      }))
    );
  }

  /** Runs `fn` alone for its room: who builds an event on the head and hands it to `persist` does both in here. */
  async exclusively<T>(roomId: string, fn: () => Promise<T>): Promise<T> {
    return await this.mutex.exclusively(roomId, fn);
  }

  /** The room was changed by other means (purged, deleted, extremities removed): read its head anew. */
  forgetRoom(roomId: string): void {
    if (!this.pinned.has(roomId)) this.heads.delete(roomId);
    this.ctx.chains.forgetRoom(roomId);
  }

  /** Resolves when nothing is waiting or under way. */
  async whenIdle(): Promise<void> {
    if (this.queues.size === 0 && this.busyRooms.size === 0) return;
    if (this.idle === undefined) {
      let resolve!: () => void;
      this.idle = { promise: new Promise<void>((done) => (resolve = done)), resolve: () => resolve() };
    }
    await this.idle.promise;
  }

  private async enqueue(roomId: string, items: readonly EventToPersist[], backfilled: boolean, refresh = false): Promise<void> {
    const isLight = !backfilled && !refresh && items.every((item) => item.builtOn !== undefined);
    if (isLight) {
      const head = this.pinned.get(roomId) ?? this.heads.peek(roomId);
      if (head === undefined || items.some((item) => item.builtOn !== head)) throw new StaleEvent("The head of the room has changed");
      this.pinned.set(roomId, head);
      for (const { event, after } of items) {
        if (!event.outlier && after !== undefined) head.add({ eventId: event.eventId, depth: event.depth, state: after }, event);
      }
    }
    await new Promise<void>((resolve, reject) => {
      let queue = this.queues.get(roomId);
      if (queue === undefined) this.queues.set(roomId, (queue = []));
      queue.push({ roomId, items, backfilled, refresh, isLight, resolve, reject });
      this.pump();
    });
  }

  /** Starts what can be started, after the current turn of the event loop has added its share. */
  private pump(): void {
    if (this.pumping) return;
    this.pumping = true;
    queueMicrotask(() => {
      this.pumping = false;
      for (const lane of ["light", "heavy"] as const) {
        if (this.lanes[lane]) continue;
        const tasks = this.take(lane);
        if (tasks.length === 0) continue;
        this.lanes[lane] = true;
        void this.run(tasks).finally(() => {
          this.lanes[lane] = false;
          for (const { roomId } of tasks) {
            this.busyRooms.delete(roomId);
            if (!this.queues.has(roomId)) this.unpin(roomId);
          }
          this.pump();
        });
      }
      if (this.queues.size === 0 && this.busyRooms.size === 0) {
        this.idle?.resolve();
        this.idle = undefined;
      }
    });
  }

  /** The tasks at the front of the queues of rooms with nothing under way, as many as one batch may hold. */
  private take(lane: "light" | "heavy"): Task[] {
    const taken: Task[] = [];
    let count = 0;
    for (const [roomId, queue] of this.queues) {
      if (this.busyRooms.has(roomId)) continue;
      const first = queue[0]!;
      if (first.isLight !== (lane === "light")) continue;
      if (count > 0 && count + first.items.length > BATCH_EVENTS) continue;
      let ofRoom = 0;
      while (queue.length > 0 && queue[0]!.backfilled === first.backfilled && queue[0]!.isLight === first.isLight && queue[0]!.refresh === first.refresh) {
        if (ofRoom > 0 && (ofRoom + queue[0]!.items.length > ROOM_EVENTS || count + queue[0]!.items.length > BATCH_EVENTS)) break;
        const task = queue.shift()!;
        taken.push(task);
        ofRoom += task.items.length;
        count += task.items.length;
      }
      if (queue.length === 0) this.queues.delete(roomId);
      this.busyRooms.add(roomId);
    }
    return taken;
  }

  /** Stores the tasks together; when that fails, each by itself, so that one bad event harms nobody else. */
  private async run(tasks: readonly Task[]): Promise<void> {
    try {
      await this.store(tasks);
      for (const task of tasks) task.resolve();
      return;
    } catch (error) {
      if (tasks.length === 1) return void (await this.afterFailure(tasks[0]!, error));
      if (error instanceof DatabaseUnavailable) {
        for (const task of tasks) await this.afterFailure(task, error);
        return;
      }
      this.ctx.log.named("synapse.storage.controllers.persist_events").debug("A batch of events could not be stored together", { error });
    }
    const failed = new Set<string>();
    for (const task of tasks) {
      if (failed.has(task.roomId) && task.isLight) {
        task.reject(new StaleEvent("An earlier event of the room could not be stored"));
        continue;
      }
      try {
        await this.store([task]);
        task.resolve();
      } catch (error) {
        if (!(await this.afterFailure(task, error))) failed.add(task.roomId);
      }
    }
  }

  /**
   * When the connection breaks on COMMIT, nobody knows whether it was committed: the next attempt finds the rows there. Then the task is
   * looked at as if it came from elsewhere, and succeeds when its events are stored. True when it did.
   */
  private async afterFailure(task: Task, error: unknown): Promise<boolean> {
    this.forget(task, error);
    if (task.isLight && isUniqueViolation(error)) {
      try {
        await this.store([{ ...task, items: task.items.map((item) => ({ ...item, builtOn: undefined })) }]);
        this.forget(task, error);
        task.resolve();
        return true;
      } catch {
        // It is what it was: a clash with something else.
      }
    }
    task.reject(error);
    return false;
  }

  /** What was built on events that may be lost must be built anew; what is known of the room is read anew. */
  private forget(task: Task, error: unknown): void {
    const { roomId } = task;
    this.ctx.chains.forgetRoom(roomId);
    this.ctx.state.forgetRoom(roomId);
    this.ctx.members.forgetRoom(roomId);
    for (const { event } of task.items) if (event.type === "m.room.member" && event.stateKey !== undefined) this.ctx.members.forgetUser(event.stateKey);
    this.pinned.delete(roomId);
    this.heads.delete(roomId);
    const queue = this.queues.get(roomId);
    if (queue === undefined) return;
    const stays = queue.filter((waiting) => !waiting.isLight);
    for (const waiting of queue)
      if (waiting.isLight) waiting.reject(error instanceof DatabaseUnavailable ? error : new StaleEvent("An earlier event of the room could not be stored"));
    if (stays.length === 0) this.queues.delete(roomId);
    else this.queues.set(roomId, stays);
  }

  private async store(tasks: readonly Task[]): Promise<void> {
    const byRoom = new Map<string, Task[]>();
    for (const task of tasks) {
      const list = byRoom.get(task.roomId);
      if (list === undefined) byRoom.set(task.roomId, [task]);
      else list.push(task);
    }
    // A send_join brings thousands of outliers at once: in pieces.
    const works: RoomWork[] = await Promise.all(
      [...byRoom].map(async ([roomId, list]) => ({
        roomId,
        backfilled: list[0]!.backfilled,
        refresh: list[0]!.refresh,
        items: list.flatMap((task) => task.items),
        head: await this.pin(roomId),
      })),
    );
    const pieces = works.length === 1 ? chunked(works[0]!) : [works];
    for (const piece of pieces) await inBlock("persist_events", () => this.storeBatch(piece));
  }

  private async storeBatch(works: readonly RoomWork[]): Promise<void> {
    const rooms = await Promise.all(works.map((work) => planRoom(this.planContext, work)));
    const writing = rooms.filter(({ plan }) => plan.events.length > 0 || plan.deoutliered.length > 0 || plan.state !== undefined);
    const batch: Batch = {
      rooms: writing.map(({ plan }) => plan),
      instance: this.ctx.streams.events.instanceName,
      serverName: this.ctx.serverName,
      now: this.ctx.clock.now(),
      options: this.ctx.options,
    };
    if (writing.length === 0) return this.settle(rooms);
    await writeBatch(this.ctx.db, this.ctx.streams, batch, () => this.settle(rooms));
  }

  /** The batch is committed: heads, events and caches say so. */
  private settle(rooms: readonly PlannedRoom[]): void {
    try {
      for (const room of rooms) this.settleRoom(room);
      this.ctx.stored(rooms);
    } catch (error) {
      // It is committed all the same: never let it look as if it were not.
      this.ctx.log.named("synapse.storage.controllers.persist_events").error("Could not bring the caches in step with stored events", { error });
    }
  }

  private settleRoom({ plan, work, tips, known }: PlannedRoom): void {
    for (const { snapshot } of plan.snapshots) snapshot.settle();
    for (const { event, streamOrdering } of plan.events) event.streamOrdering = streamOrdering;
    for (const { event } of work.items) event.streamOrdering ??= known.get(event.eventId)?.streamOrdering;
    const { head } = work;
    if (plan.extremities !== undefined)
      signals.extremitiesChanged.emit({ now: plan.extremities.all.length, stale: plan.extremities.all.length - plan.extremities.added.length });
    head.committed(tips, new Set(work.items.map(({ event }) => event.eventId)));
    if (plan.minDepth !== undefined) head.minDepth = plan.minDepth;
    if (plan.state?.serverLeft === true) head.hasJoinedRow = false;
    else if (plan.slidingSync.joinedRoom !== undefined) head.hasJoinedRow = true;
    for (const id of plan.participants) head.participants.add(id);
    if (plan.chains !== undefined)
      this.ctx.chains.written(
        plan.roomId,
        plan.chains,
        plan.events.map(({ event }) => event),
      );
  }

  private async pin(roomId: string): Promise<RoomHead> {
    const head = await this.head(roomId);
    this.pinned.set(roomId, head);
    return head;
  }

  private unpin(roomId: string): void {
    const head = this.pinned.get(roomId);
    if (head === undefined) return;
    this.pinned.delete(roomId);
    this.heads.set(roomId, head);
  }
}

/** Outliers and history in transactions of limited size; what must be stored together is never that much. */
function chunked(work: RoomWork): RoomWork[][] {
  const size = work.items.every(({ event }) => event.outlier) ? BATCH_OUTLIERS : BATCH_EVENTS;
  if (work.items.length <= size) return [[work]];
  const pieces: RoomWork[][] = [];
  for (let at = 0; at < work.items.length; at += size) pieces.push([{ ...work, items: work.items.slice(at, at + size) }]);
  return pieces;
}

export const isRetryable = (error: unknown): boolean => error instanceof StaleEvent || error instanceof GoneWhilePersisting;

/** What those hear who wanted to write, where building anew did not help either: a room that was deleted meanwhile is unknown. */
export const asTold = (error: unknown): unknown => (error instanceof GoneWhilePersisting ? forbidden("Unknown room") : error);
