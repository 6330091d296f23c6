// Written by schema/generate.ts from schema/catalogue.json: do not edit.
import type { JsonObject } from "../lib/json.ts";

/** A row of `access_tokens`. */
export interface AccessTokensRow {
  id: number;
  user_id: string;
  device_id: string | null;
  token: string;
  valid_until_ms: number | null;
  puppets_user_id: string | null;
  last_validated: number | null;
  refresh_token_id: number | null;
  used: boolean | null;
}

/** A row of `account_data`. */
export interface AccountDataRow {
  user_id: string;
  account_data_type: string;
  stream_id: number;
  content: string;
  instance_name: string | null;
}

/** A row of `account_validity`. */
export interface AccountValidityRow {
  user_id: string;
  expiration_ts_ms: number;
  email_sent: boolean;
  renewal_token: string | null;
  token_used_ts_ms: number | null;
}

/** A row of `application_services_state`. */
export interface ApplicationServicesStateRow {
  as_id: string;
  state: string | null;
  read_receipt_stream_id: number | null;
  presence_stream_id: number | null;
  to_device_stream_id: number | null;
  device_list_stream_id: number | null;
}

/** A row of `application_services_txns`. */
export interface ApplicationServicesTxnsRow {
  as_id: string;
  txn_id: number;
  event_ids: string;
}

/** A row of `applied_module_schemas`. */
export interface AppliedModuleSchemasRow {
  module_name: string;
  file: string;
}

/** A row of `applied_schema_deltas`. */
export interface AppliedSchemaDeltasRow {
  version: number;
  file: string;
}

/** A row of `appservice_room_list`. */
export interface AppserviceRoomListRow {
  appservice_id: string;
  network_id: string;
  room_id: string;
}

/** A row of `appservice_stream_position`. */
export interface AppserviceStreamPositionRow {
  lock: string;
  stream_ordering: number | null;
}

/** A row of `background_updates`. */
export interface BackgroundUpdatesRow {
  update_name: string;
  progress_json: string;
  depends_on: string | null;
  ordering: number;
}

/** A row of `blocked_rooms`. */
export interface BlockedRoomsRow {
  room_id: string;
  user_id: string;
}

/** A row of `cache_invalidation_stream_by_instance`. */
export interface CacheInvalidationStreamByInstanceRow {
  stream_id: number;
  instance_name: string;
  cache_func: string;
  keys: string[] | null;
  invalidation_ts: number | null;
}

/** A row of `current_state_delta_stream`. */
export interface CurrentStateDeltaStreamRow {
  stream_id: number;
  room_id: string;
  type: string;
  state_key: string;
  event_id: string | null;
  prev_event_id: string | null;
  instance_name: string | null;
}

/** A row of `current_state_events`. */
export interface CurrentStateEventsRow {
  event_id: string;
  room_id: string;
  type: string;
  state_key: string;
  membership: string | null;
  event_stream_ordering: number | null;
}

/** A row of `dehydrated_devices`. */
export interface DehydratedDevicesRow {
  user_id: string;
  device_id: string;
  device_data: string;
}

/** A row of `delayed_events`. */
export interface DelayedEventsRow {
  delay_id: string;
  user_localpart: string;
  device_id: string | null;
  delay: number;
  send_ts: number;
  room_id: string;
  event_type: string;
  state_key: string | null;
  origin_server_ts: number | null;
  content: string;
  is_processed: boolean;
  sticky_duration_ms: number | null;
}

/** A row of `delayed_events_stream_pos`. */
export interface DelayedEventsStreamPosRow {
  lock: string;
  stream_id: number;
}

/** A row of `deleted_pushers`. */
export interface DeletedPushersRow {
  stream_id: number;
  app_id: string;
  pushkey: string;
  user_id: string;
  instance_name: string | null;
}

/** A row of `destination_rooms`. */
export interface DestinationRoomsRow {
  destination: string;
  room_id: string;
  stream_ordering: number;
}

/** A row of `destinations`. */
export interface DestinationsRow {
  destination: string;
  retry_last_ts: number | null;
  retry_interval: number | null;
  failure_ts: number | null;
  last_successful_stream_ordering: number | null;
}

/** A row of `device_auth_providers`. */
export interface DeviceAuthProvidersRow {
  user_id: string;
  device_id: string;
  auth_provider_id: string;
  auth_provider_session_id: string;
}

/** A row of `device_federation_inbox`. */
export interface DeviceFederationInboxRow {
  origin: string;
  message_id: string;
  received_ts: number;
  instance_name: string | null;
}

/** A row of `device_federation_outbox`. */
export interface DeviceFederationOutboxRow {
  destination: string;
  stream_id: number;
  queued_ts: number;
  messages_json: string;
  instance_name: string | null;
}

/** A row of `device_inbox`. */
export interface DeviceInboxRow {
  user_id: string;
  device_id: string;
  stream_id: number;
  message_json: string;
  instance_name: string | null;
}

/** A row of `device_lists_changes_converted_stream_position`. */
export interface DeviceListsChangesConvertedStreamPositionRow {
  lock: string;
  stream_id: number;
  room_id: string;
  instance_name: string | null;
}

/** A row of `device_lists_changes_in_room`. */
export interface DeviceListsChangesInRoomRow {
  user_id: string;
  device_id: string;
  room_id: string;
  stream_id: number;
  converted_to_destinations: boolean;
  opentracing_context: string | null;
  instance_name: string | null;
  inserted_ts: number | null;
}

/** A row of `device_lists_changes_in_room_max_pruned_stream_id`. */
export interface DeviceListsChangesInRoomMaxPrunedStreamIdRow {
  lock: string;
  stream_id: number;
}

/** A row of `device_lists_outbound_last_success`. */
export interface DeviceListsOutboundLastSuccessRow {
  destination: string;
  user_id: string;
  stream_id: number;
}

