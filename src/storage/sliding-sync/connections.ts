import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

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
 * Undefined when `previous` is gone meanwhile.
 */
export async function storePosition(
  txn: Txn,
  key: ConnectionKey,
  previous: number | undefined,
  changes: PositionChanges,
  now: number,
): Promise<{ connectionKey: number; position: number } | undefined> {
  const connectionKey = previous === undefined ? await newConnection(txn, key, now) : await lockConnection(txn, key, previous, now);
  if (connectionKey === undefined) return undefined;
  const inserted = await queryOne<{ connection_position: number }>(
    txn,
    `INSERT INTO sliding_sync_connection_positions (connection_key, created_ts) VALUES ($1, $2) RETURNING connection_position`,
    [connectionKey, now],
  );
  const position = inserted!.connection_position;
  const stateIds = await requiredStateIds(txn, connectionKey, [...new Set(changes.configs.map((config) => config.required_state))]);
  await Promise.all([
    writeStreams(txn, position, previous, changes.streams),
    writeConfigs(txn, position, previous, changes.configs, stateIds),
    writeLazyMembers(txn, connectionKey, position, previous, changes),
  ]);
  if (previous !== undefined) await dropOtherPositions(txn, connectionKey, [previous, position]);
  return { connectionKey, position };
}

async function newConnection(txn: Txn, key: ConnectionKey, now: number): Promise<number> {
  await execute(txn, `DELETE FROM sliding_sync_connections WHERE user_id = $1 AND effective_device_id = $2 AND conn_id = $3`, [
    key.userId,
    key.effectiveDeviceId,
    key.connId,
  ]);
  const row = await queryOne<{ connection_key: number }>(
    txn,
    `INSERT INTO sliding_sync_connections (user_id, effective_device_id, conn_id, created_ts, last_used_ts) VALUES ($1, $2, $3, $4, $4) RETURNING connection_key`,
    [key.userId, key.effectiveDeviceId, key.connId, now],
  );
  return row!.connection_key;
}

/** Two requests with the same position wait for each other here. */
async function lockConnection(txn: Txn, key: ConnectionKey, previous: number, now: number): Promise<number | undefined> {
  const row = await queryOne<{ connection_key: number }>(
    txn,
    `UPDATE sliding_sync_connections AS c SET last_used_ts = $5
     FROM sliding_sync_connection_positions AS p
     WHERE p.connection_position = $1 AND p.connection_key = c.connection_key AND c.user_id = $2 AND c.effective_device_id = $3 AND c.conn_id = $4
     RETURNING c.connection_key`,
    [previous, key.userId, key.effectiveDeviceId, key.connId, now],
  );
  return row?.connection_key;
}

async function requiredStateIds(txn: Txn, connectionKey: number, states: readonly string[]): Promise<Map<string, number>> {
  if (states.length === 0) return new Map();
  const rows = await query<{ required_state: string; required_state_id: number }>(
    txn,
    `WITH known AS (
       SELECT required_state, min(required_state_id) AS required_state_id FROM sliding_sync_connection_required_state
       WHERE connection_key = $1 AND required_state = ANY($2) GROUP BY required_state
     ), added AS (
       INSERT INTO sliding_sync_connection_required_state (connection_key, required_state)
       SELECT $1::bigint, wanted.required_state FROM unnest($2::text[]) AS wanted (required_state)
       WHERE NOT EXISTS (SELECT FROM known WHERE known.required_state = wanted.required_state)
       RETURNING required_state, required_state_id
     )
     SELECT required_state, required_state_id FROM known UNION ALL SELECT required_state, required_state_id FROM added`,
    [connectionKey, states],
  );
  return new Map(rows.map((row) => [row.required_state, row.required_state_id]));
}

async function writeStreams(txn: Txn, position: number, previous: number | undefined, streams: readonly StreamRow[]): Promise<void> {
  await execute(
    txn,
    `WITH changed AS (
       SELECT * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) AS c (stream, room_id, room_status, last_token)
     )
     INSERT INTO sliding_sync_connection_streams (connection_position, stream, room_id, room_status, last_token)
     SELECT $1::bigint, stream, room_id, room_status, last_token FROM changed
     UNION ALL
     SELECT $1::bigint, old.stream, old.room_id, old.room_status, old.last_token FROM sliding_sync_connection_streams AS old
     WHERE old.connection_position = $2::bigint AND NOT EXISTS (SELECT FROM changed WHERE changed.stream = old.stream AND changed.room_id = old.room_id)`,
    [
      position,
      previous ?? null,
      streams.map((row) => row.stream),
      streams.map((row) => row.room_id),
      streams.map((row) => row.room_status),
      streams.map((row) => row.last_token),
    ],
  );
}

