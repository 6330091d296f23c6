import { execute, LastStatements, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * Sliding sync connections, on Synapse's tables, so that a client's `pos` goes on across a swap. A connection has positions; a position has,
 * for each room, the configuration under which it was sent, and for each stream what has been sent.
 */
export interface ConnectionKey {
  readonly userId: string;
  /** The device, or the user's guest or token session without one. */
  readonly effectiveDeviceId: string;
  readonly connId: string;
}

export type RoomStatus = "live" | "previously" | "never";
export type ConnectionStream = "rooms" | "receipts" | "account_data";

export interface StreamRow {
  readonly stream: ConnectionStream;
  readonly room_id: string;
  readonly room_status: RoomStatus;
  readonly last_token: string | null;
}

export interface RoomConfigRow {
  readonly room_id: string;
  readonly timeline_limit: number;
  /** JSON: sorted pairs of type and state key. */
  readonly required_state: string;
}

export interface LazyMemberRow {
  readonly room_id: string;
  readonly user_id: string;
  readonly last_seen_ts: number;
}

export interface StoredConnection {
  readonly connectionKey: number;
  readonly lastUsedTs: number | undefined;
  readonly streams: readonly StreamRow[];
  readonly configs: readonly RoomConfigRow[];
  readonly lazyMembers: readonly LazyMemberRow[];
}

/** Everything of a position; undefined when the connection does not have it (expired, superseded, of another device). */
export async function readPosition(read: ReadHandle, key: ConnectionKey, position: number): Promise<StoredConnection | undefined> {
  const connection = await queryOne<{ connection_key: number; last_used_ts: number | null }>(
    read,
    `SELECT c.connection_key, c.last_used_ts
     FROM sliding_sync_connection_positions AS p
     JOIN sliding_sync_connections AS c ON c.connection_key = p.connection_key
     WHERE p.connection_position = $1 AND c.user_id = $2 AND c.effective_device_id = $3 AND c.conn_id = $4`,
    [position, key.userId, key.effectiveDeviceId, key.connId],
  );
  if (connection === undefined) return undefined;
  const [streams, configs, lazyMembers] = await Promise.all([
    query<StreamRow>(read, `SELECT stream, room_id, room_status, last_token FROM sliding_sync_connection_streams WHERE connection_position = $1`, [position]),
    query<RoomConfigRow>(
      read,
      `SELECT c.room_id, c.timeline_limit, s.required_state
       FROM sliding_sync_connection_room_configs AS c
       JOIN sliding_sync_connection_required_state AS s ON s.required_state_id = c.required_state_id
       WHERE c.connection_position = $1`,
      [position],
    ),
    query<LazyMemberRow>(
      read,
      `SELECT room_id, user_id, last_seen_ts FROM sliding_sync_connection_lazy_members
       WHERE connection_key = $1 AND (connection_position IS NULL OR connection_position = $2)`,
      [connection.connection_key, position],
    ),
  ]);
  return { connectionKey: connection.connection_key, lastUsedTs: connection.last_used_ts ?? undefined, streams, configs, lazyMembers };
}

/** What a new position changes against the one before it. */
export interface PositionChanges {
  readonly streams: readonly StreamRow[];
  readonly configs: readonly RoomConfigRow[];
  readonly lazyMembers: readonly LazyMemberRow[];
  /** Members whose membership changed without being sent: to be sent again when needed. */
  readonly staleMembers: readonly { readonly room_id: string; readonly user_id: string }[];
}

/**
 * Stores a new position: that of `previous` with the changes. The client has acknowledged `previous` by using it, so all other positions go.
 * Undefined when `previous` is gone meanwhile. A fixed number of statements, which leave together with the end of the transaction.
 */
export function storePosition(
  txn: Txn,
  key: ConnectionKey,
  previous: number | undefined,
  changes: PositionChanges,
  now: number,
): LastStatements<StoredPosition | undefined> {
  return new LastStatements(previous === undefined ? firstPosition(txn, key, changes, now) : nextPosition(txn, key, previous, changes, now));
}

export interface StoredPosition {
  readonly connectionKey: number;
  readonly position: number;
}

/** What is written, as $1 to $12 of the statements below; each required state stands there once. */
function written(changes: PositionChanges, now: number): unknown[] {
  const { streams, configs, lazyMembers } = changes;
  const states = new Map<string, number>();
  const stateNumbers = configs.map((config) => {
    const number = states.get(config.required_state) ?? states.size + 1;
    states.set(config.required_state, number);
    return number;
  });
  return [
    now,
    [...states.keys()],
    streams.map((row) => row.stream),
    streams.map((row) => row.room_id),
    streams.map((row) => row.room_status),
    streams.map((row) => row.last_token),
    configs.map((row) => row.room_id),
    configs.map((row) => row.timeline_limit),
    stateNumbers,
    lazyMembers.map((row) => row.room_id),
    lazyMembers.map((row) => row.user_id),
    lazyMembers.map((row) => row.last_seen_ts),
  ];
}

const STATES = `unnest($2::text[]) WITH ORDINALITY AS wanted (required_state, number)`;
const STREAMS = `unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS changed (stream, room_id, room_status, last_token)`;
const CONFIGS = `unnest($7::text[], $8::bigint[], $9::bigint[]) AS changed (room_id, timeline_limit, number)`;
const LAZY_MEMBERS = `unnest($10::text[], $11::text[], $12::bigint[]) AS seen (room_id, user_id, last_seen_ts)`;
const STREAM_COLUMNS = `sliding_sync_connection_streams (connection_position, stream, room_id, room_status, last_token)`;
const CONFIG_COLUMNS = `sliding_sync_connection_room_configs (connection_position, room_id, timeline_limit, required_state_id)`;
const LAZY_COLUMNS = `sliding_sync_connection_lazy_members`;

/** Begins the connection anew. */
async function firstPosition(txn: Txn, key: ConnectionKey, changes: PositionChanges, now: number): Promise<StoredPosition | undefined> {
  return await queryOne<StoredPosition>(
    txn,
    `WITH gone AS (
       DELETE FROM sliding_sync_connections WHERE user_id = $13 AND effective_device_id = $14 AND conn_id = $15
     ), connection AS (
       INSERT INTO sliding_sync_connections (user_id, effective_device_id, conn_id, created_ts, last_used_ts) VALUES ($13, $14, $15, $1, $1)
       RETURNING connection_key
     ), here AS (
       INSERT INTO sliding_sync_connection_positions (connection_key, created_ts) SELECT connection_key, $1 FROM connection
       RETURNING connection_key, connection_position
     ), states AS (
       INSERT INTO sliding_sync_connection_required_state (connection_key, required_state)
       SELECT here.connection_key, wanted.required_state FROM here, ${STATES}
       RETURNING required_state, required_state_id
     ), new_streams AS (
       INSERT INTO ${STREAM_COLUMNS} SELECT here.connection_position, changed.* FROM here, ${STREAMS}
     ), new_configs AS (
       INSERT INTO ${CONFIG_COLUMNS}
       SELECT here.connection_position, changed.room_id, changed.timeline_limit, states.required_state_id
       FROM here CROSS JOIN ${CONFIGS} JOIN ${STATES} USING (number) JOIN states USING (required_state)
     ), new_members AS (
       INSERT INTO ${LAZY_COLUMNS} (connection_key, connection_position, room_id, user_id, last_seen_ts)
       SELECT here.connection_key, here.connection_position, seen.* FROM here, ${LAZY_MEMBERS}
     )
     SELECT connection_key AS "connectionKey", connection_position AS position FROM here`,
    [...written(changes, now), key.userId, key.effectiveDeviceId, key.connId],
  );
}

/** The connection of the user's that has a position. */
const ownConnection = (at: number): string => `(
  SELECT c.connection_key FROM sliding_sync_connection_positions AS p JOIN sliding_sync_connections AS c ON c.connection_key = p.connection_key
  WHERE p.connection_position = $${at} AND c.user_id = $${at + 1} AND c.effective_device_id = $${at + 2} AND c.conn_id = $${at + 3})`;

async function nextPosition(txn: Txn, key: ConnectionKey, previous: number, changes: PositionChanges, now: number): Promise<StoredPosition | undefined> {
  const own = [previous, key.userId, key.effectiveDeviceId, key.connId];
  const statements: Promise<unknown>[] = [
    // Two requests with the same position wait for each other here. Rows of lazy members with a position count only once the client has come
    // back with it; those of `previous` are acknowledged now.
    execute(
      txn,
      `WITH locked AS (
         UPDATE sliding_sync_connections SET last_used_ts = $5 WHERE connection_key = ${ownConnection(1)} RETURNING connection_key
       )
       UPDATE sliding_sync_connection_lazy_members AS m SET connection_position = NULL FROM locked
       WHERE m.connection_key = locked.connection_key AND m.connection_position = $1`,
      [...own, now],
    ),
  ];
  const { staleMembers, configs } = changes;
  if (staleMembers.length > 0) {
    statements.push(
      execute(
        txn,
        `DELETE FROM sliding_sync_connection_lazy_members AS m USING unnest($5::text[], $6::text[]) AS stale (room_id, user_id)
         WHERE m.connection_key = ${ownConnection(1)} AND m.room_id = stale.room_id AND m.user_id = stale.user_id`,
        [...own, staleMembers.map((row) => row.room_id), staleMembers.map((row) => row.user_id)],
      ),
    );
  }
  const stored = copyPosition(txn, own, changes, now);
  statements.push(stored);
  if (configs.length > 0) {
    // What only the positions that went asked for.
    statements.push(
      execute(
        txn,
        `DELETE FROM sliding_sync_connection_required_state AS s WHERE s.connection_key = ${ownConnection(1)}
           AND NOT EXISTS (SELECT FROM sliding_sync_connection_room_configs AS c WHERE c.required_state_id = s.required_state_id)`,
        own,
      ),
    );
  }
  await Promise.all(statements);
  return await stored;
}

/** The rows of the position before with the changes; drops the positions but that one. What this statement itself inserts it does not see. */
async function copyPosition(txn: Txn, own: readonly unknown[], changes: PositionChanges, now: number): Promise<StoredPosition | undefined> {
  return await queryOne<StoredPosition>(
    txn,
    `WITH here AS (
       INSERT INTO sliding_sync_connection_positions (connection_key, created_ts)
       SELECT connection.connection_key, $1 FROM ${ownConnection(13)} AS connection
       RETURNING connection_key, connection_position
     ), others AS (
       DELETE FROM sliding_sync_connection_positions AS other USING here
       WHERE other.connection_key = here.connection_key AND other.connection_position <> $13
     ), known AS (
       SELECT s.required_state, min(s.required_state_id) AS required_state_id
       FROM here JOIN sliding_sync_connection_required_state AS s USING (connection_key)
       WHERE s.required_state = ANY($2) GROUP BY s.required_state
     ), added AS (
       INSERT INTO sliding_sync_connection_required_state (connection_key, required_state)
       SELECT here.connection_key, wanted.required_state FROM here, ${STATES}
       WHERE NOT EXISTS (SELECT FROM known WHERE known.required_state = wanted.required_state)
       RETURNING required_state, required_state_id
     ), states AS (
       SELECT required_state, required_state_id FROM known UNION ALL SELECT required_state, required_state_id FROM added
     ), new_streams AS (
       INSERT INTO ${STREAM_COLUMNS}
       SELECT here.connection_position, changed.* FROM here, ${STREAMS}
       UNION ALL
       SELECT here.connection_position, old.stream, old.room_id, old.room_status, old.last_token FROM here, sliding_sync_connection_streams AS old
       WHERE old.connection_position = $13 AND NOT EXISTS (SELECT FROM ${STREAMS} WHERE changed.stream = old.stream AND changed.room_id = old.room_id)
     ), new_configs AS (
       INSERT INTO ${CONFIG_COLUMNS}
       SELECT here.connection_position, changed.room_id, changed.timeline_limit, states.required_state_id
       FROM here CROSS JOIN ${CONFIGS} JOIN ${STATES} USING (number) JOIN states USING (required_state)
       UNION ALL
       SELECT here.connection_position, old.room_id, old.timeline_limit, old.required_state_id FROM here, sliding_sync_connection_room_configs AS old
       WHERE old.connection_position = $13 AND old.room_id <> ALL($7)
     ), new_members AS (
       INSERT INTO ${LAZY_COLUMNS} AS m (connection_key, connection_position, room_id, user_id, last_seen_ts)
       SELECT here.connection_key, here.connection_position, seen.* FROM here, ${LAZY_MEMBERS}
       ON CONFLICT (connection_key, room_id, user_id)
       DO UPDATE SET last_seen_ts = EXCLUDED.last_seen_ts, connection_position = CASE WHEN m.connection_position IS NULL THEN NULL ELSE EXCLUDED.connection_position END
     )
     SELECT connection_key AS "connectionKey", connection_position AS position FROM here`,
    [...written(changes, now), ...own],
  );
}

/** Connections that nobody used since a time; returns how many went. */
export async function deleteUnusedConnections(txn: Txn, usedBefore: number): Promise<number> {
  return await execute(txn, `DELETE FROM sliding_sync_connections WHERE coalesce(last_used_ts, created_ts) < $1`, [usedBefore]);
}
