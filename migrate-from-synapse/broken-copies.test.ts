// More than 500 lines: a table with a line for each thing that the checker finds.
import assert from "node:assert/strict";
import { systemClock } from "../src/lib/clock.ts";
import { systemRandom } from "../src/lib/random.ts";
import { type Database, query } from "../src/storage/database.ts";
import { connectTo } from "../src/testing/database.ts";
import { examineDatabase, readConfiguration } from "./check.ts";
import type { Target } from "./context.ts";
import type { Finding, Level } from "./finding.ts";
import { type Deployment, makeDeployment } from "./test-deployment.ts";

/** A statement that breaks a sound database, and what is to be found then. */
interface Break {
  readonly what: string;
  readonly sql: string;
  readonly found: string;
  readonly level: Exclude<Level, "ok">;
  /** What else may be found, since it follows. */
  readonly also?: readonly string[];
  readonly target?: Target;
  readonly deep?: true;
}

const room = (nth: number): string => `(SELECT room_id FROM rooms ORDER BY room_id LIMIT 1 OFFSET ${nth})`;
const message = "(SELECT event_id FROM events WHERE type = 'm.room.message' ORDER BY stream_ordering DESC LIMIT 1)";
const member = "(SELECT event_id FROM events WHERE type = 'm.room.member' ORDER BY stream_ordering DESC LIMIT 1)";

