import { type JsonObject, isJsonObject } from "../../lib/json.ts";
import { isServerName } from "../../protocol/ids.ts";
import { execute, query, queryOne, type Txn } from "../database.ts";

/**
 * Background updates that are a few statements on rows: one batch each. They return the number of rows looked at and the progress to
 * store, in Synapse's format; progress undefined means that nothing is left.
 */
export interface Batch {
  readonly items: number;
  readonly progress: JsonObject | undefined;
}

export interface BatchInput {
  readonly progress: JsonObject;
  /** Rows to look at. */
  readonly size: number;
  readonly serverName: string;
  readonly now: number;
}

export type BatchFunction = (txn: Txn, input: BatchInput) => Promise<Batch>;

const text = (value: unknown, otherwise = ""): string => (typeof value === "string" ? value : otherwise);
const integer = (value: unknown, otherwise: number): number => (typeof value === "number" ? value : otherwise);

interface Reached {
  count: number;
  last: string | number | null;
}

/** Over when the batch was not full. */
const upTo = ({ count, last }: Reached, size: number, key: string): Batch => ({
  items: count,
  progress: count < size || last === null ? undefined : { [key]: last },
});

/** `threads`: the newest event of each thread. Threads that are there are newer than anything found here. */
export const backfillThreads: BatchFunction = async (txn, { progress, size }) => {
  const reached = await queryOne<Reached>(
    txn,
    `WITH roots AS (
       SELECT DISTINCT r.relates_to_id FROM event_relations AS r
       WHERE r.relation_type = 'm.thread' AND r.relates_to_id > $1 ORDER BY r.relates_to_id LIMIT $2
     ), filled AS (
       INSERT INTO threads (room_id, thread_id, latest_event_id, topological_ordering, stream_ordering)
       SELECT DISTINCT ON (e.room_id, r.relates_to_id) e.room_id, r.relates_to_id, e.event_id, e.topological_ordering, e.stream_ordering
       FROM roots JOIN event_relations AS r ON r.relates_to_id = roots.relates_to_id AND r.relation_type = 'm.thread'
       JOIN events AS e ON e.event_id = r.event_id
       ORDER BY e.room_id, r.relates_to_id, e.topological_ordering DESC, e.stream_ordering DESC
       ON CONFLICT (room_id, thread_id) DO NOTHING
     )
     SELECT count(*) AS count, max(relates_to_id) AS last FROM roots`,
    [text(progress.last_thread_id), size],
  );
  return upTo(reached!, size, "last_thread_id");
};

/** `pushers.device_id`, by the access token that made the pusher. */
export const setPusherDevices: BatchFunction = async (txn, { progress, size }) => {
  const reached = await queryOne<Reached>(
    txn,
    `WITH batch AS (SELECT id FROM pushers WHERE access_token IS NOT NULL AND id > $1 ORDER BY id LIMIT $2),
     changed AS (
       UPDATE pushers AS p
       SET access_token = NULL, device_id = COALESCE(NULLIF(p.device_id, ''), (SELECT t.device_id FROM access_tokens AS t WHERE t.id = p.access_token))
       FROM batch WHERE p.id = batch.id)
     SELECT count(*) AS count, max(id) AS last FROM batch`,
    [integer(progress.pusher_id, 0), size],
  );
  return upTo(reached!, size, "pusher_id");
};

/** Key backups of accounts that were closed before closing deleted them. */
export const deleteKeysOfDeactivated: BatchFunction = async (txn, { progress, size }) => {
  const reached = await queryOne<Reached>(
    txn,
    `WITH batch AS (SELECT name FROM users WHERE deactivated = 1 AND name > $1 ORDER BY name LIMIT $2),
     keys AS (DELETE FROM e2e_room_keys AS k USING batch WHERE k.user_id = batch.name),
     versions AS (DELETE FROM e2e_room_keys_versions AS v USING batch WHERE v.user_id = batch.name)
     SELECT count(*) AS count, max(name) AS last FROM batch`,
    [text(progress.last_user), size],
  );
  return upTo(reached!, size, "last_user");
};

/** `full_user_id` of `profiles` or `user_filters`, by the local part in `user_id`; at the end every row must have one. */
const fillFullUserIds =
  (table: "profiles" | "user_filters"): BatchFunction =>
  async (txn, { progress, size, serverName }) => {
    const lower = text(progress.lower_bound_id);
    const end = await queryOne<{ user_id: string }>(txn, `SELECT user_id FROM ${table} WHERE user_id > $1 ORDER BY user_id OFFSET $2 LIMIT 1`, [lower, size]);
    const changed = await execute(
      txn,
      `UPDATE ${table} SET full_user_id = '@' || user_id || ':' || $2
       WHERE full_user_id IS NULL AND ($3::text IS NULL OR user_id > $1 AND user_id <= $3)`,
      [lower, serverName, end?.user_id ?? null],
    );
    return { items: Math.max(changed, size), progress: end && { lower_bound_id: end.user_id } };
  };
