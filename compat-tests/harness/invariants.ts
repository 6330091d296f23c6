import type { PostgresServer } from "./postgres.ts";
import { eventInvariants } from "./event-invariants.ts";

/**
 * What must hold in a database that a homeserver has stopped on: the rules that Synapse relies on without checking them. Each
 * statement returns the rows that break its rule.
 */
export interface Violation {
  rule: string;
  rows: object[];
}

interface Rule {
  rule: string;
  sql: string;
}

/** Stream name in stream_positions (null: none), sequence, and the columns that hold its ids; a leading minus for negated ones. */
const STREAMS: readonly [string | null, string, readonly string[]][] = [
  ["events", "events_stream_seq", ["events.stream_ordering", "current_state_delta_stream.stream_id", "ex_outlier_stream.event_stream_ordering"]],
  ["backfill", "events_backfill_stream_seq", ["-events.stream_ordering", "-ex_outlier_stream.event_stream_ordering"]],
  ["presence_stream", "presence_stream_sequence", ["presence_stream.stream_id"]],
  ["receipts", "receipts_sequence", ["receipts_linearized.stream_id"]],
  ["account_data", "account_data_sequence", ["room_account_data.stream_id", "room_tags_revisions.stream_id", "account_data.stream_id"]],
  ["push_rules_stream", "push_rules_stream_sequence", ["push_rules_stream.stream_id"]],
  ["pushers", "pushers_sequence", ["pushers.id", "deleted_pushers.stream_id"]],
  ["to_device", "device_inbox_sequence", ["device_inbox.stream_id", "device_federation_outbox.stream_id"]],
  [
    "device_lists_stream",
    "device_lists_sequence",
    [
      "device_lists_stream.stream_id",
      "user_signature_stream.stream_id",
      "device_lists_outbound_pokes.stream_id",
      "device_lists_changes_in_room.stream_id",
      "device_lists_remote_pending.stream_id",
      "device_lists_changes_converted_stream_position.stream_id",
    ],
  ],
  ["thread_subscriptions", "thread_subscriptions_sequence", ["thread_subscriptions.stream_id"]],
  ["sticky_events", "sticky_events_sequence", ["sticky_events.stream_id"]],
  ["profile_updates", "profile_updates_sequence", ["profile_updates.stream_id"]],
  ["quarantined_media", "quarantined_media_id_seq", ["quarantined_media_changes.stream_id"]],
  ["un_partial_stated_room_stream", "un_partial_stated_room_stream_sequence", ["un_partial_stated_room_stream.stream_id"]],
  ["un_partial_stated_event_stream", "un_partial_stated_event_stream_sequence", ["un_partial_stated_event_stream.stream_id"]],
  [null, "cache_invalidation_stream_seq", ["cache_invalidation_stream_by_instance.stream_id"]],
  [null, "e2e_cross_signing_keys_sequence", ["e2e_cross_signing_keys.stream_id"]],
  [null, "state_group_id_seq", ["state_groups.id", "event_to_state_groups.state_group"]],
  [null, "event_auth_chain_id", ["event_auth_chains.chain_id"]],
  [null, "application_services_txn_id_seq", ["application_services_txns.txn_id"]],
];

/** Tables of one row; a second one, or none, stops a loop for ever. */
const SINGLE_ROWS = [
  "event_push_summary_stream_ordering",
  "event_push_summary_last_receipt_stream_id",
  "appservice_stream_position",
  "stats_incremental_position",
  "user_directory_stream_pos",
  "room_forgetter_stream_pos",
  "delayed_events_stream_pos",
  "device_lists_changes_converted_stream_position",
  "device_lists_changes_in_room_max_pruned_stream_id",
  "schema_version",
  "schema_compat_version",
];

/** Positions of work that follows a stream: never ahead of it. */
const FOLLOWERS: readonly [string, string][] = [
  ["event_push_summary_stream_ordering.stream_ordering", "events_stream_seq"],
  ["event_push_summary_last_receipt_stream_id.stream_id", "receipts_sequence"],
  ["appservice_stream_position.stream_ordering", "events_stream_seq"],
  ["stats_incremental_position.stream_id", "events_stream_seq"],
  ["user_directory_stream_pos.stream_id", "events_stream_seq"],
  ["room_forgetter_stream_pos.stream_id", "events_stream_seq"],
  ["delayed_events_stream_pos.stream_id", "events_stream_seq"],
  ["device_lists_changes_converted_stream_position.stream_id", "device_lists_sequence"],
];

