import { type JsonObject, isJsonObject, stringify } from "../../lib/json.ts";
import { type Database, execute, query, type ReadHandle, type Txn } from "../database.ts";

/** The queue of background updates, as Synapse keeps it: what one server has begun, the other goes on with. */
export interface PendingUpdate {
  readonly name: string;
  /** Not before that one has left the queue. */
  readonly dependsOn: string | undefined;
  readonly progress: JsonObject;
}

/** The queue in its order. */
export async function pendingUpdates(h: ReadHandle): Promise<PendingUpdate[]> {
  const rows = await query<{ update_name: string; depends_on: string | null; progress_json: string }>(
    h,
    "SELECT update_name, depends_on, progress_json FROM background_updates ORDER BY ordering, update_name",
  );
  return rows.map((row) => ({ name: row.update_name, dependsOn: row.depends_on || undefined, progress: progressOf(row.progress_json) }));
}

function progressOf(text: string): JsonObject {
  const value: unknown = JSON.parse(text || "{}");
  return isJsonObject(value) ? value : {};
}

export async function saveProgress(txn: Txn, name: string, progress: JsonObject): Promise<void> {
  await execute(txn, "UPDATE background_updates SET progress_json = $2 WHERE update_name = $1", [name, stringify(progress)]);
}

export async function finishUpdate(txn: Txn, name: string): Promise<void> {
  await execute(txn, "DELETE FROM background_updates WHERE update_name = $1", [name]);
}

/** Queues updates that depend each on the one before; false, and nothing is queued, when one of them is in the queue already. */
export async function queueUpdates(txn: Txn, updates: readonly { name: string; progress: JsonObject }[]): Promise<boolean> {
  const names = updates.map(({ name }) => name);
  const there = await query(txn, "SELECT FROM background_updates WHERE update_name = ANY($1)", [names]);
  if (there.length > 0) return false;
  await execute(
    txn,
    `INSERT INTO background_updates (update_name, progress_json, depends_on)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
     ON CONFLICT DO NOTHING`, // of a row that came meanwhile: the transaction is repeated, and sees it
    [names, updates.map(({ progress }) => stringify(progress)), updates.map((_, index) => names[index - 1] ?? "")],
  );
  return true;
}

/**
 * Updates that run before the server serves anybody. Unique indexes that writers rely on (`ON CONFLICT`): while one of them is missing
 * its table cannot be written (risk 71). The chain cover: from the moment it covers a room every new event must have its place (risk 59).
 */
export const BEFORE_SERVING: ReadonlySet<string> = new Set([
  "user_ips_device_unique_index",
  "device_lists_remote_cache_unique_idx",
  "device_lists_remote_extremeties_unique_idx",
  "event_search_event_id_idx",
  "local_media_repository_thumbnails_method_idx",
  "remote_media_repository_thumbnails_method_idx",
  "event_push_summary_unique_index2",
  "receipts_linearized_unique_index",
  "receipts_graph_unique_index",
  "profiles_full_user_id_key_idx",
  "full_users_filters_unique_idx",
  "chain_cover",
]);

/**
 * Updates of schemas up to 72 that Synapse 1.160 can still run and Myelin does not. They are done on every database that such a Synapse
 * had time for; where one waits, tables lack what the code relies on, or are about to change their columns.
 */
export const LEFT_TO_SYNAPSE: ReadonlySet<string> = new Set([
  "add_room_type_column",
  "add_rooms_room_version_column",
  "current_state_events_membership",
  "delete_old_current_state_events",
  "delete_soft_failed_extremities",
  "devices_last_seen",
  "event_arbitrary_relations",
  "event_auth_state_only",
  "event_edges_drop_invalid_rows",
  "event_fields_sender_url",
  "event_fix_redactions_bytes",
  "event_fix_redactions_bytes_create_index",
  "event_origin_server_ts",
  "event_search_order",
  "event_search_postgres_gin",
  "event_search_sqlite_delete_non_strings",
  "event_store_labels",
  "events_populate_state_key_rejections",
  "index_stream_ordering2_contains_url",
  "index_stream_ordering2_room_order",
  "index_stream_ordering2_room_stream",
  "index_stream_ordering2_ts",
  "insert_room_retention",
  "populate_room_depth_min_depth2",
  "populate_rooms_creator_column",
  "populate_stream_ordering2",
  "redactions_received_ts",
  "rejected_events_metadata",
  "remove_tombstoned_rooms_from_directory",
  "replace_room_depth_min_depth",
  "replace_stream_ordering_column",
  "room_membership_profile_update",
  "state_group_state_deduplication",
  "state_group_state_type_index",
  "user_ips_remove_dupes",
  "users_set_deactivated_flag",
]);

// ------------------------------------------------------------------------------------------------ statements that suffer no transaction

/** An index as the catalogue defines it. */
export interface IndexDefinition {
  readonly name: string;
  /** `CREATE [UNIQUE] INDEX name ON ...` */
  readonly definition: string;
  /** The index that it makes superfluous. */
  readonly replaces?: string | undefined;
}

/** Makes the index without locking its table. One that is there and whole stays; one that an earlier attempt left half made goes first. */
export async function createIndex(db: Database, index: IndexDefinition): Promise<void> {
  await onOwnConnection(db, async (run) => {
    const [state] = await run<{ valid: boolean }>(`SELECT x.indisvalid AS valid FROM pg_index AS x WHERE x.indexrelid = to_regclass('${index.name}')`);
    if (state?.valid !== true) {
      if (state) await run(`DROP INDEX CONCURRENTLY ${index.name}`);
      await run(index.definition.replace(/ INDEX /, " INDEX CONCURRENTLY "));
    }
    if (index.replaces !== undefined) await run(`DROP INDEX CONCURRENTLY IF EXISTS ${index.replaces}`);
  });
}

export async function dropIndexes(db: Database, names: readonly string[]): Promise<void> {
  await onOwnConnection(db, async (run) => {
    for (const name of names) await run(`DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
  });
}

export async function analyze(db: Database, table: string): Promise<void> {
  await onOwnConnection(db, async (run) => void (await run(`ANALYZE ${table}`)));
}

/** Checks the rows that were there before the constraint; needs no long lock. Fails (23514, 23503) when one violates it. */
export async function validateConstraint(db: Database, table: string, constraint: string): Promise<void> {
  await onOwnConnection(db, async (run) => void (await run(`ALTER TABLE ${table} VALIDATE CONSTRAINT ${constraint}`)));
}

type Run = <Row extends object>(sql: string) => Promise<Row[]>;

/** A session that is thrown away afterwards: it runs without a time limit. */
async function onOwnConnection(db: Database, fn: (run: Run) => Promise<void>): Promise<void> {
  const client = await db.dedicatedConnection();
  try {
    await client.query("SET statement_timeout TO 0");
    await fn(async (sql) => (await client.query(sql)).rows);
  } finally {
    client.release(true);
  }
}