export const fillProfileUserIds = fillFullUserIds("profiles");
export const fillFilterUserIds = fillFullUserIds("user_filters");

/** Rows of push actions from before threads belong to the main timeline. The progress: see `deleteUnknownExtremities`. */
export const fillThreadIds =
  (table: "event_push_actions" | "event_push_actions_staging" | "event_push_summary"): BatchFunction =>
  async (txn, { size }) => {
    const items = await execute(
      txn,
      `UPDATE ${table} SET thread_id = 'main' WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${table} WHERE thread_id IS NULL LIMIT $1))`,
      [size],
    );
    return { items, progress: { state: items < size ? "validate" : "check" } };
  };

/**
 * Forward extremities whose event is not stored. The progress says whether the constraint is to be tried (`validate`) or rows are to be
 * looked through first (`check`).
 */
export const deleteUnknownExtremities: BatchFunction = async (txn, { progress, size }) => {
  const [event, room] = Array.isArray(progress.lower_bound) ? progress.lower_bound : [];
  const rows = await query<{ event_id: string; room_id: string; known: boolean }>(
    txn,
    `SELECT x.event_id, x.room_id, EXISTS (SELECT FROM events AS e WHERE e.event_id = x.event_id) AS known
     FROM event_forward_extremities AS x WHERE (x.event_id, x.room_id) > ($1, $2) ORDER BY x.event_id, x.room_id LIMIT $3`,
    [text(event), text(room), size],
  );
  const unknown = rows.filter(({ known }) => !known).map(({ event_id }) => event_id);
  if (unknown.length > 0) await execute(txn, "DELETE FROM event_forward_extremities WHERE event_id = ANY($1)", [unknown]);
  const last = rows.at(-1);
  return {
    items: rows.length,
    progress: last && rows.length === size ? { state: "check", lower_bound: [last.event_id, last.room_id] } : { state: "validate", lower_bound: [] },
  };
};

/** To-device messages to servers whose names cannot be. */
export const deleteMessagesToNoServer: BatchFunction = async (txn, { progress, size }) => {
  const bounds = await queryOne<{ first: number | null; last: number | null }>(
    txn,
    "SELECT min(stream_id) AS first, max(stream_id) AS last FROM device_federation_outbox",
  );
  if (bounds!.first === null) return { items: 0, progress: undefined };
  const max = integer(progress.max_stream_id, bounds!.last!);
  const start = Math.max(integer(progress.stream_id, 0), bounds!.first - 1);
  const rows = await query<{ destination: string }>(txn, "SELECT DISTINCT destination FROM device_federation_outbox WHERE stream_id > $1 AND stream_id <= $2", [
    start,
    start + size,
  ]);
  const wrong = rows.map(({ destination }) => destination).filter((name) => !isServerName(name));
  if (wrong.length > 0) await execute(txn, "DELETE FROM device_federation_outbox WHERE destination = ANY($1)", [wrong]);
  return { items: size, progress: start + size >= max ? undefined : { stream_id: start + size, max_stream_id: max } };
};

/** `sliding_sync_membership_snapshots.forgotten` where a later membership took it back. */
export const refreshForgotten: BatchFunction = async (txn, { progress, size }) => {
  const reached = await queryOne<Reached>(
    txn,
    `WITH batch AS (
       SELECT s.room_id, s.user_id, s.event_stream_ordering, m.forgotten
       FROM sliding_sync_membership_snapshots AS s JOIN room_memberships AS m ON m.event_id = s.membership_event_id
       WHERE s.forgotten = 1 AND s.event_stream_ordering > $1 ORDER BY s.event_stream_ordering LIMIT $2
     ), changed AS (
       UPDATE sliding_sync_membership_snapshots AS s SET forgotten = batch.forgotten FROM batch
       WHERE s.room_id = batch.room_id AND s.user_id = batch.user_id)
     SELECT count(*) AS count, max(event_stream_ordering) AS last FROM batch`,
    [integer(progress.last_event_stream_ordering, -(2 ** 31)), size],
  );
  return upTo(reached!, size, "last_event_stream_ordering");
};

