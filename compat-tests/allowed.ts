import type { Row, TableView } from "./harness/tables.ts";
import type { Difference } from "./snapshot.ts";

/**
 * Where Myelin may answer otherwise than Synapse on the same database. Each entry has its reason; README.md shows the list.
 * An entry names the read, the place in the answer, and what one of the two says there, as narrowly as it can.
 */
export const ALLOWED_ANSWERS: readonly { read: RegExp; at?: RegExp; either?: RegExp; reason: string }[] = [
  { read: /\/_matrix\/client\/versions$/, at: /^\.unstable_features/, reason: "Unstable features that only one of them has." },
  {
    read: /\/sync\?.*full_state=true/,
    at: /^\.device_lists\.changed/,
    reason: "Synapse takes newly joined members from whichever of two member events its full state happens to name.",
  },
  { read: /\/media\/thumbnail\//, at: /sha256|bytes/, reason: "Pictures are scaled by different libraries; size and kind agree." },
  {
    read: /\/media\/thumbnail\//,
    at: /^\.content-security-policy$/,
    either: /^undefined$/,
    reason: "Synapse sends the header with downloads only; here thumbnails have it, too.",
  },
  {
    read: /\/media\/(v3\/|v1\/media\/|)(download|thumbnail)\//,
    at: /^\.error$/,
    reason: "The words for media that is not there: Synapse's name the path of the request. Status and errcode agree.",
  },
  {
    read: /GET \/_matrix\/client\/v3\/profile\/@(frank|ghost):[^/]+$/,
    at: /^\.(errcode|error)$/,
    either: /M_UNKNOWN|No row found/,
    reason: "Where there is no profile, the specification says M_NOT_FOUND.",
  },
  {
    read: /GET \/_matrix\/client\/v3\/sync/,
    at: /^\.rooms\.knock\..*\.unsigned\.knock_room_state$/,
    reason: "Synapse says the state that came with a knock twice: beside the knock, where it belongs, and in it.",
  },
  {
    read: /\/initialSync\?/,
    at: /^\.receipts\[\d+\].*\.thread_id$/,
    either: /^undefined$/,
    reason: "Synapse does not say there which thread a receipt is for.",
  },
  { read: /\/admin\/v1\/rooms\/[^/]+\/hierarchy/, at: /^status$/, either: /^500 /, reason: "Synapse fails at a room that nobody is in any more." },
  { read: /GET \/_matrix\/consent\?.*&h=0+&/, at: /^\.(sha256|bytes)$/, reason: "The words of the page for a forged link; status and kind agree." },
  { read: /GET \/_matrix\/client\/v3\/nowhere/, at: /error$/, reason: "The words of an unknown path; the code agrees." },
];

export function allowedAnswer(difference: Difference): string | undefined {
  return ALLOWED_ANSWERS.find(
    ({ read, at, either }) =>
      read.test(difference.read) &&
      (at === undefined || at.test(difference.at)) &&
      (either === undefined || [difference.expected, difference.got].some((side) => either.test(String(side)))),
  )?.reason;
}

/** Tables that need not be equal after the same traffic. What they must satisfy all the same is checked by the invariants. */
export const ALLOWED_TABLES: ReadonlyMap<string, string> = new Map([
  ["state_groups", "Numbers and chaining are free; the state at each event is compared instead."],
  ["state_group_edges", "As state_groups."],
  ["state_groups_state", "As state_groups."],
  ["state_groups_persisting", "Work in progress."],
  ["state_groups_pending_deletion", "When unused groups are found is a matter of time."],
  ["event_auth_chains", "Chains may be cut in more than one way; the invariants check what they say."],
  ["event_auth_chain_links", "As event_auth_chains."],
  ["cache_invalidation_stream_by_instance", "Messages between processes of one server; each has its own caches."],
  ["user_ips", "Written behind requests, in batches by time."],
  ["user_daily_visits", "By the hour of the day."],
  ["presence_stream", "By the moments of requests."],
  ["sliding_sync_connection_positions", "Positions are the server's own; that connections go on is checked by the swap."],
  ["sliding_sync_connection_required_state", "As sliding_sync_connection_positions."],
  ["sliding_sync_connection_room_configs", "As sliding_sync_connection_positions."],
  ["sliding_sync_connection_streams", "As sliding_sync_connection_positions."],
  ["sliding_sync_connection_lazy_members", "As sliding_sync_connection_positions."],
  ["sliding_sync_connections", "As sliding_sync_connection_positions."],
  ["stream_positions", "How many ids a stream used up, also for nothing; the invariants check positions."],
  ["stats_incremental_position", "As stream_positions."],
  ["user_directory_stream_pos", "As stream_positions."],
  ["room_forgetter_stream_pos", "As stream_positions."],
  ["delayed_events_stream_pos", "As stream_positions."],
  ["event_push_summary_stream_ordering", "As stream_positions: how far the rotation had come."],
  ["event_push_summary_last_receipt_stream_id", "As stream_positions."],
  ["event_push_summary", "Moves from event_push_actions by time; counts are compared by the swap."],
  ["event_push_actions", "As event_push_summary."],
  ["appservice_stream_position", "As stream_positions."],
  ["device_lists_changes_converted_stream_position", "As stream_positions."],
  ["device_lists_changes_in_room_max_pruned_stream_id", "As stream_positions."],
  ["application_services_txns", "Transactions under way; the sink checks that events arrive once."],
  ["application_services_state", "As stream_positions."],
  ["worker_locks", "Locks of the moment."],
  ["worker_read_write_locks", "Locks of the moment."],
  ["worker_read_write_locks_mode", "Locks of the moment."],
  ["server_keys_json", "The server's own key with times and signature."],
  ["server_signature_keys", "As server_keys_json."],
  ["background_updates", "A new database of Synapse runs its updates; of Myelin it has none to run."],
]);

/** Columns that need not be equal: `table.column`, or `*.column` for all tables. */
export const ALLOWED_COLUMNS: ReadonlyMap<string, string> = new Map([
  ["*.state_group", "Numbers of state groups are free; the state at each event is compared instead."],
  ["local_media_repository_thumbnails.thumbnail_length", "Pictures are compressed by different libraries."],
  ["devices.last_seen", "Written behind requests, in batches by time."],
  ["devices.ip", "As last_seen."],
  ["devices.user_agent", "As last_seen."],
  ["room_stats_current.completed_delta_stream_id", "How many changes were counted in one go."],
  ["user_stats_current.completed_delta_stream_id", "As room_stats_current."],
  ["device_lists_changes_in_room.converted_to_destinations", "Whether a change was told before the next one of the same device is a matter of time."],
  ["scheduled_tasks.id", "Random."],
  ["scheduled_tasks.result", "The room that was handled last, in no order."],
  ["ui_auth_sessions.session_id", "Random."],
  ["ui_auth_sessions_credentials.session_id", "Random."],
  ["ui_auth_sessions_ips.session_id", "Random."],
]);

const without = (row: Row, ...columns: string[]): Row => Object.fromEntries(Object.entries(row).filter(([column]) => !columns.includes(column)));

const only = (row: Row, ...columns: string[]): Row => Object.fromEntries(columns.map((column) => [column, row[column]]));

/** The first of the rows that are alike in these columns, as they stand. */
const distinct = (rows: readonly Row[], ...columns: string[]): Row[] => [
  ...new Map([...rows].reverse().map((row) => [JSON.stringify(columns.map((column) => row[column])), row])).values(),
];

/** Tables of which less than all can be compared: what must agree. */
export const TABLE_VIEWS: ReadonlyMap<string, TableView> = new Map([
  [
    "current_state_delta_stream",
    {
      reason: "A change has the first position of the batch that it was stored in; which events are one batch is a matter of time.",
      rows: (rows) => rows.map((row) => without(row, "stream_id")),
      key: ["room_id", "type", "state_key", "event_id"],
    },
  ],
  [
    "stream_ordering_to_exterm",
    {
      reason: "Synapse stores the first two events of a new room by themselves, and so the extremities between them.",
      rows: (rows, all) => {
        const first = new Map<string, number[]>();
        for (const { room_id: room, stream_ordering: at } of all("events"))
          first.set(room, [...(first.get(room) ?? []), Number(at)].sort((a, b) => a - b).slice(0, 2));
        return rows.filter((row) => !first.get(row["room_id"])?.includes(Number(row["stream_ordering"])));
      },
    },
  ],
  [
    "sliding_sync_membership_snapshots",
    {
      reason: "What a joined room was like at the join is not looked at, and follows from which events of a new room are one batch.",
      rows: (rows) => rows.map((row) => (row["membership"] === "join" ? without(row, "room_name", "is_encrypted", "room_type", "has_known_state") : row)),
    },
  ],
  [
    "push_rules_stream",
    {
      reason: "Readers ask only whether there is a change after a position: older rows of a user go.",
      rows: (rows) =>
        distinct(
          [...rows].sort((a, b) => Number(b["stream_id"]) - Number(a["stream_id"])),
          "user_id",
        ).map((row) => without(row, "stream_id")),
      key: ["user_id"],
    },
  ],
  [
    "e2e_one_time_keys_json",
    {
      reason: "Of keys that came together Synapse hands out any one: how many are left must agree.",
      rows: (rows) => rows.map((row) => only(row, "user_id", "device_id", "algorithm")),
    },
  ],
  [
    "quarantined_media_changes",
    {
      reason: "Synapse's background update of a new database notes again what was put into quarantine before it ran.",
      rows: (rows) => distinct(rows, "origin", "media_id", "quarantined").map((row) => without(row, "stream_id")),
    },
  ],
  [
    "users_who_share_private_rooms",
    {
      reason: "Synapse's background update of a new database races with the rooms that are made meanwhile, and misses some.",
      rows: (rows) => distinct(rows, "user_id", "other_user_id").map((row) => without(row, "room_id")),
    },
  ],
  [
    "deleted_pushers",
    {
      reason: "With an e-mail address Synapse notes the removal of its mail pusher, whether there was one or not.",
      rows: (rows) => rows.filter((row) => row["app_id"] !== "m.email"),
    },
  ],
  ...["user_directory", "user_directory_search"].map((table): [string, TableView] => [
    table,
    {
      reason: "Guests: the background update of a new database puts those in that came before it ran, registration does not.",
      rows: (rows) => rows.filter((row) => !/^@\d+:/.test(row["user_id"])),
    },
  ]),
]);

/** Where Myelin may answer an admin otherwise than Synapse on the same database, by the line of `compareAnswers`. */
export const ALLOWED_ADMIN_ANSWERS: readonly { line: RegExp; reason: string }[] = [
  { line: / at \.error: .*validation error for/, reason: "The words of the validation library; status and code agree." },
  {
    line: /\/v1\/deactivate\/@made:\S+ .*status 404 .*account_validity|\/v2\/users\/@made:\S+ at \.deactivated: "false"; got "true"/,
    reason: "Where accounts expire, Synapse fails to close one a second time.",
  },
  { line: /quarantine_changes\?from=1000000000 at \.error/, reason: "Synapse's words are about its workers." },
];

/** Tables of which one of them may have other numbers of rows after the same requests of an admin. */
export const ALLOWED_ADMIN_TABLES: ReadonlyMap<string, string> = new Map([
  ...ALLOWED_TABLES,
  ["users_pending_deactivation", "Where accounts expire, Synapse fails to close one a second time."],
  ["current_state_delta_stream", "With two extremities Synapse notes one change more or less, from run to run."],
  ["deleted_pushers", "Synapse notes the removal of a mail pusher that never was, too."],
  ["event_edges", "Redactions of all that a user wrote come after the newest event where they may, not beside it: fewer extremities."],
  ["stream_ordering_to_exterm", "As event_edges."],
]);

export function allowedAdminAnswer(line: string): string | undefined {
  return ALLOWED_ADMIN_ANSWERS.find((allowed) => allowed.line.test(line))?.reason;
}