const BREAKS: readonly Break[] = [
  {
    what: "accounts of another server",
    sql: "UPDATE users SET name = replace(name, ':test', ':elsewhere')",
    found: "risk-04",
    level: "blocker",
    also: ["risk-33"],
  },
  { what: "a schema for newer servers", sql: "UPDATE schema_compat_version SET compat_version = 99", found: "risk-05", level: "blocker" },
  { what: "a schema that is too old", sql: "UPDATE schema_version SET version = 80", found: "risk-06", level: "blocker", also: ["risk-07"] },
  { what: "a newer schema", sql: "UPDATE schema_version SET version = 95", found: "risk-06", level: "warning" },
  {
    what: "an older schema that can be brought up to date",
    sql: `DROP TABLE profile_updates_per_user, profile_updates, device_lists_changes_in_room_max_pruned_stream_id, quarantined_media_changes, msc4242_state_dag_edges,
            msc4242_state_dag_forward_extremities;
          DROP SEQUENCE profile_updates_sequence, quarantined_media_id_seq; ALTER TABLE redactions DROP COLUMN recheck; ALTER TABLE device_lists_changes_in_room DROP COLUMN inserted_ts;
          DELETE FROM applied_schema_deltas WHERE version = 94; UPDATE schema_version SET version = 93`,
    found: "risk-06",
    level: "note",
    also: ["risk-07", "risk-88"],
  },
  { what: "no schema version", sql: "DELETE FROM schema_version", found: "risk-06", level: "blocker" },
  { what: "a forgotten delta", sql: "DELETE FROM applied_schema_deltas WHERE file = '94/07_profile_updates.sql'", found: "risk-07", level: "blocker" },
  { what: "forgotten old deltas", sql: "DELETE FROM applied_schema_deltas WHERE version < 80", found: "risk-07", level: "warning" },
  { what: "a delta of a newer Synapse", sql: "INSERT INTO applied_schema_deltas VALUES (94, '94/99_unheard_of.sql')", found: "risk-07", level: "warning" },
  { what: "tables of a module", sql: "INSERT INTO applied_module_schemas VALUES ('some.module', 'one.sql')", found: "risk-08", level: "note" },
  { what: "a missing table", sql: "DROP TABLE user_ips", found: "risk-10", level: "blocker" },
  { what: "a missing column", sql: "ALTER TABLE users DROP COLUMN locked", found: "risk-10", level: "blocker" },
  { what: "a missing index", sql: "DROP INDEX events_ts", found: "risk-10", level: "warning" },
  {
    what: "an index that was not finished",
    sql: "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'events_ts'::regclass",
    found: "risk-10",
    level: "warning",
  },
  { what: "a missing trigger", sql: "DROP TRIGGER check_event_stream_ordering ON room_memberships", found: "risk-10", level: "warning" },
  {
    what: "text that should be bytea",
    sql: "ALTER TABLE user_filters ALTER COLUMN filter_json TYPE text USING convert_from(filter_json, 'UTF8')",
    found: "risk-13",
    level: "blocker",
  },
  {
    what: "a boolean that should be a number",
    sql: "ALTER TABLE users ALTER COLUMN is_guest DROP DEFAULT, ALTER COLUMN is_guest TYPE boolean USING is_guest = 1",
    found: "risk-14",
    level: "blocker",
    also: ["risk-04"],
  },
  {
    what: "a column that no longer numbers itself",
    sql: "ALTER TABLE state_groups_pending_deletion ALTER COLUMN sequence_number DROP IDENTITY",
    found: "risk-25",
    level: "blocker",
    also: ["risk-10", "risk-16", "risk-20"],
  },
  {
    what: "a sequence behind its stored position",
    sql: "ALTER SEQUENCE account_data_sequence RESTART WITH 2; DELETE FROM account_data; DELETE FROM room_account_data",
    found: "risk-16",
    level: "warning",
  },
  {
    what: "the same on the way back",
    sql: "ALTER SEQUENCE account_data_sequence RESTART WITH 2; DELETE FROM account_data; DELETE FROM room_account_data",
    found: "risk-16",
    level: "blocker",
    target: "synapse",
  },
  {
    what: "a sequence behind its table",
    sql: "ALTER SEQUENCE events_stream_seq RESTART WITH 3",
    found: "risk-17",
    level: "warning",
    also: ["risk-16", "risk-78", "risk-84", "risk-86", "risk-87"],
  },
  {
    what: "a sequence that was never called",
    sql: "ALTER SEQUENCE sticky_events_sequence RESTART WITH 1; DELETE FROM stream_positions WHERE stream_name = 'sticky_events'",
    found: "risk-18",
    level: "warning",
  },
  { what: "rows of an unknown instance", sql: "UPDATE events SET instance_name = 'ghost'", found: "risk-19", level: "warning" },
  { what: "a writer that stayed behind", sql: "ALTER SEQUENCE receipts_sequence RESTART WITH 40000", found: "risk-20", level: "warning" },
  { what: "positions of an unknown writer", sql: "INSERT INTO stream_positions VALUES ('events', 'ghost', 5)", found: "risk-21", level: "note" },
  { what: "state group numbers that come again", sql: "ALTER SEQUENCE state_group_id_seq RESTART WITH 1", found: "risk-23", level: "warning" },
  { what: "the same on the way back", sql: "ALTER SEQUENCE state_group_id_seq RESTART WITH 1", found: "risk-23", level: "warning", target: "synapse" },
  {
    what: "ids near the end of their column",
    sql: "ALTER SEQUENCE thread_subscriptions_sequence RESTART WITH 2000000000",
    found: "risk-26",
    level: "warning",
    also: ["risk-20"],
  },
  {
    what: "ids at the end of their column",
    sql: "ALTER SEQUENCE thread_subscriptions_sequence MAXVALUE 4294967296 RESTART WITH 2147483700",
    found: "risk-26",
    level: "blocker",
    also: ["risk-20"],
  },
  {
    what: "a positive position of backfill",
    sql: "INSERT INTO stream_positions VALUES ('backfill', 'master', 40) ON CONFLICT (stream_name, instance_name) DO UPDATE SET stream_id = 40; ALTER SEQUENCE events_backfill_stream_seq RESTART WITH 100",
    found: "risk-29",
    level: "warning",
  },
  { what: "tokens of nobody", sql: "INSERT INTO access_tokens (id, user_id, token) VALUES (99999, '@gone:test', 'abc')", found: "risk-33", level: "warning" },
  { what: "a password in another hash", sql: "UPDATE users SET password_hash = '{SSHA}abc' WHERE name = '@bob:test'", found: "risk-35", level: "warning" },
  { what: "accounts of an unknown provider", sql: "INSERT INTO user_external_ids VALUES ('oidc-gone', '1', '@bob:test')", found: "risk-37", level: "note" },
  {
    what: "a sign-in under way",
    sql: "INSERT INTO ui_auth_sessions VALUES ('s', extract(epoch FROM now())::bigint * 1000, '{}', '{}', '/', 'POST', '')",
    found: "risk-38",
    level: "note",
  },
  { what: "flags that are neither 0 nor 1", sql: "UPDATE users SET deactivated = 2 WHERE name = '@bob:test'", found: "risk-44", level: "warning" },
  {
    what: "profiles without full ids",
    sql: "ALTER TABLE profiles DROP CONSTRAINT full_user_id_not_null; UPDATE profiles SET full_user_id = NULL",
    found: "risk-45",
    level: "warning",
    also: ["risk-10"],
  },
  {
    what: "JSON that does not hash to its id",
    sql: `UPDATE event_json SET json = replace(json, '"depth":', '"depth":1') WHERE event_id = ${member}`,
    found: "risk-46",
    level: "warning",
    also: [],
  },
  {
    what: "content that was changed",
    sql: `UPDATE event_json SET json = replace(json, 'Hello', 'Goodbye') WHERE event_id = ${message}`,
    found: "risk-46",
    level: "warning",
  },
  { what: "JSON that cannot be read", sql: `UPDATE event_json SET json = 'no' WHERE event_id = ${message}`, found: "risk-46", level: "warning" },
  {
    what: "a forged signature",
    sql: String.raw`UPDATE event_json SET json = regexp_replace(json, '("ed25519:a_test": ?")....', '\1AAAA')`,
    found: "risk-39",
    level: "blocker",
  },
  {
    what: "forged signatures of a few",
    sql: String.raw`UPDATE event_json SET json = regexp_replace(json, '("ed25519:a_test": ?")....', '\1AAAA') WHERE event_id = ${message}`,
    found: "risk-46",
    level: "warning",
    also: ["risk-39"],
    deep: true,
  },
  {
    what: "another event format than the room's",
    sql: `UPDATE event_json SET format_version = 1 WHERE event_id = ${message}`,
    found: "risk-48",
    level: "warning",
  },
  {
    what: "a room without version",
    sql: `UPDATE rooms SET room_version = NULL WHERE room_id = ${room(1)}`,
    found: "risk-48",
    level: "warning",
    also: ["risk-39"],
  },
  {
    what: "a room of an unknown version",
    sql: `UPDATE rooms SET room_version = 'org.example.99' WHERE room_id = ${room(1)}`,
    found: "risk-48",
    level: "warning",
  },
  { what: "a room without its row", sql: `DELETE FROM rooms WHERE room_id = ${room(1)}`, found: "risk-49", level: "warning", also: ["risk-48"] },
  {
    what: "unknown marks of an event",
    sql: `UPDATE event_json SET internal_metadata = '{"frobnicated":true}' WHERE event_id = ${message}`,
    found: "risk-50",
    level: "note",
  },
  { what: "events without state groups", sql: `DELETE FROM event_to_state_groups WHERE event_id = ${message}`, found: "risk-51", level: "warning" },
  {
    what: "an outlier with a state group",
    sql: `UPDATE events SET outlier = true WHERE event_id = ${message}`,
    found: "risk-51",
    level: "warning",
    also: ["risk-53"],
  },
  {
    what: "an event with another room's state",
    sql: `UPDATE event_to_state_groups SET state_group = (SELECT min(id) FROM state_groups) WHERE event_id = ${message}`,
    found: "risk-51",
    level: "warning",
    also: ["risk-67"],
  },
  { what: "a rejection that is noted by halves", sql: `INSERT INTO rejections VALUES (${message}, 'auth_error', '0')`, found: "risk-52", level: "warning" },
  {
    what: "a rejection without its row",
    sql: `UPDATE events SET rejection_reason = 'auth_error' WHERE event_id = ${message}`,
    found: "risk-52",
    level: "warning",
    also: ["risk-53"],
  },
  { what: "a room without extremities", sql: `DELETE FROM event_forward_extremities WHERE room_id = ${room(1)}`, found: "risk-53", level: "warning" },
  {
    what: "an extremity that is followed",
    sql: `INSERT INTO event_forward_extremities SELECT event_id, room_id FROM events WHERE type = 'm.room.create' AND room_id = ${room(1)}`,
    found: "risk-53",
    level: "warning",
  },
  {
    what: "edges that the JSON does not know",
    sql: `DELETE FROM event_edges WHERE event_id = ${message}`,
    found: "risk-54",
    level: "warning",
    also: ["risk-53"],
  },
  { what: "auth events that the JSON does not know", sql: `DELETE FROM event_auth WHERE event_id = ${member}`, found: "risk-54", level: "warning" },
  {
    what: "current state without positions",
    sql: `UPDATE current_state_events SET event_stream_ordering = NULL WHERE room_id = ${room(1)}`,
    found: "risk-55",
    level: "warning",
  },
  {
    what: "memberships that disagree",
    sql: "UPDATE local_current_membership SET membership = 'leave' WHERE user_id = '@alice:test'",
    found: "risk-55",
    level: "warning",
    deep: true,
    also: ["risk-81"],
  },
  {
    what: "copied positions that disagree",
    sql: `UPDATE room_memberships SET event_stream_ordering = event_stream_ordering + 1 WHERE event_id = ${member}`,
    found: "risk-56",
    level: "warning",
  },
  {
    what: "changes of state that lead elsewhere",
    sql: `UPDATE current_state_delta_stream SET event_id = NULL WHERE type = 'm.room.join_rules' AND room_id = ${room(1)}`,
    found: "risk-57",
    level: "warning",
    deep: true,
  },
  {
    what: "extremities of new events that are not noted",
    sql: `DELETE FROM stream_ordering_to_exterm WHERE room_id = ${room(1)}`,
    found: "risk-58",
    level: "warning",
  },
  { what: "a state event outside the chain cover", sql: `DELETE FROM event_auth_chains WHERE event_id = ${member}`, found: "risk-59", level: "warning" },
  { what: "chains without links", sql: "DELETE FROM event_auth_chain_links", found: "risk-59", level: "warning", deep: true },
  {
    what: "a room that has grown too deep",
    sql: `UPDATE events SET depth = 9223372036854775807 WHERE event_id IN (SELECT event_id FROM event_forward_extremities WHERE room_id = ${room(1)})`,
    found: "risk-60",
    level: "warning",
  },
  {
    what: "redactions that nobody carries out",
    sql: "INSERT INTO redactions (event_id, redacts, have_censored, received_ts) SELECT '$x' || n, '$y' || n, false, 1 FROM generate_series(1, 1500) AS n",
    found: "risk-61",
    level: "note",
  },
  {
    what: "a room with partial state",
    sql: `INSERT INTO partial_state_rooms (room_id, device_lists_stream_id, join_event_id, joined_via) VALUES (${room(1)}, 1, ${member}, 'x')`,
    found: "risk-62",
    level: "warning",
  },
  { what: "state events without derived rows", sql: `DELETE FROM state_events WHERE event_id = ${member}`, found: "risk-63", level: "warning" },
  {
    what: "a long chain of state groups",
    sql: `INSERT INTO state_groups SELECT n + 1000000, ${room(1)}, '$x' FROM generate_series(1, 150) AS n; INSERT INTO state_group_edges SELECT n + 1000001, n + 1000000 FROM generate_series(1, 149) AS n;
          ALTER SEQUENCE state_group_id_seq RESTART WITH 2000000`,
    found: "risk-65",
    level: "note",
  },
  {
    what: "a state group that builds on a later one",
    sql: "UPDATE state_group_edges SET prev_state_group = state_group + 1 WHERE state_group = (SELECT max(state_group) FROM state_group_edges)",
    found: "risk-66",
    level: "warning",
    also: ["risk-67"],
  },
  {
    what: "state that the state groups do not know",
    sql: `DELETE FROM current_state_events WHERE type = 'm.room.join_rules' AND room_id = ${room(1)}`,
    found: "risk-67",
    level: "warning",
    deep: true,
    also: ["risk-57"],
  },
  {
    what: "a state group in use that waits for its end",
    sql: `INSERT INTO state_groups_pending_deletion (state_group, insertion_ts) SELECT state_group, 1 FROM event_to_state_groups WHERE event_id = ${message}`,
    found: "risk-68",
    level: "warning",
  },
  { what: "state groups in hand", sql: "INSERT INTO state_groups_persisting VALUES (1, 'master')", found: "risk-68", level: "note" },
  {
    what: "a background update that waits",
    sql: "INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('threads_backfill', '{}', 1)",
    found: "risk-70",
    level: "note",
  },
  {
    what: "an unknown background update",
    sql: "INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('unheard_of', '{}', 1)",
    found: "risk-70",
    level: "blocker",
  },
  {
    what: "the same on the way back",
    sql: "INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('unheard_of', '{}', 1)",
    found: "risk-70",
    level: "blocker",
    target: "synapse",
  },
  {
    what: "an update of Synapse's that Myelin does not run",
    sql: "INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('event_store_labels', '{}', 1)",
    found: "risk-70",
    level: "blocker",
  },
  {
    what: "a unique index that is to be made",
    sql: "INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('receipts_graph_unique_index', '{}', 1)",
    found: "risk-71",
    level: "warning",
  },
  { what: "locks of a dead server", sql: "INSERT INTO worker_locks VALUES ('a', 'b', 'master', 't', 5)", found: "risk-73", level: "note" },
  {
    what: "locks from the future",
    sql: "INSERT INTO worker_locks VALUES ('a', 'b', 'master', 't', 9999999999999)",
    found: "risk-73",
    level: "warning",
    also: ["risk-72"],
  },
  {
    what: "an unknown task",
    sql: "INSERT INTO scheduled_tasks (id, action, status, timestamp) VALUES ('x', 'unheard_of', 'active', 1)",
    found: "risk-74",
    level: "warning",
  },
  {
    what: "a column added to scheduled_tasks",
    sql: "ALTER TABLE scheduled_tasks ADD COLUMN extra text",
    found: "risk-74",
    level: "blocker",
    target: "synapse",
  },
  {
    what: "a delayed event",
    sql: `INSERT INTO delayed_events (delay_id, user_localpart, delay, send_ts, room_id, event_type, content, is_processed) VALUES ('d', 'bob', 1, 1, ${room(1)}, 'm.x', '{}', false)`,
    found: "risk-75",
    level: "note",
  },
  {
    what: "a column that must be filled",
    sql: "ALTER TABLE receipts_graph ADD COLUMN extra text NOT NULL DEFAULT ''; ALTER TABLE receipts_graph ALTER COLUMN extra DROP DEFAULT",
    found: "risk-76",
    level: "blocker",
  },
  { what: "a foreign key to Synapse's tables", sql: "CREATE TABLE mine (event_id text REFERENCES events (event_id))", found: "risk-76", level: "warning" },
  {
    what: "a trigger of somebody else's",
    sql: "CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER mine BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION mine()",
    found: "risk-76",
    level: "warning",
  },
  {
    what: "what Myelin keeps for itself",
    sql: "SET LOCAL search_path TO public; CREATE SCHEMA IF NOT EXISTS myelin; CREATE TABLE myelin.something (a text)",
    found: "risk-76",
    level: "note",
    target: "synapse",
  },
  { what: "tables of somebody else's", sql: "CREATE TABLE mine (a text)", found: "risk-76", level: "note" },
  { what: "a table of one row without one", sql: "DELETE FROM stats_incremental_position", found: "risk-77", level: "blocker" },
  {
    what: "push counts ahead of their stream",
    sql: "UPDATE event_push_summary_stream_ordering SET stream_ordering = 999999",
    found: "risk-78",
    level: "warning",
  },
  {
    what: "notifications that were never brought",
    sql: `INSERT INTO event_push_actions_staging (event_id, user_id, actions, notif, highlight, unread, thread_id, inserted_ts) VALUES (${message}, '@bob:test', '[]', 1, 0, 1, 'main', 5)`,
    found: "risk-79",
    level: "warning",
  },
  { what: "receipts without positions", sql: "UPDATE receipts_linearized SET event_stream_ordering = NULL", found: "risk-80", level: "warning" },
  {
    what: "double receipts",
    sql: `DROP INDEX receipts_linearized_unique_index; INSERT INTO receipts_linearized (stream_id, room_id, receipt_type, user_id, event_id, data, event_stream_ordering) SELECT stream_id - 1, room_id, receipt_type, user_id, event_id, data, event_stream_ordering FROM receipts_linearized`,
    found: "risk-80",
    level: "warning",
    also: ["risk-10"],
  },
  { what: "sliding sync without a room", sql: `DELETE FROM sliding_sync_joined_rooms WHERE room_id = ${room(1)}`, found: "risk-81", level: "warning" },
  {
    what: "sliding sync behind a room",
    sql: `UPDATE sliding_sync_joined_rooms SET event_stream_ordering = 2 WHERE room_id = ${room(1)}`,
    found: "risk-81",
    level: "warning",
  },
  {
    what: "sliding sync with old memberships",
    sql: "UPDATE sliding_sync_membership_snapshots SET membership_event_id = (SELECT event_id FROM events WHERE type = 'm.room.create' LIMIT 1) WHERE user_id = '@bob:test'",
    found: "risk-81",
    level: "warning",
  },
  {
    what: "sliding sync that does not forget",
    sql: "UPDATE sliding_sync_membership_snapshots SET forgotten = 0 WHERE user_id = '@bob:test' AND forgotten = 1",
    found: "risk-82",
    level: "warning",
  },
  {
    what: "many unused connections of sliding sync",
    sql: "INSERT INTO sliding_sync_connections (user_id, effective_device_id, conn_id, created_ts, last_used_ts) SELECT '@bob:test', 'x', n::text, 1, 1 FROM generate_series(1, 1500) AS n",
    found: "risk-83",
    level: "note",
  },
  { what: "a directory ahead of its stream", sql: "UPDATE user_directory_stream_pos SET stream_id = 999999", found: "risk-84", level: "warning" },
  { what: "a directory to be built", sql: "UPDATE user_directory_stream_pos SET stream_id = NULL", found: "risk-84", level: "note" },
  {
    what: "transactions for a bridge that is gone",
    sql: "INSERT INTO application_services_txns VALUES ('gone', 1, '[]'); SELECT setval('application_services_txn_id_seq', 10)",
    found: "risk-85",
    level: "warning",
  },
  {
    what: "a bridge ahead of its streams",
    sql: "INSERT INTO application_services_state (as_id, to_device_stream_id) VALUES ('some', 999999)",
    found: "risk-85",
    level: "warning",
  },
  {
    what: "events sent that there are not",
    sql: "UPDATE federation_stream_position SET stream_id = 999999 WHERE type = 'events'",
    found: "risk-86",
    level: "warning",
  },
  { what: "no position of what was sent", sql: "DELETE FROM federation_stream_position", found: "risk-86", level: "warning" },
  {
    what: "servers that got what there is not",
    sql: "INSERT INTO destinations (destination, retry_last_ts, retry_interval, last_successful_stream_ordering) VALUES ('x', 0, 0, 999999)",
    found: "risk-87",
    level: "warning",
  },
  {
    what: "changes of devices that nobody was told",
    sql: `INSERT INTO device_lists_changes_in_room (user_id, device_id, room_id, stream_id, converted_to_destinations, opentracing_context, inserted_ts) VALUES ('@bob:test', 'd', ${room(1)}, 50000, false, '{}', 1); ALTER SEQUENCE device_lists_sequence RESTART WITH 60000`,
    found: "risk-88",
    level: "warning",
    also: ["risk-20"],
  },
  {
    what: "events from others that are stuck",
    sql: "INSERT INTO federation_inbound_events_staging VALUES ('x', '!r:x', '$e', 1, '{}', '{}')",
    found: "risk-91",
    level: "warning",
  },
  {
    what: "members that are counted wrongly",
    sql: "UPDATE room_stats_current SET joined_members = joined_members + 5",
    found: "risk-92",
    level: "warning",
    deep: true,
  },
  {
    what: "profile updates without their option",
    sql: "INSERT INTO profile_updates VALUES (2, 'master', '@bob:test', 'update', '{}', 1); SELECT setval('profile_updates_sequence', 5)",
    found: "risk-94",
    level: "note",
  },
  { what: "media that is not there", sql: "UPDATE local_media_repository SET media_id = 'zzzz' || media_id", found: "risk-95", level: "blocker" },
  { what: "media of another length", sql: "UPDATE local_media_repository SET media_length = 1", found: "risk-95", level: "warning" },
  { what: "media of another content", sql: "UPDATE local_media_repository SET sha256 = 'abc'", found: "risk-95", level: "warning" },
  { what: "times in milliseconds", sql: "UPDATE users SET creation_ts = creation_ts * 1000", found: "risk-100", level: "warning" },
  {
    what: "an invite that does not tell its room",
    sql: `UPDATE events SET outlier = true WHERE event_id = ${member}; DELETE FROM event_to_state_groups WHERE event_id = ${member};
          UPDATE local_current_membership SET membership = 'invite', event_id = ${member} WHERE user_id = '@bob:test' AND room_id = (SELECT room_id FROM events WHERE event_id = ${member})`,
    found: "risk-101",
    level: "note",
    also: ["risk-81", "risk-82", "risk-53"],
  },
  { what: "remains of a room that is gone", sql: "INSERT INTO room_depth VALUES ('!gone:test', 1)", found: "risk-102", level: "note", deep: true },
];