/** A row of `device_lists_outbound_pokes`. */
export interface DeviceListsOutboundPokesRow {
  destination: string;
  stream_id: number;
  user_id: string;
  device_id: string;
  sent: boolean;
  ts: number;
  opentracing_context: string | null;
  instance_name: string | null;
}

/** A row of `device_lists_remote_cache`. */
export interface DeviceListsRemoteCacheRow {
  user_id: string;
  device_id: string;
  content: string;
}

/** A row of `device_lists_remote_extremeties`. */
export interface DeviceListsRemoteExtremetiesRow {
  user_id: string;
  stream_id: string;
}

/** A row of `device_lists_remote_pending`. */
export interface DeviceListsRemotePendingRow {
  stream_id: number;
  user_id: string;
  device_id: string;
  instance_name: string | null;
}

/** A row of `device_lists_remote_resync`. */
export interface DeviceListsRemoteResyncRow {
  user_id: string;
  added_ts: number;
}

/** A row of `device_lists_stream`. */
export interface DeviceListsStreamRow {
  stream_id: number;
  user_id: string;
  device_id: string;
  instance_name: string | null;
}

/** A row of `devices`. */
export interface DevicesRow {
  user_id: string;
  device_id: string;
  display_name: string | null;
  last_seen: number | null;
  ip: string | null;
  user_agent: string | null;
  hidden: boolean | null;
}

/** A row of `e2e_cross_signing_keys`. */
export interface E2eCrossSigningKeysRow {
  user_id: string;
  keytype: string;
  keydata: string;
  stream_id: number;
  updatable_without_uia_before_ms: number | null;
  instance_name: string | null;
}

/** A row of `e2e_cross_signing_signatures`. */
export interface E2eCrossSigningSignaturesRow {
  user_id: string;
  key_id: string;
  target_user_id: string;
  target_device_id: string;
  signature: string;
}

/** A row of `e2e_device_keys_json`. */
export interface E2eDeviceKeysJsonRow {
  user_id: string;
  device_id: string;
  ts_added_ms: number;
  key_json: string;
}

/** A row of `e2e_fallback_keys_json`. */
export interface E2eFallbackKeysJsonRow {
  user_id: string;
  device_id: string;
  algorithm: string;
  key_id: string;
  key_json: string;
  used: boolean;
}

/** A row of `e2e_one_time_keys_json`. */
export interface E2eOneTimeKeysJsonRow {
  user_id: string;
  device_id: string;
  algorithm: string;
  key_id: string;
  ts_added_ms: number;
  key_json: string;
}

/** A row of `e2e_room_keys`. */
export interface E2eRoomKeysRow {
  user_id: string;
  room_id: string;
  session_id: string;
  version: number;
  first_message_index: number | null;
  forwarded_count: number | null;
  is_verified: boolean | null;
  session_data: string;
}

/** A row of `e2e_room_keys_versions`. */
export interface E2eRoomKeysVersionsRow {
  user_id: string;
  version: number;
  algorithm: string;
  auth_data: string;
  deleted: number;
  etag: number | null;
}

/** A row of `erased_users`. */
export interface ErasedUsersRow {
  user_id: string;
}

/** A row of `event_auth`. */
export interface EventAuthRow {
  event_id: string;
  auth_id: string;
  room_id: string;
}

/** A row of `event_auth_chain_links`. */
export interface EventAuthChainLinksRow {
  origin_chain_id: number;
  origin_sequence_number: number;
  target_chain_id: number;
  target_sequence_number: number;
}

/** A row of `event_auth_chain_to_calculate`. */
export interface EventAuthChainToCalculateRow {
  event_id: string;
  room_id: string;
  type: string;
  state_key: string;
}

/** A row of `event_auth_chains`. */
export interface EventAuthChainsRow {
  event_id: string;
  chain_id: number;
  sequence_number: number;
}

/** A row of `event_backward_extremities`. */
export interface EventBackwardExtremitiesRow {
  event_id: string;
  room_id: string;
}

/** A row of `event_edges`. */
export interface EventEdgesRow {
  event_id: string;
  prev_event_id: string;
  room_id: string | null;
  is_state: boolean;
}

/** A row of `event_expiry`. */
export interface EventExpiryRow {
  event_id: string;
  expiry_ts: number;
}

/** A row of `event_failed_pull_attempts`. */
export interface EventFailedPullAttemptsRow {
  room_id: string;
  event_id: string;
  num_attempts: number;
  last_attempt_ts: number;
  last_cause: string;
}

/** A row of `event_forward_extremities`. */
export interface EventForwardExtremitiesRow {
  event_id: string;
  room_id: string;
}

/** A row of `event_json`. */
export interface EventJsonRow {
  event_id: string;
  room_id: string;
  internal_metadata: string;
  json: string;
  format_version: number | null;
}

/** A row of `event_labels`. */
export interface EventLabelsRow {
  event_id: string;
  label: string;
  room_id: string;
  topological_ordering: number | bigint;
}

/** A row of `event_push_actions`. */
export interface EventPushActionsRow {
  room_id: string;
  event_id: string;
  user_id: string;
  profile_tag: string | null;
  actions: string;
  topological_ordering: number | bigint | null;
  stream_ordering: number | null;
  notif: number | null;
  highlight: number | null;
  unread: number | null;
  thread_id: string | null;
}

/** A row of `event_push_actions_staging`. */
export interface EventPushActionsStagingRow {
  event_id: string;
  user_id: string;
  actions: string;
  notif: number;
  highlight: number;
  unread: number | null;
  thread_id: string | null;
  inserted_ts: number | null;
}

/** A row of `event_push_summary`. */
export interface EventPushSummaryRow {
  user_id: string;
  room_id: string;
  notif_count: number;
  stream_ordering: number;
  unread_count: number | null;
  last_receipt_stream_ordering: number | null;
  thread_id: string | null;
}

