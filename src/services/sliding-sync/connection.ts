import { lruCache } from "../../lib/lru-cache.ts";
import { MatrixError } from "../../protocol/errors.ts";
import {
  type ConnectionKey,
  type ConnectionStream,
  deleteUnusedConnections,
  type PositionChanges,
  readPosition,
  type RoomStatus,
  type StoredPosition,
  storePosition,
} from "../../storage/sliding-sync/connections.ts";
import type { Context } from "../context.ts";
import { deserialise, type RoomConfig, serialise } from "./room-config.ts";

/** Connections unused for so long are forgotten: clients start over. */
const EXPIRY_MS = 7 * 24 * 3600 * 1000;
const CACHED_POSITIONS = 5_000;

/** What has been sent of one stream of a room: all of it, all up to a position, nothing. */
export interface Sent {
  readonly status: RoomStatus;
  /** For `previously`: up to where. */
  readonly lastToken?: string | undefined;
}

/** What the client of a connection has, as of one position. Immutable. */
export interface ConnectionState {
  readonly sent: { readonly [S in ConnectionStream]: ReadonlyMap<string, Sent> };
  readonly configs: ReadonlyMap<string, RoomConfig>;
  /** Lazily loaded members that were sent: room to users. */
  readonly lazyMembers: ReadonlyMap<string, ReadonlySet<string>>;
}

const NEW_CONNECTION: ConnectionState = {
  sent: { rooms: new Map(), receipts: new Map(), account_data: new Map() },
  configs: new Map(),
  lazyMembers: new Map(),
};

/** Changes that an answer makes to a connection's state. */
export class ConnectionChanges {
  readonly sent: { readonly [S in ConnectionStream]: Map<string, Sent> } = { rooms: new Map(), receipts: new Map(), account_data: new Map() };
  readonly configs = new Map<string, RoomConfig>();
  readonly lazySeen = new Map<string, Set<string>>();
  readonly lazyStale = new Map<string, Set<string>>();

  /** Everything of the stream up to now was sent. */
  recordSent(stream: ConnectionStream, before: ConnectionState, roomIds: Iterable<string>): void {
    for (const roomId of roomIds) if (before.sent[stream].get(roomId)?.status !== "live") this.sent[stream].set(roomId, { status: "live" });
  }

  /** Something happened after `token` that is not sent now; the client comes back for it. */
  recordUnsent(stream: ConnectionStream, before: ConnectionState, roomIds: Iterable<string>, token: string): void {
    for (const roomId of roomIds)
      if (before.sent[stream].get(roomId)?.status === "live") this.sent[stream].set(roomId, { status: "previously", lastToken: token });
  }

  lazyMembers(roomId: string, seen: Iterable<string>, stale: Iterable<string>): void {
    const seenSet = new Set(seen);
    if (seenSet.size > 0) this.lazySeen.set(roomId, seenSet);
    const staleSet = new Set([...stale].filter((userId) => !seenSet.has(userId)));
    if (staleSet.size > 0) this.lazyStale.set(roomId, staleSet);
  }

  get isEmpty(): boolean {
    const { rooms, receipts, account_data } = this.sent;
    return rooms.size + receipts.size + account_data.size + this.configs.size + this.lazySeen.size + this.lazyStale.size === 0;
  }

  apply(state: ConnectionState): ConnectionState {
    const lazyMembers = new Map(state.lazyMembers);
    for (const [roomId, users] of this.lazyStale) lazyMembers.set(roomId, new Set([...(lazyMembers.get(roomId) ?? [])].filter((userId) => !users.has(userId))));
    for (const [roomId, users] of this.lazySeen) lazyMembers.set(roomId, new Set([...(lazyMembers.get(roomId) ?? []), ...users]));
    const merged = (stream: ConnectionStream): ReadonlyMap<string, Sent> =>
      this.sent[stream].size === 0 ? state.sent[stream] : new Map([...state.sent[stream], ...this.sent[stream]]);
    return {
      sent: { rooms: merged("rooms"), receipts: merged("receipts"), account_data: merged("account_data") },
      configs: this.configs.size === 0 ? state.configs : new Map([...state.configs, ...this.configs]),
      lazyMembers,
    };
  }

