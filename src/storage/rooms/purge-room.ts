import { execute, query, type Txn } from "../database.ts";

/**
 * Deleting a room from all tables, in an order that the foreign keys bear. The rows of streams that others still follow stay
 * (`current_state_delta_stream`, `device_lists_changes_in_room`), and so do reports and blocks, as in Synapse.
 */

/** Tables without an index by room: by the room's events. */
const BY_EVENT = [
  "event_auth",
  "event_edges",
  "event_json",
  "event_push_actions_staging",
  "event_relations",
  "event_to_state_groups",
  "event_auth_chains",
  "event_auth_chain_to_calculate",
  "event_expiry",
  "redactions",
  "rejections",
  "state_events",
] as const;

/** `events` after whatever refers to events, `rooms` after whatever refers to rooms. */
const BY_ROOM = [
  "current_state_events",
  "destination_rooms",
  "event_backward_extremities",
  "event_forward_extremities",
  "event_push_actions",
  "event_search",
  "event_labels",
  "event_failed_pull_attempts",
  "partial_state_events",
  "partial_state_rooms_servers",
  "partial_state_rooms",
  "local_current_membership",
  "room_memberships",
  "sliding_sync_joined_rooms",
  "sliding_sync_joined_rooms_to_recalculate",
  "sliding_sync_membership_snapshots",
  "msc4242_state_dag_forward_extremities",
  "msc4242_state_dag_edges",
  "sticky_events",
  "timeline_gaps",
  "threads",
  "events",
  "federation_inbound_events_staging",
  "receipts_graph",
  "receipts_linearized",
  "room_aliases",
  "room_ban_redactions",
  "room_depth",
  "room_retention",
  "room_stats_state",
  "room_stats_current",
  "room_stats_earliest_token",
  "stream_ordering_to_exterm",
  "users_in_public_rooms",
  "users_who_share_private_rooms",
  "appservice_room_list",
  "e2e_room_keys",
  "event_push_summary",
  "pusher_throttle",
  "room_account_data",
  "room_tags",
  "rooms",
] as const;

/** Deletes what there is of a room but its state groups. May be repeated. */
export async function deleteRoomRows(txn: Txn, roomId: string): Promise<void> {
  await execute(txn, "SET LOCAL statement_timeout TO 0");
  // Whoever stores events of the room waits here, and then finds it gone.
  await query(txn, "SELECT room_version FROM rooms WHERE room_id = $1 FOR UPDATE", [roomId]);
  await execute(
    txn,
    `DELETE FROM event_auth_chain_links AS link USING events AS e JOIN event_auth_chains AS place ON place.event_id = e.event_id
      WHERE e.room_id = $1 AND link.origin_chain_id = place.chain_id AND link.origin_sequence_number = place.sequence_number`,
    [roomId],
  );
  for (const table of BY_EVENT) await execute(txn, `DELETE FROM ${table} AS t USING events AS e WHERE e.room_id = $1 AND t.event_id = e.event_id`, [roomId]);
  await execute(txn, "DELETE FROM room_alias_servers AS s USING room_aliases AS a WHERE a.room_id = $1 AND s.room_alias = a.room_alias", [roomId]);
  for (const table of BY_ROOM) await execute(txn, `DELETE FROM ${table} WHERE room_id = $1`, [roomId]);
}