/** A row of `event_push_summary_last_receipt_stream_id`. */
export interface EventPushSummaryLastReceiptStreamIdRow {
  lock: string;
  stream_id: number;
}

/** A row of `event_push_summary_stream_ordering`. */
export interface EventPushSummaryStreamOrderingRow {
  lock: string;
  stream_ordering: number;
}

/** A row of `event_relations`. */
export interface EventRelationsRow {
  event_id: string;
  relates_to_id: string;
  relation_type: string;
  aggregation_key: string | null;
}

/** A row of `event_reports`. */
export interface EventReportsRow {
  id: number;
  received_ts: number;
  room_id: string;
  event_id: string;
  user_id: string;
  reason: string | null;
  content: string | null;
}

/** A row of `event_search`. */
export interface EventSearchRow {
  event_id: string | null;
  room_id: string | null;
  sender: string | null;
  key: string | null;
  vector: string | null;
  origin_server_ts: number | null;
  stream_ordering: number | null;
}

/** A row of `event_to_state_groups`. */
export interface EventToStateGroupsRow {
  event_id: string;
  state_group: number;
}

/** A row of `event_txn_id_device_id`. */
export interface EventTxnIdDeviceIdRow {
  event_id: string;
  room_id: string;
  user_id: string;
  device_id: string;
  txn_id: string;
  inserted_ts: number;
}

/** A row of `events`. */
export interface EventsRow {
  topological_ordering: number | bigint;
  event_id: string;
  type: string;
  room_id: string;
  content: string | null;
  unrecognized_keys: string | null;
  processed: boolean;
  outlier: boolean;
  depth: number | bigint;
  origin_server_ts: number | null;
  received_ts: number | null;
  sender: string | null;
  contains_url: boolean | null;
  instance_name: string | null;
  stream_ordering: number | null;
  state_key: string | null;
  rejection_reason: string | null;
}

/** A row of `ex_outlier_stream`. */
export interface ExOutlierStreamRow {
  event_stream_ordering: number;
  event_id: string;
  state_group: number;
  instance_name: string | null;
}

/** A row of `federation_inbound_events_staging`. */
export interface FederationInboundEventsStagingRow {
  origin: string;
  room_id: string;
  event_id: string;
  received_ts: number;
  event_json: string;
  internal_metadata: string;
}

/** A row of `federation_stream_position`. */
export interface FederationStreamPositionRow {
  type: string;
  stream_id: number;
  instance_name: string;
}

/** A row of `ignored_users`. */
export interface IgnoredUsersRow {
  ignorer_user_id: string;
  ignored_user_id: string;
}

/** A row of `instance_map`. */
export interface InstanceMapRow {
  instance_id: number;
  instance_name: string;
}

/** A row of `local_current_membership`. */
export interface LocalCurrentMembershipRow {
  room_id: string;
  user_id: string;
  event_id: string;
  membership: string;
  event_stream_ordering: number | null;
}

/** A row of `local_media_repository`. */
export interface LocalMediaRepositoryRow {
  media_id: string | null;
  media_type: string | null;
  media_length: number | null;
  created_ts: number | null;
  upload_name: string | null;
  user_id: string | null;
  quarantined_by: string | null;
  url_cache: string | null;
  last_access_ts: number | null;
  safe_from_quarantine: boolean;
  authenticated: boolean;
  sha256: string | null;
}

/** A row of `local_media_repository_thumbnails`. */
export interface LocalMediaRepositoryThumbnailsRow {
  media_id: string | null;
  thumbnail_width: number | null;
  thumbnail_height: number | null;
  thumbnail_type: string | null;
  thumbnail_method: string | null;
  thumbnail_length: number | null;
}

/** A row of `local_media_repository_url_cache`. */
export interface LocalMediaRepositoryUrlCacheRow {
  url: string | null;
  response_code: number | null;
  etag: string | null;
  expires_ts: number | null;
  og: string | null;
  media_id: string | null;
  download_ts: number | null;
}

/** A row of `login_tokens`. */
export interface LoginTokensRow {
  token: string;
  user_id: string;
  expiry_ts: number;
  used_ts: number | null;
  auth_provider_id: string | null;
  auth_provider_session_id: string | null;
}

/** A row of `monthly_active_users`. */
export interface MonthlyActiveUsersRow {
  user_id: string;
  timestamp: number;
}

/** A row of `msc4242_state_dag_edges`. */
export interface Msc4242StateDagEdgesRow {
  room_id: string;
  event_id: string;
  prev_state_event_id: string | null;
}

/** A row of `msc4242_state_dag_forward_extremities`. */
export interface Msc4242StateDagForwardExtremitiesRow {
  room_id: string;
  event_id: string;
}

/** A row of `open_id_tokens`. */
export interface OpenIdTokensRow {
  token: string;
  ts_valid_until_ms: number;
  user_id: string;
}

/** A row of `partial_state_events`. */
export interface PartialStateEventsRow {
  room_id: string;
  event_id: string;
}

/** A row of `partial_state_rooms`. */
export interface PartialStateRoomsRow {
  room_id: string;
  device_lists_stream_id: number;
  join_event_id: string | null;
  joined_via: string | null;
}

/** A row of `partial_state_rooms_servers`. */
export interface PartialStateRoomsServersRow {
  room_id: string;
  server_name: string;
}

/** A row of `per_user_experimental_features`. */
export interface PerUserExperimentalFeaturesRow {
  user_id: string;
  feature: string;
  enabled: boolean | null;
}

/** A row of `presence_stream`. */
export interface PresenceStreamRow {
  stream_id: number | null;
  user_id: string | null;
  state: string | null;
  last_active_ts: number | null;
  last_federation_update_ts: number | null;
  last_user_sync_ts: number | null;
  status_msg: string | null;
  currently_active: boolean | null;
  instance_name: string | null;
}

/** A row of `profile_updates`. */
export interface ProfileUpdatesRow {
  stream_id: number;
  instance_name: string;
  user_id: string;
  action: string;
  affected_fields: JsonObject | null;
  inserted_ts: number;
}