function streamRules(): Rule[] {
  const rules: Rule[] = [];
  const last = (sequence: string): string => `(SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM ${sequence})`;
  for (const [stream, sequence, columns] of STREAMS) {
    for (const each of columns) {
      const negative = each.startsWith("-");
      const [table, column] = each.replace("-", "").split(".") as [string, string];
      rules.push({
        rule: `sequence ${sequence} is not behind ${each}`,
        sql: `SELECT * FROM (SELECT ${last(sequence)} AS sequence, (SELECT max(${negative ? "-" : ""}${column}) FROM ${table}) AS highest) AS s WHERE highest > sequence`,
      });
      if (stream !== null && !negative) {
        // ids above the position of every writer are not shown to anybody
        rules.push({
          rule: `stream_positions of ${stream} is not behind ${each}`,
          sql: `SELECT * FROM (SELECT (SELECT min(stream_id) FROM stream_positions WHERE stream_name = '${stream}') AS position, (SELECT max(${column}) FROM ${table}) AS highest) AS s WHERE highest > position AND highest > 1`,
        });
      }
    }
    if (stream !== null) {
      rules.push({
        rule: `stream_positions of ${stream} is not ahead of its sequence`,
        sql: `SELECT stream_name, instance_name, stream_id, ${last(sequence)} AS sequence FROM stream_positions WHERE stream_name = '${stream}' AND abs(stream_id) > ${last(sequence)}`,
      });
      rules.push({ rule: `sequence ${sequence} has been called`, sql: `SELECT last_value FROM ${sequence} WHERE NOT is_called` });
    }
  }
  rules.push({ rule: "stream_positions names only the main process", sql: "SELECT * FROM stream_positions WHERE instance_name <> 'master'" });
  for (const table of [
    "events",
    "receipts_linearized",
    "account_data",
    "room_account_data",
    "device_inbox",
    "device_lists_stream",
    "presence_stream",
    "push_rules_stream",
    "pushers",
    "current_state_delta_stream",
  ]) {
    rules.push({
      rule: `${table}.instance_name is the main process`,
      sql: `SELECT instance_name, count(*) FROM ${table} WHERE COALESCE(instance_name, 'master') <> 'master' GROUP BY 1`,
    });
  }
  for (const table of SINGLE_ROWS) rules.push({ rule: `${table} has one row`, sql: `SELECT count(*) FROM ${table} HAVING count(*) <> 1` });
  for (const [each, sequence] of FOLLOWERS) {
    const [table, column] = each.split(".") as [string, string];
    rules.push({ rule: `${each} is not ahead of its stream`, sql: `SELECT ${column} FROM ${table} WHERE ${column} > ${last(sequence)}` });
  }
  return rules;
}

/** True for a user of this server; also for those without an account, as the one that sends server notices. */
const LOCAL = (userId: string): string => `substr(${userId}, strpos(${userId}, ':') + 1) = (SELECT substr(name, strpos(name, ':') + 1) FROM users LIMIT 1)`;