class Undo extends Error {}

describe("a broken copy of a sound database", function () {
  this.timeout(60_000);
  let deployment: Deployment;
  let db: Database;
  before(async () => {
    deployment = await makeDeployment();
    db = connectTo(deployment.databaseUrl, 2);
  });
  after(async () => {
    await db.close();
    await deployment.remove();
  });

  /** What is found after `sql`, which is undone. */
  async function findings(sql: string, target: Target, deep: boolean): Promise<Finding[]> {
    const options = {
      target,
      deep,
      configPaths: [`${deployment.folder}/homeserver.yaml`],
      workingDirectory: deployment.folder,
      env: {},
      clock: systemClock,
      random: systemRandom,
    };
    const ctx = readConfiguration(options);
    let found: Finding[] = [];
    const done = db.transaction("broken copy", async (txn) => {
      // Without the database's own checks, as after a restore by halves.
      if (sql !== "")
        await query(
          txn,
          `SET LOCAL session_replication_role = replica; ${sql}; SET LOCAL session_replication_role = origin; SET LOCAL max_parallel_workers_per_gather TO 0`,
        );
      ({ findings: found } = await examineDatabase(ctx, txn, options));
      throw new Undo();
    });
    await assert.rejects(done, Undo);
    // Servers for tests run without fsync.
    return found.filter(({ level, what }) => level !== "ok" && !/^(?:fsync|full_page_writes) is off/.test(what));
  }

  for (const target of ["myelin", "synapse"] as const) {
    it(`is not seen where nothing is broken (${target})`, async () => {
      assert.deepEqual(await findings("", target, true), []);
    });
  }

  for (const { what, sql, found, level, also = [], target = "myelin", deep = false } of BREAKS) {
    it(`is found: ${what} (${found})`, async () => {
      const all = await findings(sql, target, deep);
      const it = all.find((each) => each.id === found && each.level === level);
      assert.ok(it !== undefined, `not found; but ${JSON.stringify(all, null, 2)}`);
      for (const text of [it.what, it.why, it.todo]) assert.ok(text !== undefined && text !== "" && !text.includes("\n"), "has its three lines");
      const invented = all.filter((each) => each.id !== found && !also.includes(each.id));
      assert.deepEqual(invented, [], "nothing else is found");
    });
  }
});