/** A row of `profile_updates_per_user`. */
export interface ProfileUpdatesPerUserRow {
  stream_id: number;
  user_id: string;
  inserted_ts: number;
}

/** A row of `profiles`. */
export interface ProfilesRow {
  user_id: string;
  displayname: string | null;
  avatar_url: string | null;
  full_user_id: string | null;
  fields: JsonObject | null;
}

/** A row of `push_rules`. */
export interface PushRulesRow {
  id: number;
  user_name: string;
  rule_id: string;
  priority_class: number;
  priority: number;
  conditions: string;
  actions: string;
}

/** A row of `push_rules_enable`. */
export interface PushRulesEnableRow {
  id: number;
  user_name: string;
  rule_id: string;
  enabled: number | null;
}

/** A row of `push_rules_stream`. */
export interface PushRulesStreamRow {
  stream_id: number;
  event_stream_ordering: number;
  user_id: string;
  rule_id: string;
  op: string;
  priority_class: number | null;
  priority: number | null;
  conditions: string | null;
  actions: string | null;
  instance_name: string | null;
}

/** A row of `pusher_throttle`. */
export interface PusherThrottleRow {
  pusher: number;
  room_id: string;
  last_sent_ts: number | null;
  throttle_ms: number | null;
}

/** A row of `pushers`. */
export interface PushersRow {
  id: number;
  user_name: string;
  access_token: number | null;
  profile_tag: string;
  kind: string;
  app_id: string;
  app_display_name: string;
  device_display_name: string;
  pushkey: string;
  ts: number;
  lang: string | null;
  data: string | null;
  last_stream_ordering: number | null;
  last_success: number | null;
  failing_since: number | null;
  enabled: boolean | null;
  device_id: string | null;
  instance_name: string | null;
}

/** A row of `quarantined_media_changes`. */
export interface QuarantinedMediaChangesRow {
  stream_id: number;
  instance_name: string;
  origin: string | null;
  media_id: string;
  quarantined: boolean;
}

/** A row of `ratelimit_override`. */
export interface RatelimitOverrideRow {
  user_id: string;
  messages_per_second: number | null;
  burst_count: number | null;
}

/** A row of `receipts_graph`. */
export interface ReceiptsGraphRow {
  room_id: string;
  receipt_type: string;
  user_id: string;
  event_ids: string;
  data: string;
  thread_id: string | null;
}

/** A row of `receipts_linearized`. */
export interface ReceiptsLinearizedRow {
  stream_id: number;
  room_id: string;
  receipt_type: string;
  user_id: string;
  event_id: string;
  data: string;
  instance_name: string | null;
  event_stream_ordering: number | null;
  thread_id: string | null;
}

/** A row of `received_transactions`. */
export interface ReceivedTransactionsRow {
  transaction_id: string | null;
  origin: string | null;
  ts: number | null;
  response_code: number | null;
  response_json: Buffer | null;
  has_been_referenced: number | null;
}

/** A row of `redactions`. */
export interface RedactionsRow {
  event_id: string;
  redacts: string;
  have_censored: boolean;
  received_ts: number | null;
  recheck: boolean;
}

/** A row of `refresh_tokens`. */
export interface RefreshTokensRow {
  id: number;
  user_id: string;
  device_id: string;
  token: string;
  next_token_id: number | null;
  expiry_ts: number | null;
  ultimate_session_expiry_ts: number | null;
}

/** A row of `registration_tokens`. */
export interface RegistrationTokensRow {
  token: string;
  uses_allowed: number | null;
  pending: number;
  completed: number;
  expiry_time: number | null;
}

/** A row of `rejections`. */
export interface RejectionsRow {
  event_id: string;
  reason: string;
  last_check: string;
}

/** A row of `remote_media_cache`. */
export interface RemoteMediaCacheRow {
  media_origin: string | null;
  media_id: string | null;
  media_type: string | null;
  created_ts: number | null;
  upload_name: string | null;
  media_length: number | null;
  filesystem_id: string | null;
  last_access_ts: number | null;
  quarantined_by: string | null;
  authenticated: boolean;
  sha256: string | null;
}

/** A row of `remote_media_cache_thumbnails`. */
export interface RemoteMediaCacheThumbnailsRow {
  media_origin: string | null;
  media_id: string | null;
  thumbnail_width: number | null;
  thumbnail_height: number | null;
  thumbnail_method: string | null;
  thumbnail_type: string | null;
  thumbnail_length: number | null;
  filesystem_id: string | null;
}

/** A row of `room_account_data`. */
export interface RoomAccountDataRow {
  user_id: string;
  room_id: string;
  account_data_type: string;
  stream_id: number;
  content: string;
  instance_name: string | null;
}

/** A row of `room_alias_servers`. */
export interface RoomAliasServersRow {
  room_alias: string;
  server: string;
}

/** A row of `room_aliases`. */
export interface RoomAliasesRow {
  room_alias: string;
  room_id: string;
  creator: string | null;
}

/** A row of `room_ban_redactions`. */
export interface RoomBanRedactionsRow {
  room_id: string;
  user_id: string;
  redacting_event_id: string;
  redact_end_ordering: number | null;
}

/** A row of `room_depth`. */
export interface RoomDepthRow {
  room_id: string;
  min_depth: number | bigint | null;
}

/** A row of `room_forgetter_stream_pos`. */
export interface RoomForgetterStreamPosRow {
  lock: string;
  stream_id: number;
}

/** A row of `room_memberships`. */
export interface RoomMembershipsRow {
  event_id: string;
  user_id: string;
  sender: string;
  room_id: string;
  membership: string;
  forgotten: number | null;
  display_name: string | null;
  avatar_url: string | null;
  event_stream_ordering: number | null;
  participant: boolean | null;
}