async function writeConfigs(
  txn: Txn,
  position: number,
  previous: number | undefined,
  configs: readonly RoomConfigRow[],
  stateIds: ReadonlyMap<string, number>,
): Promise<void> {
  await execute(
    txn,
    `WITH changed AS (
       SELECT * FROM unnest($3::text[], $4::bigint[], $5::bigint[]) AS c (room_id, timeline_limit, required_state_id)
     )
     INSERT INTO sliding_sync_connection_room_configs (connection_position, room_id, timeline_limit, required_state_id)
     SELECT $1::bigint, room_id, timeline_limit, required_state_id FROM changed
     UNION ALL
     SELECT $1::bigint, old.room_id, old.timeline_limit, old.required_state_id FROM sliding_sync_connection_room_configs AS old
     WHERE old.connection_position = $2::bigint AND NOT EXISTS (SELECT FROM changed WHERE changed.room_id = old.room_id)`,
    [
      position,
      previous ?? null,
      configs.map((row) => row.room_id),
      configs.map((row) => row.timeline_limit),
      configs.map((row) => stateIds.get(row.required_state)!),
    ],
  );
}

/** Rows with a position count only once the client has come back with it; those of `previous` are acknowledged now. */
async function writeLazyMembers(txn: Txn, connectionKey: number, position: number, previous: number | undefined, changes: PositionChanges): Promise<void> {
  const { lazyMembers, staleMembers } = changes;
  if (previous !== undefined) {
    await execute(txn, `UPDATE sliding_sync_connection_lazy_members SET connection_position = NULL WHERE connection_key = $1 AND connection_position = $2`, [
      connectionKey,
      previous,
    ]);
  }
  if (staleMembers.length > 0) {
    await execute(
      txn,
      `DELETE FROM sliding_sync_connection_lazy_members AS m USING unnest($2::text[], $3::text[]) AS stale (room_id, user_id)
       WHERE m.connection_key = $1 AND m.room_id = stale.room_id AND m.user_id = stale.user_id`,
      [connectionKey, staleMembers.map((row) => row.room_id), staleMembers.map((row) => row.user_id)],
    );
  }
  if (lazyMembers.length > 0) {
    await execute(
      txn,
      `INSERT INTO sliding_sync_connection_lazy_members AS m (connection_key, connection_position, room_id, user_id, last_seen_ts)
       SELECT $1::bigint, $2::bigint, seen.* FROM unnest($3::text[], $4::text[], $5::bigint[]) AS seen (room_id, user_id, last_seen_ts)
       ON CONFLICT (connection_key, room_id, user_id)
       DO UPDATE SET last_seen_ts = EXCLUDED.last_seen_ts, connection_position = CASE WHEN m.connection_position IS NULL THEN NULL ELSE EXCLUDED.connection_position END`,
      [connectionKey, position, lazyMembers.map((row) => row.room_id), lazyMembers.map((row) => row.user_id), lazyMembers.map((row) => row.last_seen_ts)],
    );
  }
}

async function dropOtherPositions(txn: Txn, connectionKey: number, keep: readonly number[]): Promise<void> {
  await execute(txn, `DELETE FROM sliding_sync_connection_positions WHERE connection_key = $1 AND NOT connection_position = ANY($2)`, [connectionKey, keep]);
  await execute(
    txn,
    `DELETE FROM sliding_sync_connection_required_state AS s WHERE s.connection_key = $1
       AND NOT EXISTS (SELECT FROM sliding_sync_connection_room_configs AS c WHERE c.required_state_id = s.required_state_id)`,
    [connectionKey],
  );
}

/** Connections that nobody used since a time; returns how many went. */
export async function deleteUnusedConnections(txn: Txn, usedBefore: number): Promise<number> {
  return await execute(txn, `DELETE FROM sliding_sync_connections WHERE coalesce(last_used_ts, created_ts) < $1`, [usedBefore]);
}