const ROOM_RULES: Rule[] = [
  {
    rule: "each event has its JSON and its room",
    sql: "SELECT e.event_id FROM events e LEFT JOIN event_json j USING (event_id) LEFT JOIN rooms r ON r.room_id = e.room_id WHERE j.event_id IS NULL OR r.room_id IS NULL",
  },
  {
    rule: "format_version fits the room version",
    sql: `SELECT j.event_id, j.format_version, r.room_version FROM event_json j JOIN rooms r USING (room_id)
      WHERE j.format_version IS DISTINCT FROM CASE WHEN r.room_version IN ('1', '2') THEN 1 WHEN r.room_version = '3' THEN 2 WHEN r.room_version ~ '^([4-9]|10|11)$' THEN 3 ELSE 4 END`,
  },
  {
    rule: "a non-outlier has a state group, an outlier none",
    sql: "SELECT e.event_id, e.outlier, s.state_group FROM events e LEFT JOIN event_to_state_groups s USING (event_id) WHERE e.outlier = (s.event_id IS NOT NULL)",
  },
  {
    rule: "each room we are in has 1 to 10 forward extremities",
    sql: `SELECT r.room_id, count(x.event_id) FROM (SELECT DISTINCT room_id FROM current_state_events) r LEFT JOIN event_forward_extremities x USING (room_id) GROUP BY 1 HAVING count(x.event_id) NOT BETWEEN 1 AND 10`,
  },
  {
    rule: "a forward extremity is no event's prev event",
    sql: `SELECT x.event_id, d.event_id AS used_by FROM event_forward_extremities x JOIN event_edges d ON d.prev_event_id = x.event_id JOIN events e ON e.event_id = d.event_id JOIN event_json j ON j.event_id = d.event_id
      WHERE NOT e.outlier AND e.rejection_reason IS NULL AND j.internal_metadata NOT LIKE '%"soft_failed":true%'`,
  },
  {
    // The last event before a gap (the server had left, or was away) is followed by events that are missing.
    rule: "each unused event is a forward extremity",
    sql: `SELECT e.event_id FROM events e WHERE NOT e.outlier AND e.rejection_reason IS NULL AND NOT EXISTS (SELECT 1 FROM event_edges d WHERE d.prev_event_id = e.event_id) AND NOT EXISTS (SELECT 1 FROM event_forward_extremities x WHERE x.event_id = e.event_id)
      AND NOT EXISTS (SELECT 1 FROM event_backward_extremities b JOIN event_edges g ON g.prev_event_id = b.event_id JOIN events f ON f.event_id = g.event_id WHERE b.room_id = e.room_id AND f.depth > e.depth)`,
  },
  {
    rule: "rejections and events.rejection_reason agree",
    sql: "SELECT COALESCE(e.event_id, r.event_id) AS event_id, e.rejection_reason, r.reason FROM (SELECT * FROM events WHERE rejection_reason IS NOT NULL) e FULL JOIN rejections r USING (event_id) WHERE e.event_id IS NULL OR r.event_id IS NULL",
  },
  {
    rule: "current_state_events names the events of its rows",
    sql: `SELECT c.room_id, c.type, c.state_key FROM current_state_events c LEFT JOIN events e USING (event_id) LEFT JOIN room_memberships m USING (event_id)
      WHERE e.event_id IS NULL OR e.room_id <> c.room_id OR e.type <> c.type OR e.state_key IS DISTINCT FROM c.state_key OR c.event_stream_ordering IS DISTINCT FROM e.stream_ordering OR (c.type = 'm.room.member' AND c.membership IS DISTINCT FROM m.membership) OR (c.type <> 'm.room.member' AND c.membership IS NOT NULL)`,
  },
  {
    rule: "local_current_membership is the current state of local users",
    sql: `SELECT c.room_id, c.state_key, c.event_id AS current, l.event_id AS local FROM current_state_events c LEFT JOIN local_current_membership l ON l.room_id = c.room_id AND l.user_id = c.state_key
      WHERE c.type = 'm.room.member' AND ${LOCAL("c.state_key")} AND (l.event_id IS DISTINCT FROM c.event_id OR l.membership IS DISTINCT FROM c.membership OR l.event_stream_ordering IS DISTINCT FROM c.event_stream_ordering)`,
  },
  {
    rule: "room_memberships has each member event, with its ordering",
    sql: `SELECT e.event_id FROM events e LEFT JOIN room_memberships m USING (event_id) WHERE e.type = 'm.room.member' AND e.state_key IS NOT NULL AND e.rejection_reason IS NULL AND (m.event_id IS NULL OR m.user_id <> e.state_key OR m.event_stream_ordering IS DISTINCT FROM e.stream_ordering)`,
  },
  {
    rule: "state_events has each state event",
    sql: "SELECT e.event_id FROM events e LEFT JOIN state_events s USING (event_id) WHERE e.state_key IS NOT NULL AND s.event_id IS NULL AND e.rejection_reason IS NULL",
  },
  {
    rule: "stream_ordering_to_exterm knows the newest event of each room",
    sql: `SELECT e.room_id, max(e.stream_ordering) FROM events e WHERE NOT e.outlier AND e.stream_ordering > 0 GROUP BY 1 HAVING max(e.stream_ordering) > COALESCE((SELECT max(x.stream_ordering) FROM stream_ordering_to_exterm x WHERE x.room_id = e.room_id), 0)`,
  },
  {
    rule: "room_depth has each room",
    sql: "SELECT DISTINCT e.room_id FROM events e LEFT JOIN room_depth d USING (room_id) WHERE NOT e.outlier AND d.room_id IS NULL",
  },
  {
    rule: "redactions has each redaction",
    sql: "SELECT e.event_id FROM events e LEFT JOIN redactions r USING (event_id) WHERE e.type = 'm.room.redaction' AND e.state_key IS NULL AND e.rejection_reason IS NULL AND r.event_id IS NULL",
  },
  {
    rule: "event_search has messages, names and topics",
    sql: `SELECT e.event_id, e.type FROM events e LEFT JOIN event_search s USING (event_id) LEFT JOIN redactions r ON r.redacts = e.event_id
      WHERE s.event_id IS NULL AND r.event_id IS NULL AND e.rejection_reason IS NULL AND NOT e.outlier AND ((e.type = 'm.room.message' AND e.state_key IS NULL) OR (e.type IN ('m.room.name', 'm.room.topic') AND e.state_key = ''))`,
  },
  {
    rule: "a thread's newest event is its newest relation",
    sql: `SELECT t.room_id, t.thread_id, t.stream_ordering, max(e.stream_ordering) AS newest FROM threads t JOIN event_relations r ON r.relates_to_id = t.thread_id AND r.relation_type = 'm.thread' JOIN events e ON e.event_id = r.event_id GROUP BY 1, 2, 3 HAVING max(e.stream_ordering) <> t.stream_ordering`,
  },
  {
    rule: "event_txn_id_device_id points at events",
    sql: "SELECT t.event_id FROM event_txn_id_device_id t LEFT JOIN events e USING (event_id) WHERE e.event_id IS NULL",
  },
];