/** A row of `room_reports`. */
export interface RoomReportsRow {
  id: number;
  received_ts: number;
  room_id: string;
  user_id: string;
  reason: string;
}

/** A row of `room_retention`. */
export interface RoomRetentionRow {
  room_id: string;
  event_id: string;
  min_lifetime: number | null;
  max_lifetime: number | null;
}

/** A row of `room_stats_current`. */
export interface RoomStatsCurrentRow {
  room_id: string;
  current_state_events: number;
  joined_members: number;
  invited_members: number;
  left_members: number;
  banned_members: number;
  local_users_in_room: number;
  completed_delta_stream_id: number;
  knocked_members: number | null;
}

/** A row of `room_stats_earliest_token`. */
export interface RoomStatsEarliestTokenRow {
  room_id: string;
  token: number;
}

/** A row of `room_stats_state`. */
export interface RoomStatsStateRow {
  room_id: string;
  name: string | null;
  canonical_alias: string | null;
  join_rules: string | null;
  history_visibility: string | null;
  encryption: string | null;
  avatar: string | null;
  guest_access: string | null;
  is_federatable: boolean | null;
  topic: string | null;
  room_type: string | null;
}

/** A row of `room_tags`. */
export interface RoomTagsRow {
  user_id: string;
  room_id: string;
  tag: string;
  content: string;
}

/** A row of `room_tags_revisions`. */
export interface RoomTagsRevisionsRow {
  user_id: string;
  room_id: string;
  stream_id: number;
  instance_name: string | null;
}

/** A row of `rooms`. */
export interface RoomsRow {
  room_id: string;
  is_public: boolean | null;
  creator: string | null;
  room_version: string | null;
  has_auth_chain_index: boolean | null;
}

/** A row of `scheduled_tasks`. */
export interface ScheduledTasksRow {
  id: string;
  action: string;
  status: string;
  timestamp: number;
  resource_id: string | null;
  params: string | null;
  result: string | null;
  error: string | null;
}

/** A row of `schema_compat_version`. */
export interface SchemaCompatVersionRow {
  lock: string;
  compat_version: number;
}

/** A row of `schema_version`. */
export interface SchemaVersionRow {
  lock: string;
  version: number;
  upgraded: boolean;
}

/** A row of `server_keys_json`. */
export interface ServerKeysJsonRow {
  server_name: string;
  key_id: string;
  from_server: string;
  ts_added_ms: number;
  ts_valid_until_ms: number;
  key_json: Buffer;
}

/** A row of `server_signature_keys`. */
export interface ServerSignatureKeysRow {
  server_name: string | null;
  key_id: string | null;
  from_server: string | null;
  ts_added_ms: number | null;
  verify_key: Buffer | null;
  ts_valid_until_ms: number | null;
}

/** A row of `sessions`. */
export interface SessionsRow {
  session_type: string;
  session_id: string;
  value: string;
  expiry_time_ms: number;
}

/** A row of `sliding_sync_connection_lazy_members`. */
export interface SlidingSyncConnectionLazyMembersRow {
  connection_key: number;
  connection_position: number | null;
  room_id: string;
  user_id: string;
  last_seen_ts: number;
}

/** A row of `sliding_sync_connection_positions`. */
export interface SlidingSyncConnectionPositionsRow {
  connection_position: number;
  connection_key: number;
  created_ts: number;
}

/** A row of `sliding_sync_connection_required_state`. */
export interface SlidingSyncConnectionRequiredStateRow {
  required_state_id: number;
  connection_key: number;
  required_state: string;
}

/** A row of `sliding_sync_connection_room_configs`. */
export interface SlidingSyncConnectionRoomConfigsRow {
  connection_position: number;
  room_id: string;
  timeline_limit: number;
  required_state_id: number;
}

/** A row of `sliding_sync_connection_streams`. */
export interface SlidingSyncConnectionStreamsRow {
  connection_position: number;
  stream: string;
  room_id: string;
  room_status: string;
  last_token: string | null;
}

/** A row of `sliding_sync_connections`. */
export interface SlidingSyncConnectionsRow {
  connection_key: number;
  user_id: string;
  effective_device_id: string;
  conn_id: string;
  created_ts: number;
  last_used_ts: number | null;
}

/** A row of `sliding_sync_joined_rooms`. */
export interface SlidingSyncJoinedRoomsRow {
  room_id: string;
  event_stream_ordering: number;
  bump_stamp: number | null;
  room_type: string | null;
  room_name: string | null;
  is_encrypted: boolean;
  tombstone_successor_room_id: string | null;
}

/** A row of `sliding_sync_joined_rooms_to_recalculate`. */
export interface SlidingSyncJoinedRoomsToRecalculateRow {
  room_id: string;
}

/** A row of `sliding_sync_membership_snapshots`. */
export interface SlidingSyncMembershipSnapshotsRow {
  room_id: string;
  user_id: string;
  sender: string;
  membership_event_id: string;
  membership: string;
  forgotten: number;
  event_stream_ordering: number;
  event_instance_name: string;
  has_known_state: boolean;
  room_type: string | null;
  room_name: string | null;
  is_encrypted: boolean;
  tombstone_successor_room_id: string | null;
}

/** A row of `state_events`. */
export interface StateEventsRow {
  event_id: string;
  room_id: string;
  type: string;
  state_key: string;
  prev_state: string | null;
}

/** A row of `state_group_edges`. */
export interface StateGroupEdgesRow {
  state_group: number;
  prev_state_group: number;
}

/** A row of `state_groups`. */
export interface StateGroupsRow {
  id: number;
  room_id: string;
  event_id: string;
}

/** A row of `state_groups_pending_deletion`. */
export interface StateGroupsPendingDeletionRow {
  sequence_number: number;
  state_group: number;
  insertion_ts: number;
}

/** A row of `state_groups_persisting`. */
export interface StateGroupsPersistingRow {
  state_group: number;
  instance_name: string;
}

