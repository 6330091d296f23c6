import { expectedCatalogue } from "../src/storage/schema/catalogue-file.ts";
import type { Target } from "./context.ts";

/** Background updates that Synapse 1.160 can run. */
export function updatesOfSynapse(): ReadonlySet<string> {
  return new Set(expectedCatalogue().known_background_update_handlers.map(({ name }) => name));
}

/**
 * Of those, the ones that Myelin does not run: they belong to schemas that it does not take any more. A test compares with its registry
 * of updates.
 */
const NOT_IN_MYELIN: ReadonlySet<string> = new Set(
  `add_room_type_column add_rooms_room_version_column current_state_events_membership delete_old_current_state_events delete_soft_failed_extremities
   devices_last_seen event_arbitrary_relations event_auth_state_only event_edges_drop_invalid_rows event_fields_sender_url event_fix_redactions_bytes
   event_fix_redactions_bytes_create_index event_origin_server_ts event_search_order event_search_postgres_gin event_search_sqlite_delete_non_strings
   event_store_labels events_populate_state_key_rejections index_stream_ordering2_contains_url index_stream_ordering2_room_order
   index_stream_ordering2_room_stream index_stream_ordering2_ts insert_room_retention populate_room_depth_min_depth2 populate_rooms_creator_column
   populate_stream_ordering2 redactions_received_ts rejected_events_metadata remove_tombstoned_rooms_from_directory replace_room_depth_min_depth
   replace_stream_ordering_column room_membership_profile_update state_group_state_deduplication state_group_state_type_index user_ips_remove_dupes
   users_set_deactivated_flag`.split(/\s+/),
);

export function knowsUpdate(target: Target, name: string): boolean {
  return updatesOfSynapse().has(name) && (target === "synapse" || !NOT_IN_MYELIN.has(name));
}

/** Actions of scheduled tasks: Synapse 1.160 and Myelin run the same ones; a test compares. */
export const TASK_ACTIONS: ReadonlySet<string> = new Set([
  "redact_all_events",
  "purge_history",
  "purge_room",
  "shutdown_and_purge_room",
  "delete_device_messages",
  "delete_old_otks",
  "update_join_states",
]);