const STATE_GROUP_RULES: Rule[] = [
  {
    rule: "a state group has at most one previous group, lower, of the same room",
    sql: `SELECT g.state_group, g.prev_state_group FROM state_group_edges g LEFT JOIN state_groups a ON a.id = g.state_group LEFT JOIN state_groups b ON b.id = g.prev_state_group
      WHERE g.prev_state_group >= g.state_group OR a.id IS NULL OR b.id IS NULL OR a.room_id <> b.room_id OR (SELECT count(*) FROM state_group_edges o WHERE o.state_group = g.state_group) > 1`,
  },
  {
    rule: "chains of state groups have at most 100 hops",
    sql: `WITH RECURSIVE chain(id, hops) AS (SELECT id, 0 FROM state_groups WHERE NOT EXISTS (SELECT 1 FROM state_group_edges x WHERE x.state_group = id) UNION ALL SELECT x.state_group, chain.hops + 1 FROM chain JOIN state_group_edges x ON x.prev_state_group = chain.id) SELECT id, hops FROM chain WHERE hops > 100`,
  },
  {
    rule: "event_to_state_groups points at groups of the event's room",
    sql: "SELECT s.event_id, s.state_group FROM event_to_state_groups s JOIN events e USING (event_id) LEFT JOIN state_groups g ON g.id = s.state_group WHERE g.id IS NULL OR g.room_id <> e.room_id",
  },
  { rule: "state_groups_persisting is empty", sql: "SELECT * FROM state_groups_persisting" },
  {
    rule: "a group that awaits deletion is not used",
    sql: "SELECT d.state_group FROM state_groups_pending_deletion d JOIN event_to_state_groups s USING (state_group)",
  },
];