/** A row of `state_groups_state`. */
export interface StateGroupsStateRow {
  state_group: number;
  room_id: string;
  type: string;
  state_key: string;
  event_id: string;
}

/** A row of `stats_incremental_position`. */
export interface StatsIncrementalPositionRow {
  lock: string;
  stream_id: number;
}

/** A row of `sticky_events`. */
export interface StickyEventsRow {
  stream_id: number;
  instance_name: string;
  event_id: string;
  room_id: string;
  event_stream_ordering: number;
  sender: string;
  expires_at: number;
}

/** A row of `stream_ordering_to_exterm`. */
export interface StreamOrderingToExtermRow {
  stream_ordering: number;
  room_id: string;
  event_id: string;
}

/** A row of `stream_positions`. */
export interface StreamPositionsRow {
  stream_name: string;
  instance_name: string;
  stream_id: number;
}

/** A row of `thread_subscriptions`. */
export interface ThreadSubscriptionsRow {
  stream_id: number;
  instance_name: string;
  room_id: string;
  event_id: string;
  user_id: string;
  subscribed: boolean;
  automatic: boolean;
  unsubscribed_at_stream_ordering: number | null;
  unsubscribed_at_topological_ordering: number | null;
}

/** A row of `threads`. */
export interface ThreadsRow {
  room_id: string;
  thread_id: string;
  latest_event_id: string;
  topological_ordering: number | bigint;
  stream_ordering: number;
}

/** A row of `threepid_guest_access_tokens`. */
export interface ThreepidGuestAccessTokensRow {
  medium: string | null;
  address: string | null;
  guest_access_token: string | null;
  first_inviter: string | null;
}

/** A row of `threepid_validation_session`. */
export interface ThreepidValidationSessionRow {
  session_id: string;
  medium: string;
  address: string;
  client_secret: string;
  last_send_attempt: number;
  validated_at: number | null;
}

/** A row of `threepid_validation_token`. */
export interface ThreepidValidationTokenRow {
  token: string;
  session_id: string;
  next_link: string | null;
  expires: number;
}

/** A row of `timeline_gaps`. */
export interface TimelineGapsRow {
  room_id: string;
  instance_name: string;
  stream_ordering: number;
}

/** A row of `ui_auth_sessions`. */
export interface UiAuthSessionsRow {
  session_id: string;
  creation_time: number;
  serverdict: string;
  clientdict: string;
  uri: string;
  method: string;
  description: string;
}

/** A row of `ui_auth_sessions_credentials`. */
export interface UiAuthSessionsCredentialsRow {
  session_id: string;
  stage_type: string;
  result: string;
}

/** A row of `ui_auth_sessions_ips`. */
export interface UiAuthSessionsIpsRow {
  session_id: string;
  ip: string;
  user_agent: string;
}

/** A row of `un_partial_stated_event_stream`. */
export interface UnPartialStatedEventStreamRow {
  stream_id: number;
  instance_name: string;
  event_id: string;
  rejection_status_changed: boolean;
}

/** A row of `un_partial_stated_room_stream`. */
export interface UnPartialStatedRoomStreamRow {
  stream_id: number;
  instance_name: string;
  room_id: string;
}

/** A row of `user_daily_visits`. */
export interface UserDailyVisitsRow {
  user_id: string;
  device_id: string | null;
  timestamp: number;
  user_agent: string | null;
}

/** A row of `user_directory`. */
export interface UserDirectoryRow {
  user_id: string;
  room_id: string | null;
  display_name: string | null;
  avatar_url: string | null;
}

/** A row of `user_directory_search`. */
export interface UserDirectorySearchRow {
  user_id: string;
  vector: string | null;
}

/** A row of `user_directory_stale_remote_users`. */
export interface UserDirectoryStaleRemoteUsersRow {
  user_id: string;
  user_server_name: string;
  next_try_at_ts: number;
  retry_counter: number;
}

/** A row of `user_directory_stream_pos`. */
export interface UserDirectoryStreamPosRow {
  lock: string;
  stream_id: number | null;
}

/** A row of `user_external_ids`. */
export interface UserExternalIdsRow {
  auth_provider: string;
  external_id: string;
  user_id: string;
}

/** A row of `user_filters`. */
export interface UserFiltersRow {
  user_id: string;
  filter_id: number;
  filter_json: Buffer;
  full_user_id: string | null;
}

/** A row of `user_ips`. */
export interface UserIpsRow {
  user_id: string;
  access_token: string;
  device_id: string | null;
  ip: string;
  user_agent: string;
  last_seen: number;
}

/** A row of `user_reports`. */
export interface UserReportsRow {
  id: number;
  received_ts: number;
  target_user_id: string;
  user_id: string;
  reason: string;
}

/** A row of `user_signature_stream`. */
export interface UserSignatureStreamRow {
  stream_id: number;
  from_user_id: string;
  user_ids: string;
  instance_name: string | null;
}

/** A row of `user_stats_current`. */
export interface UserStatsCurrentRow {
  user_id: string;
  joined_rooms: number;
  completed_delta_stream_id: number;
}

/** A row of `user_threepid_id_server`. */
export interface UserThreepidIdServerRow {
  user_id: string;
  medium: string;
  address: string;
  id_server: string;
}

/** A row of `user_threepids`. */
export interface UserThreepidsRow {
  user_id: string;
  medium: string;
  address: string;
  validated_at: number;
  added_at: number;
}

/** A row of `users`. */
export interface UsersRow {
  name: string | null;
  password_hash: string | null;
  creation_ts: number | null;
  admin: number;
  upgrade_ts: number | null;
  is_guest: number;
  appservice_id: string | null;
  consent_version: string | null;
  consent_server_notice_sent: string | null;
  user_type: string | null;
  deactivated: number;
  shadow_banned: boolean | null;
  consent_ts: number | null;
  approved: boolean | null;
  locked: boolean;
  suspended: boolean;
}