/** Sorts events beyond the largest depth together, in rooms whose version bounds numbers. */
export const capDepths =
  (strictVersions: readonly string[], maxDepth: number): BatchFunction =>
  async (txn, { progress, size }) => {
    const rooms = await query<{ room_id: string; room_version: string | null }>(
      txn,
      "SELECT room_id, room_version FROM rooms WHERE room_id > $1 ORDER BY room_id LIMIT $2",
      [text(progress.room_id), size],
    );
    const strict = rooms.filter(({ room_version }) => strictVersions.includes(room_version ?? "")).map(({ room_id }) => room_id);
    await execute(txn, "UPDATE events SET topological_ordering = $2 WHERE topological_ordering > $2 AND room_id = ANY($1)", [strict, maxDepth]);
    return upTo({ count: rooms.length, last: rooms.at(-1)?.room_id ?? null }, size, "room_id");
  };

/** `redactions.recheck`, from what the redaction's metadata say. */
export const fillRecheck: BatchFunction = async (txn, { progress, size }) => {
  const rows = await query<{ event_id: string; internal_metadata: string | null }>(
    txn,
    `SELECT r.event_id, j.internal_metadata FROM redactions AS r LEFT JOIN event_json AS j ON j.event_id = r.event_id
     WHERE r.event_id > $1 ORDER BY r.event_id LIMIT $2`,
    [text(progress.last_event_id), size],
  );
  const settled = rows.filter(({ internal_metadata }) => {
    const metadata: unknown = internal_metadata === null ? undefined : JSON.parse(internal_metadata);
    return !(isJsonObject(metadata) && metadata.recheck_redaction);
  });
  if (settled.length > 0) await execute(txn, "UPDATE redactions SET recheck = FALSE WHERE event_id = ANY($1)", [settled.map(({ event_id }) => event_id)]);
  return upTo({ count: rows.length, last: rows.at(-1)?.event_id ?? null }, size, "last_event_id");
};

/**
 * State groups that nothing refers to, from the newest down: neither an event, nor a group that builds on it and stays. They are deleted
 * some time later, when they are still not in use then.
 */
export const markUnreferencedGroups: BatchFunction = async (txn, { progress, size, now }) => {
  const rows = await query<{ id: number; used: boolean; next: number[] | null }>(
    txn,
    `SELECT g.id, EXISTS (SELECT FROM event_to_state_groups AS e WHERE e.state_group = g.id) AS used,
            ARRAY(SELECT n.state_group FROM state_group_edges AS n
                  WHERE n.prev_state_group = g.id AND NOT EXISTS (SELECT FROM state_groups_pending_deletion AS d WHERE d.state_group = n.state_group)) AS next
     FROM (SELECT id FROM state_groups WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2) AS g ORDER BY g.id DESC`,
    [typeof progress.last_checked_state_group === "number" ? progress.last_checked_state_group : null, size],
  );
  const unreferenced = new Set<number>();
  for (const { id, used, next } of rows) if (!used && (next ?? []).every((group) => unreferenced.has(Number(group)))) unreferenced.add(id);
  if (unreferenced.size > 0) {
    await execute(
      txn,
      `INSERT INTO state_groups_pending_deletion (state_group, insertion_ts) SELECT state_group, $2 FROM unnest($1::bigint[]) AS state_group
       ON CONFLICT (state_group) DO NOTHING`,
      [[...unreferenced], now],
    );
  }
  return upTo({ count: rows.length, last: rows.at(-1)?.id ?? null }, size, "last_checked_state_group");
};

/** The next media that were in quarantine before quarantines became a stream. */
export async function quarantinedMedia(txn: Txn, { progress, size }: BatchInput): Promise<{ media: { origin: string | null; mediaId: string }[] } & Batch> {
  const local =
    progress.local_done === true
      ? []
      : await query<{ media_id: string }>(
          txn,
          "SELECT media_id FROM local_media_repository WHERE quarantined_by IS NOT NULL AND media_id > $1 ORDER BY media_id LIMIT $2",
          [text(progress.last_local_media_id), size],
        );
  const remote =
    progress.remote_done === true
      ? []
      : await query<{ media_origin: string; media_id: string }>(
          txn,
          `SELECT media_origin, media_id FROM remote_media_cache
           WHERE quarantined_by IS NOT NULL AND (media_origin, media_id) > ($1, $2) ORDER BY media_origin, media_id LIMIT $3`,
          [text(progress.last_remote_origin), text(progress.last_remote_media_id), size],
        );
  const media = [
    ...local.map((row) => ({ origin: null, mediaId: row.media_id })),
    ...remote.map((row) => ({ origin: row.media_origin, mediaId: row.media_id })),
  ];
  const next = {
    last_local_media_id: local.at(-1)?.media_id ?? text(progress.last_local_media_id),
    last_remote_media_id: remote.at(-1)?.media_id ?? text(progress.last_remote_media_id),
    last_remote_origin: remote.at(-1)?.media_origin ?? text(progress.last_remote_origin),
    local_done: local.length === 0,
    remote_done: remote.length === 0,
  };
  return { media, items: media.length, progress: media.length === 0 ? undefined : next };
}
