import type { Difference } from "./snapshot.ts";

/**
 * Where Myelin may answer otherwise than Synapse on the same database. Each entry has its reason; README.md shows the list.
 * An entry names the read and the place in the answer as narrowly as it can.
 */
export const ALLOWED_ANSWERS: readonly { read: RegExp; at?: RegExp; reason: string }[] = [
  { read: /\/_matrix\/client\/versions$/, at: /^\.unstable_features/, reason: "Unstable features that only one of them has." },
  {
    read: /\/sync\?.*full_state=true/,
    at: /^\.device_lists\.changed/,
    reason: "Synapse takes newly joined members from whichever of two member events its full state happens to name.",
  },
  { read: /\/media\/thumbnail\//, at: /sha256|bytes/, reason: "Pictures are scaled by different libraries; size and kind agree." },
  { read: /GET \/_matrix\/client\/v3\/nowhere/, at: /error$/, reason: "The words of an unknown path; the code agrees." },
];

export function allowedAnswer(difference: Difference): string | undefined {
  return ALLOWED_ANSWERS.find(({ read, at }) => read.test(difference.read) && (at === undefined || at.test(difference.at)))?.reason;
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
  ["users_who_share_private_rooms.room_id", "One of the rooms that two people share, whichever was seen first."],
  ["scheduled_tasks.id", "Random."],
  ["scheduled_tasks.result", "The room that was handled last, in no order."],
  ["ui_auth_sessions.session_id", "Random."],
  ["ui_auth_sessions_credentials.session_id", "Random."],
  ["ui_auth_sessions_ips.session_id", "Random."],
]);

/** Where Myelin may answer an admin otherwise than Synapse on the same database, by the line of `compareAnswers`. */
export const ALLOWED_ADMIN_ANSWERS: readonly { line: RegExp; reason: string }[] = [
  { line: / at \.error: .*validation error for/, reason: "The words of the validation library; status and code agree." },
  { line: /quarantine_changes\?from=1000000000 at \.error/, reason: "Synapse's words are about its workers." },
];

/** Tables of which one of them may have other numbers of rows after the same requests of an admin. */
export const ALLOWED_ADMIN_TABLES: ReadonlyMap<string, string> = new Map([
  ...ALLOWED_TABLES,
  ["current_state_delta_stream", "With two extremities Synapse notes one change more or less, from run to run."],
  ["deleted_pushers", "Synapse notes the removal of a mail pusher that never was, too."],
  ["event_edges", "Redactions of all that a user wrote come after the newest event where they may, not beside it: fewer extremities."],
  ["stream_ordering_to_exterm", "As event_edges."],
]);

export function allowedAdminAnswer(line: string): string | undefined {
  return ALLOWED_ADMIN_ANSWERS.find((allowed) => allowed.line.test(line))?.reason;
}