/** A row of `users_in_public_rooms`. */
export interface UsersInPublicRoomsRow {
  user_id: string;
  room_id: string;
}

/** A row of `users_pending_deactivation`. */
export interface UsersPendingDeactivationRow {
  user_id: string;
}

/** A row of `users_to_send_full_presence_to`. */
export interface UsersToSendFullPresenceToRow {
  user_id: string;
  presence_stream_id: number | null;
}

/** A row of `users_who_share_private_rooms`. */
export interface UsersWhoSharePrivateRoomsRow {
  user_id: string;
  other_user_id: string;
  room_id: string;
}

/** A row of `worker_locks`. */
export interface WorkerLocksRow {
  lock_name: string;
  lock_key: string;
  instance_name: string;
  token: string;
  last_renewed_ts: number;
}

/** A row of `worker_read_write_locks`. */
export interface WorkerReadWriteLocksRow {
  lock_name: string;
  lock_key: string;
  instance_name: string;
  write_lock: boolean;
  token: string;
  last_renewed_ts: number;
}

/** A row of `worker_read_write_locks_mode`. */
export interface WorkerReadWriteLocksModeRow {
  lock_name: string;
  lock_key: string;
  write_lock: boolean;
  token: string;
}

/** Each table by its name. */
export interface Tables {
  access_tokens: AccessTokensRow;
  account_data: AccountDataRow;
  account_validity: AccountValidityRow;
  application_services_state: ApplicationServicesStateRow;
  application_services_txns: ApplicationServicesTxnsRow;
  applied_module_schemas: AppliedModuleSchemasRow;
  applied_schema_deltas: AppliedSchemaDeltasRow;
  appservice_room_list: AppserviceRoomListRow;
  appservice_stream_position: AppserviceStreamPositionRow;
  background_updates: BackgroundUpdatesRow;
  blocked_rooms: BlockedRoomsRow;
  cache_invalidation_stream_by_instance: CacheInvalidationStreamByInstanceRow;
  current_state_delta_stream: CurrentStateDeltaStreamRow;
  current_state_events: CurrentStateEventsRow;
  dehydrated_devices: DehydratedDevicesRow;
  delayed_events: DelayedEventsRow;
  delayed_events_stream_pos: DelayedEventsStreamPosRow;
  deleted_pushers: DeletedPushersRow;
  destination_rooms: DestinationRoomsRow;
  destinations: DestinationsRow;
  device_auth_providers: DeviceAuthProvidersRow;
  device_federation_inbox: DeviceFederationInboxRow;
  device_federation_outbox: DeviceFederationOutboxRow;
  device_inbox: DeviceInboxRow;
  device_lists_changes_converted_stream_position: DeviceListsChangesConvertedStreamPositionRow;
  device_lists_changes_in_room: DeviceListsChangesInRoomRow;
  device_lists_changes_in_room_max_pruned_stream_id: DeviceListsChangesInRoomMaxPrunedStreamIdRow;
  device_lists_outbound_last_success: DeviceListsOutboundLastSuccessRow;
  device_lists_outbound_pokes: DeviceListsOutboundPokesRow;
  device_lists_remote_cache: DeviceListsRemoteCacheRow;
  device_lists_remote_extremeties: DeviceListsRemoteExtremetiesRow;
  device_lists_remote_pending: DeviceListsRemotePendingRow;
  device_lists_remote_resync: DeviceListsRemoteResyncRow;
  device_lists_stream: DeviceListsStreamRow;
  devices: DevicesRow;
  e2e_cross_signing_keys: E2eCrossSigningKeysRow;
  e2e_cross_signing_signatures: E2eCrossSigningSignaturesRow;
  e2e_device_keys_json: E2eDeviceKeysJsonRow;
  e2e_fallback_keys_json: E2eFallbackKeysJsonRow;
  e2e_one_time_keys_json: E2eOneTimeKeysJsonRow;
  e2e_room_keys: E2eRoomKeysRow;
  e2e_room_keys_versions: E2eRoomKeysVersionsRow;
  erased_users: ErasedUsersRow;
  event_auth: EventAuthRow;
  event_auth_chain_links: EventAuthChainLinksRow;
  event_auth_chain_to_calculate: EventAuthChainToCalculateRow;
  event_auth_chains: EventAuthChainsRow;
  event_backward_extremities: EventBackwardExtremitiesRow;
  event_edges: EventEdgesRow;
  event_expiry: EventExpiryRow;
  event_failed_pull_attempts: EventFailedPullAttemptsRow;
  event_forward_extremities: EventForwardExtremitiesRow;
  event_json: EventJsonRow;
  event_labels: EventLabelsRow;
  event_push_actions: EventPushActionsRow;
  event_push_actions_staging: EventPushActionsStagingRow;
  event_push_summary: EventPushSummaryRow;
  event_push_summary_last_receipt_stream_id: EventPushSummaryLastReceiptStreamIdRow;
  event_push_summary_stream_ordering: EventPushSummaryStreamOrderingRow;
  event_relations: EventRelationsRow;
  event_reports: EventReportsRow;
  event_search: EventSearchRow;
  event_to_state_groups: EventToStateGroupsRow;
  event_txn_id_device_id: EventTxnIdDeviceIdRow;
  events: EventsRow;
  ex_outlier_stream: ExOutlierStreamRow;
  federation_inbound_events_staging: FederationInboundEventsStagingRow;
  federation_stream_position: FederationStreamPositionRow;
  ignored_users: IgnoredUsersRow;
  instance_map: InstanceMapRow;
  local_current_membership: LocalCurrentMembershipRow;
  local_media_repository: LocalMediaRepositoryRow;
  local_media_repository_thumbnails: LocalMediaRepositoryThumbnailsRow;
  local_media_repository_url_cache: LocalMediaRepositoryUrlCacheRow;
  login_tokens: LoginTokensRow;
  monthly_active_users: MonthlyActiveUsersRow;
  msc4242_state_dag_edges: Msc4242StateDagEdgesRow;
  msc4242_state_dag_forward_extremities: Msc4242StateDagForwardExtremitiesRow;
  open_id_tokens: OpenIdTokensRow;
  partial_state_events: PartialStateEventsRow;
  partial_state_rooms: PartialStateRoomsRow;
  partial_state_rooms_servers: PartialStateRoomsServersRow;
  per_user_experimental_features: PerUserExperimentalFeaturesRow;
  presence_stream: PresenceStreamRow;
  profile_updates: ProfileUpdatesRow;
  profile_updates_per_user: ProfileUpdatesPerUserRow;
  profiles: ProfilesRow;
  push_rules: PushRulesRow;
  push_rules_enable: PushRulesEnableRow;
  push_rules_stream: PushRulesStreamRow;
  pusher_throttle: PusherThrottleRow;
  pushers: PushersRow;
  quarantined_media_changes: QuarantinedMediaChangesRow;
  ratelimit_override: RatelimitOverrideRow;
  receipts_graph: ReceiptsGraphRow;
  receipts_linearized: ReceiptsLinearizedRow;
  received_transactions: ReceivedTransactionsRow;
  redactions: RedactionsRow;
  refresh_tokens: RefreshTokensRow;
  registration_tokens: RegistrationTokensRow;
  rejections: RejectionsRow;
  remote_media_cache: RemoteMediaCacheRow;
  remote_media_cache_thumbnails: RemoteMediaCacheThumbnailsRow;
  room_account_data: RoomAccountDataRow;
  room_alias_servers: RoomAliasServersRow;
  room_aliases: RoomAliasesRow;
  room_ban_redactions: RoomBanRedactionsRow;
  room_depth: RoomDepthRow;
  room_forgetter_stream_pos: RoomForgetterStreamPosRow;
  room_memberships: RoomMembershipsRow;
  room_reports: RoomReportsRow;
  room_retention: RoomRetentionRow;
  room_stats_current: RoomStatsCurrentRow;
  room_stats_earliest_token: RoomStatsEarliestTokenRow;
  room_stats_state: RoomStatsStateRow;
  room_tags: RoomTagsRow;
  room_tags_revisions: RoomTagsRevisionsRow;
  rooms: RoomsRow;
  scheduled_tasks: ScheduledTasksRow;
  schema_compat_version: SchemaCompatVersionRow;
  schema_version: SchemaVersionRow;
  server_keys_json: ServerKeysJsonRow;
  server_signature_keys: ServerSignatureKeysRow;
  sessions: SessionsRow;
  sliding_sync_connection_lazy_members: SlidingSyncConnectionLazyMembersRow;
  sliding_sync_connection_positions: SlidingSyncConnectionPositionsRow;
  sliding_sync_connection_required_state: SlidingSyncConnectionRequiredStateRow;
  sliding_sync_connection_room_configs: SlidingSyncConnectionRoomConfigsRow;
  sliding_sync_connection_streams: SlidingSyncConnectionStreamsRow;
  sliding_sync_connections: SlidingSyncConnectionsRow;
  sliding_sync_joined_rooms: SlidingSyncJoinedRoomsRow;
  sliding_sync_joined_rooms_to_recalculate: SlidingSyncJoinedRoomsToRecalculateRow;
  sliding_sync_membership_snapshots: SlidingSyncMembershipSnapshotsRow;
  state_events: StateEventsRow;
  state_group_edges: StateGroupEdgesRow;
  state_groups: StateGroupsRow;
  state_groups_pending_deletion: StateGroupsPendingDeletionRow;
  state_groups_persisting: StateGroupsPersistingRow;
  state_groups_state: StateGroupsStateRow;
  stats_incremental_position: StatsIncrementalPositionRow;
  sticky_events: StickyEventsRow;
  stream_ordering_to_exterm: StreamOrderingToExtermRow;
  stream_positions: StreamPositionsRow;
  thread_subscriptions: ThreadSubscriptionsRow;
  threads: ThreadsRow;
  threepid_guest_access_tokens: ThreepidGuestAccessTokensRow;
  threepid_validation_session: ThreepidValidationSessionRow;
  threepid_validation_token: ThreepidValidationTokenRow;
  timeline_gaps: TimelineGapsRow;
  ui_auth_sessions: UiAuthSessionsRow;
  ui_auth_sessions_credentials: UiAuthSessionsCredentialsRow;
  ui_auth_sessions_ips: UiAuthSessionsIpsRow;
  un_partial_stated_event_stream: UnPartialStatedEventStreamRow;
  un_partial_stated_room_stream: UnPartialStatedRoomStreamRow;
  user_daily_visits: UserDailyVisitsRow;
  user_directory: UserDirectoryRow;
  user_directory_search: UserDirectorySearchRow;
  user_directory_stale_remote_users: UserDirectoryStaleRemoteUsersRow;
  user_directory_stream_pos: UserDirectoryStreamPosRow;
  user_external_ids: UserExternalIdsRow;
  user_filters: UserFiltersRow;
  user_ips: UserIpsRow;
  user_reports: UserReportsRow;
  user_signature_stream: UserSignatureStreamRow;
  user_stats_current: UserStatsCurrentRow;
  user_threepid_id_server: UserThreepidIdServerRow;
  user_threepids: UserThreepidsRow;
  users: UsersRow;
  users_in_public_rooms: UsersInPublicRoomsRow;
  users_pending_deactivation: UsersPendingDeactivationRow;
  users_to_send_full_presence_to: UsersToSendFullPresenceToRow;
  users_who_share_private_rooms: UsersWhoSharePrivateRoomsRow;
  worker_locks: WorkerLocksRow;
  worker_read_write_locks: WorkerReadWriteLocksRow;
  worker_read_write_locks_mode: WorkerReadWriteLocksModeRow;
}