const WORK_RULES: Rule[] = [
  { rule: "no background update is left", sql: "SELECT update_name FROM background_updates" },
  { rule: "no lock is held", sql: "SELECT lock_name, lock_key FROM worker_locks UNION ALL SELECT lock_name, lock_key FROM worker_read_write_locks" },
  {
    rule: "no scheduled task runs, but for those that run for ever",
    sql: "SELECT id, action, status FROM scheduled_tasks WHERE status = 'active' AND action <> 'delete_old_otks'",
  },
  { rule: "event_push_actions_staging is empty", sql: "SELECT event_id, user_id FROM event_push_actions_staging" },
  { rule: "federation staging is empty", sql: "SELECT event_id FROM federation_inbound_events_staging" },
];

const DERIVED_RULES: Rule[] = [
  {
    rule: "push actions and summaries have a thread",
    sql: "SELECT event_id::text FROM event_push_actions WHERE thread_id IS NULL UNION ALL SELECT room_id FROM event_push_summary WHERE thread_id IS NULL",
  },
  {
    rule: "a push action is of the event's place in its stream",
    sql: "SELECT p.event_id, p.stream_ordering, e.stream_ordering AS real FROM event_push_actions p JOIN events e USING (event_id) WHERE p.stream_ordering <> e.stream_ordering OR p.topological_ordering <> e.topological_ordering",
  },
  {
    rule: "a push summary is not ahead of the rotation",
    sql: "SELECT user_id, room_id, stream_ordering FROM event_push_summary WHERE stream_ordering > (SELECT stream_ordering FROM event_push_summary_stream_ordering)",
  },
  {
    rule: "receipts are in both tables",
    sql: `SELECT COALESCE(l.room_id, g.room_id) AS room_id, COALESCE(l.user_id, g.user_id) AS user_id, COALESCE(l.receipt_type, g.receipt_type) AS receipt_type, l.event_id, g.event_ids FROM receipts_linearized l FULL JOIN receipts_graph g ON g.room_id = l.room_id AND g.user_id = l.user_id AND g.receipt_type = l.receipt_type AND g.thread_id IS NOT DISTINCT FROM l.thread_id
      WHERE l.room_id IS NULL OR g.room_id IS NULL OR g.event_ids <> json_build_array(l.event_id)::text`,
  },
  {
    rule: "receipts carry the place of their event",
    sql: "SELECT l.room_id, l.user_id, l.event_id, l.event_stream_ordering, e.stream_ordering FROM receipts_linearized l JOIN events e USING (event_id) WHERE l.event_stream_ordering IS DISTINCT FROM e.stream_ordering",
  },
  {
    rule: "sliding_sync_joined_rooms has the rooms somebody local is in",
    sql: `SELECT COALESCE(j.room_id, s.room_id) AS room_id FROM (SELECT DISTINCT room_id FROM current_state_events WHERE membership = 'join' AND ${LOCAL("state_key")}) j FULL JOIN sliding_sync_joined_rooms s USING (room_id) WHERE j.room_id IS NULL OR s.room_id IS NULL`,
  },
  {
    rule: "sliding_sync_joined_rooms has the newest event of each room",
    sql: `SELECT s.room_id, s.event_stream_ordering, max(e.stream_ordering) AS newest FROM sliding_sync_joined_rooms s JOIN events e USING (room_id) WHERE NOT e.outlier AND e.rejection_reason IS NULL GROUP BY 1, 2 HAVING max(e.stream_ordering) <> s.event_stream_ordering`,
  },
  {
    // History that was fetched (positions below 0) bumps nothing.
    rule: "sliding_sync_joined_rooms has the newest bump of each room",
    sql: `SELECT s.room_id, s.bump_stamp, max(e.stream_ordering) AS newest FROM sliding_sync_joined_rooms s LEFT JOIN events e ON e.room_id = s.room_id AND NOT e.outlier AND e.rejection_reason IS NULL AND e.type IN ('m.room.create', 'm.room.message', 'm.room.encrypted', 'm.sticker', 'm.call.invite', 'm.poll.start', 'm.beacon_info')
      GROUP BY 1, 2 HAVING max(e.stream_ordering) IS DISTINCT FROM s.bump_stamp AND GREATEST(max(e.stream_ordering), s.bump_stamp) > 0`,
  },
  {
    rule: "sliding_sync_joined_rooms has name, encryption and type of the room",
    sql: `SELECT s.room_id, s.room_name, s.is_encrypted, s.room_type FROM sliding_sync_joined_rooms s JOIN room_stats_state t USING (room_id) WHERE s.room_name IS DISTINCT FROM t.name OR s.is_encrypted <> (t.encryption IS NOT NULL) OR s.room_type IS DISTINCT FROM t.room_type`,
  },
  {
    rule: "sliding_sync_membership_snapshots follow local_current_membership",
    sql: `SELECT COALESCE(l.room_id, s.room_id) AS room_id, COALESCE(l.user_id, s.user_id) AS user_id, l.membership, s.membership AS snapshot FROM local_current_membership l FULL JOIN sliding_sync_membership_snapshots s ON s.room_id = l.room_id AND s.user_id = l.user_id LEFT JOIN events e ON e.event_id = s.membership_event_id LEFT JOIN room_memberships m ON m.event_id = s.membership_event_id
      WHERE s.membership_event_id IS DISTINCT FROM l.event_id OR s.membership IS DISTINCT FROM l.membership OR s.event_stream_ordering IS DISTINCT FROM e.stream_ordering OR s.sender IS DISTINCT FROM e.sender OR s.forgotten IS DISTINCT FROM m.forgotten`,
  },
  {
    rule: "room_stats_current counts the members",
    sql: `SELECT s.room_id, s.joined_members, s.invited_members, s.left_members, s.banned_members, s.knocked_members FROM room_stats_current s JOIN (SELECT DISTINCT room_id FROM current_state_events) known USING (room_id)
      CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE membership = 'join') AS j, count(*) FILTER (WHERE membership = 'invite') AS i, count(*) FILTER (WHERE membership = 'leave') AS l, count(*) FILTER (WHERE membership = 'ban') AS b, count(*) FILTER (WHERE membership = 'knock') AS k FROM current_state_events c WHERE c.room_id = s.room_id) AS real
      WHERE (SELECT stream_id FROM stats_incremental_position) >= (SELECT max(stream_id) FROM current_state_delta_stream) AND (s.joined_members, s.invited_members, s.left_members, s.banned_members, COALESCE(s.knocked_members, 0)) IS DISTINCT FROM (real.j, real.i, real.l, real.b, real.k)`,
  },
  { rule: "profiles have both names", sql: "SELECT user_id FROM profiles WHERE full_user_id IS NULL OR full_user_id NOT LIKE '@' || user_id || ':%'" },
  { rule: "tokens belong to users", sql: "SELECT a.id FROM access_tokens a LEFT JOIN users u ON u.name = a.user_id WHERE u.name IS NULL" },
  {
    rule: "devices belong to users, keys to devices",
    sql: "SELECT d.user_id, d.device_id FROM devices d LEFT JOIN users u ON u.name = d.user_id WHERE u.name IS NULL UNION ALL SELECT k.user_id, k.device_id FROM e2e_device_keys_json k LEFT JOIN devices d USING (user_id, device_id) WHERE d.user_id IS NULL",
  },
  {
    rule: "tables are Synapse's, but for ours in a schema of their own",
    sql: "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name LIKE 'myelin%'",
  },
];

/** Runs every check. Empty when all hold. */
export async function checkInvariants(postgres: PostgresServer, database: string): Promise<Violation[]> {
  const violations: Violation[] = [];
  for (const { rule, sql } of [...streamRules(), ...ROOM_RULES, ...STATE_GROUP_RULES, ...WORK_RULES, ...DERIVED_RULES]) {
    let rows: object[];
    try {
      rows = await postgres.query(database, sql);
    } catch (error) {
      rows = [{ error: String(error) }];
    }
    if (rows.length > 0) violations.push({ rule, rows });
  }
  violations.push(...(await eventInvariants(postgres, database)));
  return violations;
}

export function describeViolations(violations: readonly Violation[]): string {
  return violations
    .map(
      ({ rule, rows }) =>
        `- ${rule}: ${rows.length} rows break it\n${rows
          .slice(0, 3)
          .map((row) => `    ${JSON.stringify(row)}`)
          .join("\n")}`,
    )
    .join("\n");
}