  /** As rows. */
  rows(now: number): PositionChanges {
    const streams = (["rooms", "receipts", "account_data"] as const).flatMap((stream) =>
      [...this.sent[stream]].map(([room_id, { status, lastToken }]) => ({ stream, room_id, room_status: status, last_token: lastToken ?? null })),
    );
    const pairs = (map: ReadonlyMap<string, ReadonlySet<string>>): { room_id: string; user_id: string }[] =>
      [...map].flatMap(([room_id, users]) => [...users].map((user_id) => ({ room_id, user_id })));
    return {
      streams,
      configs: [...this.configs].map(([room_id, config]) => ({
        room_id,
        timeline_limit: config.timelineLimit,
        required_state: serialise(config.requiredState),
      })),
      lazyMembers: pairs(this.lazySeen).map((pair) => ({ ...pair, last_seen_ts: now })),
      staleMembers: pairs(this.lazyStale),
    };
  }
}

export const unknownPosition = (): MatrixError => new MatrixError(400, "M_UNKNOWN_POS", "Unknown position");

/** The connections of sliding sync clients: in the database, with the positions in use at hand. */
export class SlidingConnections {
  private readonly positions = lruCache<string, ConnectionState>(CACHED_POSITIONS);

  constructor(private readonly ctx: Pick<Context, "read" | "transaction" | "clock">) {}

  /** The state of a position (0: of a connection that holds nothing). @throws MatrixError 400 M_UNKNOWN_POS */
  async load(key: ConnectionKey, position: number | undefined): Promise<ConnectionState> {
    if (position === undefined || position === 0) return NEW_CONNECTION;
    const id = cacheKey(key, position);
    const held = this.positions.get(id);
    if (held !== undefined) return held;
    const stored = await readPosition(this.ctx.read, key, position);
    if (stored === undefined || (stored.lastUsedTs !== undefined && stored.lastUsedTs < this.ctx.clock.now() - EXPIRY_MS)) throw unknownPosition();
    const sent = { rooms: new Map<string, Sent>(), receipts: new Map<string, Sent>(), account_data: new Map<string, Sent>() };
    for (const row of stored.streams) sent[row.stream]?.set(row.room_id, { status: row.room_status, lastToken: row.last_token ?? undefined });
    const configs = new Map(stored.configs.map((row) => [row.room_id, { timelineLimit: row.timeline_limit, requiredState: deserialise(row.required_state) }]));
    const lazyMembers = new Map<string, Set<string>>();
    for (const { room_id, user_id } of stored.lazyMembers) {
      const users = lazyMembers.get(room_id);
      if (users === undefined) lazyMembers.set(room_id, new Set([user_id]));
      else users.add(user_id);
    }
    const state = { sent, configs, lazyMembers };
    this.positions.set(id, state);
    return state;
  }

  /** Stores what an answer changed; the position for the client's next request. @throws MatrixError 400 M_UNKNOWN_POS */
  async record(key: ConnectionKey, position: number | undefined, before: ConnectionState, changes: ConnectionChanges): Promise<number> {
    if (changes.isEmpty) return position ?? 0;
    const now = this.ctx.clock.now();
    const previous = position === undefined || position === 0 ? undefined : position;
    const stored = await this.ctx.transaction<StoredPosition | undefined>(
      "persist_per_connection_state",
      async (txn) => storePosition(txn, key, previous, changes.rows(now), now),
      {
        isolation: "read committed",
      },
    );
    if (stored === undefined) {
      this.positions.delete(cacheKey(key, position!));
      throw unknownPosition();
    }
    this.positions.set(cacheKey(key, stored.position), changes.apply(before));
    return stored.position;
  }

  /** Forgets connections that were not used for a week. */
  async expire(): Promise<void> {
    const deleted = await this.ctx.transaction("delete_old_sliding_sync_connections", (txn) => deleteUnusedConnections(txn, this.ctx.clock.now() - EXPIRY_MS));
    if (deleted > 0) this.positions.clear();
  }
}

const cacheKey = (key: ConnectionKey, position: number): string => JSON.stringify([key.userId, key.effectiveDeviceId, key.connId, position]);
