-- Written by schema/generate.ts from schema/catalogue.json: do not edit.
-- Schema version 94, readable by servers from version 84 on.

-- Sequences. Those of streams have been called once, so that ids begin at 2.

CREATE SEQUENCE account_data_sequence;
SELECT setval('account_data_sequence', 1, true);
CREATE SEQUENCE application_services_txn_id_seq;
CREATE SEQUENCE cache_invalidation_stream_seq;
SELECT setval('cache_invalidation_stream_seq', 1, true);
CREATE SEQUENCE device_inbox_sequence;
SELECT setval('device_inbox_sequence', 1, true);
CREATE SEQUENCE device_lists_sequence;
SELECT setval('device_lists_sequence', 1, true);
CREATE SEQUENCE e2e_cross_signing_keys_sequence;
SELECT setval('e2e_cross_signing_keys_sequence', 1, true);
CREATE SEQUENCE event_auth_chain_id;
CREATE SEQUENCE events_backfill_stream_seq;
SELECT setval('events_backfill_stream_seq', 1, true);
CREATE SEQUENCE events_stream_seq;
SELECT setval('events_stream_seq', 1, true);
CREATE SEQUENCE instance_map_instance_id_seq AS integer;
CREATE SEQUENCE presence_stream_sequence;
SELECT setval('presence_stream_sequence', 1, true);
CREATE SEQUENCE profile_updates_sequence;
SELECT setval('profile_updates_sequence', 1, true);
CREATE SEQUENCE push_rules_stream_sequence;
SELECT setval('push_rules_stream_sequence', 1, true);
CREATE SEQUENCE pushers_sequence;
SELECT setval('pushers_sequence', 1, true);
CREATE SEQUENCE quarantined_media_id_seq;
SELECT setval('quarantined_media_id_seq', 1, true);
CREATE SEQUENCE receipts_sequence;
SELECT setval('receipts_sequence', 1, true);
CREATE SEQUENCE state_group_id_seq;
CREATE SEQUENCE sticky_events_sequence;
SELECT setval('sticky_events_sequence', 1, true);
CREATE SEQUENCE thread_subscriptions_sequence START WITH 2;
SELECT setval('thread_subscriptions_sequence', 2, true);
CREATE SEQUENCE un_partial_stated_event_stream_sequence;
SELECT setval('un_partial_stated_event_stream_sequence', 1, true);
CREATE SEQUENCE un_partial_stated_room_stream_sequence;
SELECT setval('un_partial_stated_room_stream_sequence', 1, true);
CREATE SEQUENCE user_id_seq;

-- Tables. The order of columns matters: Synapse reads some by position.

CREATE TABLE access_tokens (
  id bigint NOT NULL,
  user_id text NOT NULL,
  device_id text,
  token text NOT NULL,
  valid_until_ms bigint,
  puppets_user_id text,
  last_validated bigint,
  refresh_token_id bigint,
  used boolean,
  CONSTRAINT access_tokens_pkey PRIMARY KEY (id),
  CONSTRAINT access_tokens_token_key UNIQUE (token)
);
CREATE TABLE account_data (
  user_id text NOT NULL,
  account_data_type text NOT NULL,
  stream_id bigint NOT NULL,
  content text NOT NULL,
  instance_name text,
  CONSTRAINT account_data_uniqueness UNIQUE (user_id, account_data_type)
);
CREATE TABLE account_validity (
  user_id text NOT NULL,
  expiration_ts_ms bigint NOT NULL,
  email_sent boolean NOT NULL,
  renewal_token text,
  token_used_ts_ms bigint,
  CONSTRAINT account_validity_pkey PRIMARY KEY (user_id)
);
CREATE TABLE application_services_state (
  as_id text NOT NULL,
  state character varying(5),
  read_receipt_stream_id bigint,
  presence_stream_id bigint,
  to_device_stream_id bigint,
  device_list_stream_id bigint,
  CONSTRAINT application_services_state_pkey PRIMARY KEY (as_id)
);
CREATE TABLE application_services_txns (
  as_id text NOT NULL,
  txn_id bigint NOT NULL,
  event_ids text NOT NULL,
  CONSTRAINT application_services_txns_as_id_txn_id_key UNIQUE (as_id, txn_id)
);
CREATE TABLE applied_module_schemas (
  module_name text NOT NULL,
  file text NOT NULL,
  CONSTRAINT applied_module_schemas_module_name_file_key UNIQUE (module_name, file)
);
CREATE TABLE applied_schema_deltas (
  version integer NOT NULL,
  file text NOT NULL,
  CONSTRAINT applied_schema_deltas_version_file_key UNIQUE (version, file)
);
CREATE TABLE appservice_room_list (
  appservice_id text NOT NULL,
  network_id text NOT NULL,
  room_id text NOT NULL
);
CREATE TABLE appservice_stream_position (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_ordering bigint,
  CONSTRAINT appservice_stream_position_lock_key UNIQUE (lock),
  CONSTRAINT appservice_stream_position_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE background_updates (
  update_name text NOT NULL,
  progress_json text NOT NULL,
  depends_on text,
  ordering integer DEFAULT 0 NOT NULL,
  CONSTRAINT background_updates_uniqueness UNIQUE (update_name)
);
CREATE TABLE blocked_rooms (
  room_id text NOT NULL,
  user_id text NOT NULL
);
CREATE TABLE cache_invalidation_stream_by_instance (
  stream_id bigint NOT NULL,
  instance_name text NOT NULL,
  cache_func text NOT NULL,
  keys text[],
  invalidation_ts bigint
);
CREATE TABLE current_state_delta_stream (
  stream_id bigint NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  event_id text,
  prev_event_id text,
  instance_name text
);
CREATE TABLE current_state_events (
  event_id text NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  membership text,
  event_stream_ordering bigint,
  CONSTRAINT current_state_events_event_id_key UNIQUE (event_id),
  CONSTRAINT current_state_events_room_id_type_state_key_key UNIQUE (room_id, type, state_key)
);
CREATE TABLE dehydrated_devices (
  user_id text NOT NULL,
  device_id text NOT NULL,
  device_data text NOT NULL,
  CONSTRAINT dehydrated_devices_pkey PRIMARY KEY (user_id)
);
CREATE TABLE delayed_events (
  delay_id text NOT NULL,
  user_localpart text NOT NULL,
  device_id text,
  delay bigint NOT NULL,
  send_ts bigint NOT NULL,
  room_id text NOT NULL,
  event_type text NOT NULL,
  state_key text,
  origin_server_ts bigint,
  content text NOT NULL,
  is_processed boolean DEFAULT false NOT NULL,
  sticky_duration_ms bigint,
  CONSTRAINT delayed_events_pkey PRIMARY KEY (user_localpart, delay_id)
);
CREATE TABLE delayed_events_stream_pos (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_id bigint NOT NULL,
  CONSTRAINT delayed_events_stream_pos_lock_key UNIQUE (lock),
  CONSTRAINT delayed_events_stream_pos_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE deleted_pushers (
  stream_id bigint NOT NULL,
  app_id text NOT NULL,
  pushkey text NOT NULL,
  user_id text NOT NULL,
  instance_name text
);
CREATE TABLE destination_rooms (
  destination text NOT NULL,
  room_id text NOT NULL,
  stream_ordering bigint NOT NULL,
  CONSTRAINT destination_rooms_pkey PRIMARY KEY (destination, room_id)
);
CREATE TABLE destinations (
  destination text NOT NULL,
  retry_last_ts bigint,
  retry_interval bigint,
  failure_ts bigint,
  last_successful_stream_ordering bigint,
  CONSTRAINT destinations_pkey PRIMARY KEY (destination)
);
CREATE TABLE device_auth_providers (
  user_id text NOT NULL,
  device_id text NOT NULL,
  auth_provider_id text NOT NULL,
  auth_provider_session_id text NOT NULL
);
CREATE TABLE device_federation_inbox (
  origin text NOT NULL,
  message_id text NOT NULL,
  received_ts bigint NOT NULL,
  instance_name text
);
CREATE TABLE device_federation_outbox (
  destination text NOT NULL,
  stream_id bigint NOT NULL,
  queued_ts bigint NOT NULL,
  messages_json text NOT NULL,
  instance_name text
);
CREATE TABLE device_inbox (
  user_id text NOT NULL,
  device_id text NOT NULL,
  stream_id bigint NOT NULL,
  message_json text NOT NULL,
  instance_name text
);
CREATE TABLE device_lists_changes_converted_stream_position (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_id bigint NOT NULL,
  room_id text NOT NULL,
  instance_name text,
  CONSTRAINT device_lists_changes_converted_stream_position_lock_key UNIQUE (lock),
  CONSTRAINT device_lists_changes_converted_stream_position_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE device_lists_changes_in_room (
  user_id text NOT NULL,
  device_id text NOT NULL,
  room_id text NOT NULL,
  stream_id bigint NOT NULL,
  converted_to_destinations boolean NOT NULL,
  opentracing_context text,
  instance_name text,
  inserted_ts bigint
);
CREATE TABLE device_lists_changes_in_room_max_pruned_stream_id (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_id bigint NOT NULL,
  CONSTRAINT device_lists_changes_in_room_max_pruned_stream_id_lock_key UNIQUE (lock)
);
CREATE TABLE device_lists_outbound_last_success (
  destination text NOT NULL,
  user_id text NOT NULL,
  stream_id bigint NOT NULL
);
CREATE TABLE device_lists_outbound_pokes (
  destination text NOT NULL,
  stream_id bigint NOT NULL,
  user_id text NOT NULL,
  device_id text NOT NULL,
  sent boolean NOT NULL,
  ts bigint NOT NULL,
  opentracing_context text,
  instance_name text
);
CREATE TABLE device_lists_remote_cache (
  user_id text NOT NULL,
  device_id text NOT NULL,
  content text NOT NULL
);
CREATE TABLE device_lists_remote_extremeties (
  user_id text NOT NULL,
  stream_id text NOT NULL
);
CREATE TABLE device_lists_remote_pending (
  stream_id bigint NOT NULL,
  user_id text NOT NULL,
  device_id text NOT NULL,
  instance_name text,
  CONSTRAINT device_lists_remote_pending_pkey PRIMARY KEY (stream_id)
);
CREATE TABLE device_lists_remote_resync (
  user_id text NOT NULL,
  added_ts bigint NOT NULL
);
CREATE TABLE device_lists_stream (
  stream_id bigint NOT NULL,
  user_id text NOT NULL,
  device_id text NOT NULL,
  instance_name text
);
CREATE TABLE devices (
  user_id text NOT NULL,
  device_id text NOT NULL,
  display_name text,
  last_seen bigint,
  ip text,
  user_agent text,
  hidden boolean DEFAULT false,
  CONSTRAINT device_uniqueness UNIQUE (user_id, device_id)
);
CREATE TABLE e2e_cross_signing_keys (
  user_id text NOT NULL,
  keytype text NOT NULL,
  keydata text NOT NULL,
  stream_id bigint NOT NULL,
  updatable_without_uia_before_ms bigint,
  instance_name text
);
CREATE TABLE e2e_cross_signing_signatures (
  user_id text NOT NULL,
  key_id text NOT NULL,
  target_user_id text NOT NULL,
  target_device_id text NOT NULL,
  signature text NOT NULL
);
CREATE TABLE e2e_device_keys_json (
  user_id text NOT NULL,
  device_id text NOT NULL,
  ts_added_ms bigint NOT NULL,
  key_json text NOT NULL,
  CONSTRAINT e2e_device_keys_json_uniqueness UNIQUE (user_id, device_id)
);
CREATE TABLE e2e_fallback_keys_json (
  user_id text NOT NULL,
  device_id text NOT NULL,
  algorithm text NOT NULL,
  key_id text NOT NULL,
  key_json text NOT NULL,
  used boolean DEFAULT false NOT NULL,
  CONSTRAINT e2e_fallback_keys_json_uniqueness UNIQUE (user_id, device_id, algorithm)
);
CREATE TABLE e2e_one_time_keys_json (
  user_id text NOT NULL,
  device_id text NOT NULL,
  algorithm text NOT NULL,
  key_id text NOT NULL,
  ts_added_ms bigint NOT NULL,
  key_json text NOT NULL,
  CONSTRAINT e2e_one_time_keys_json_uniqueness UNIQUE (user_id, device_id, algorithm, key_id)
);
CREATE TABLE e2e_room_keys (
  user_id text NOT NULL,
  room_id text NOT NULL,
  session_id text NOT NULL,
  version bigint NOT NULL,
  first_message_index integer,
  forwarded_count integer,
  is_verified boolean,
  session_data text NOT NULL
);
CREATE TABLE e2e_room_keys_versions (
  user_id text NOT NULL,
  version bigint NOT NULL,
  algorithm text NOT NULL,
  auth_data text NOT NULL,
  deleted smallint DEFAULT 0 NOT NULL,
  etag bigint
);
CREATE TABLE erased_users (
  user_id text NOT NULL
);
CREATE TABLE event_auth (
  event_id text NOT NULL,
  auth_id text NOT NULL,
  room_id text NOT NULL
);
CREATE TABLE event_auth_chain_links (
  origin_chain_id bigint NOT NULL,
  origin_sequence_number bigint NOT NULL,
  target_chain_id bigint NOT NULL,
  target_sequence_number bigint NOT NULL
);
CREATE TABLE event_auth_chain_to_calculate (
  event_id text NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  CONSTRAINT event_auth_chain_to_calculate_pkey PRIMARY KEY (event_id)
);
CREATE TABLE event_auth_chains (
  event_id text NOT NULL,
  chain_id bigint NOT NULL,
  sequence_number bigint NOT NULL,
  CONSTRAINT event_auth_chains_pkey PRIMARY KEY (event_id)
);
CREATE TABLE event_backward_extremities (
  event_id text NOT NULL,
  room_id text NOT NULL,
  CONSTRAINT event_backward_extremities_event_id_room_id_key UNIQUE (event_id, room_id)
);
CREATE TABLE event_edges (
  event_id text NOT NULL,
  prev_event_id text NOT NULL,
  room_id text,
  is_state boolean DEFAULT false NOT NULL
);
CREATE TABLE event_expiry (
  event_id text NOT NULL,
  expiry_ts bigint NOT NULL,
  CONSTRAINT event_expiry_pkey PRIMARY KEY (event_id)
);
CREATE TABLE event_failed_pull_attempts (
  room_id text NOT NULL,
  event_id text NOT NULL,
  num_attempts integer NOT NULL,
  last_attempt_ts bigint NOT NULL,
  last_cause text NOT NULL,
  CONSTRAINT event_failed_pull_attempts_pkey PRIMARY KEY (room_id, event_id)
);
CREATE TABLE event_forward_extremities (
  event_id text NOT NULL,
  room_id text NOT NULL,
  CONSTRAINT event_forward_extremities_event_id_room_id_key UNIQUE (event_id, room_id)
);
CREATE TABLE event_json (
  event_id text NOT NULL,
  room_id text NOT NULL,
  internal_metadata text NOT NULL,
  json text NOT NULL,
  format_version integer,
  CONSTRAINT event_json_event_id_key UNIQUE (event_id)
);
CREATE TABLE event_labels (
  event_id text NOT NULL,
  label text NOT NULL,
  room_id text NOT NULL,
  topological_ordering bigint NOT NULL,
  CONSTRAINT event_labels_pkey PRIMARY KEY (event_id, label)
);
CREATE TABLE event_push_actions (
  room_id text NOT NULL,
  event_id text NOT NULL,
  user_id text NOT NULL,
  profile_tag character varying(32),
  actions text NOT NULL,
  topological_ordering bigint,
  stream_ordering bigint,
  notif smallint,
  highlight smallint,
  unread smallint,
  thread_id text,
  CONSTRAINT event_id_user_id_profile_tag_uniqueness UNIQUE (room_id, event_id, user_id, profile_tag),
  CONSTRAINT event_push_actions_thread_id CHECK ((thread_id IS NOT NULL))
);
CREATE TABLE event_push_actions_staging (
  event_id text NOT NULL,
  user_id text NOT NULL,
  actions text NOT NULL,
  notif smallint NOT NULL,
  highlight smallint NOT NULL,
  unread smallint,
  thread_id text,
  inserted_ts bigint DEFAULT (EXTRACT(epoch FROM now()) * (1000)::numeric),
  CONSTRAINT event_push_actions_staging_thread_id CHECK ((thread_id IS NOT NULL))
);
CREATE TABLE event_push_summary (
  user_id text NOT NULL,
  room_id text NOT NULL,
  notif_count bigint NOT NULL,
  stream_ordering bigint NOT NULL,
  unread_count bigint,
  last_receipt_stream_ordering bigint,
  thread_id text,
  CONSTRAINT event_push_summary_thread_id CHECK ((thread_id IS NOT NULL))
);
CREATE TABLE event_push_summary_last_receipt_stream_id (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_id bigint NOT NULL,
  CONSTRAINT event_push_summary_last_receipt_stream_id_lock_key UNIQUE (lock),
  CONSTRAINT event_push_summary_last_receipt_stream_id_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE event_push_summary_stream_ordering (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_ordering bigint NOT NULL,
  CONSTRAINT event_push_summary_stream_ordering_lock_key UNIQUE (lock),
  CONSTRAINT event_push_summary_stream_ordering_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE event_relations (
  event_id text NOT NULL,
  relates_to_id text NOT NULL,
  relation_type text NOT NULL,
  aggregation_key text
);
CREATE TABLE event_reports (
  id bigint NOT NULL,
  received_ts bigint NOT NULL,
  room_id text NOT NULL,
  event_id text NOT NULL,
  user_id text NOT NULL,
  reason text,
  content text,
  CONSTRAINT event_reports_pkey PRIMARY KEY (id)
);
CREATE TABLE event_search (
  event_id text,
  room_id text,
  sender text,
  key text,
  vector tsvector,
  origin_server_ts bigint,
  stream_ordering bigint
);
CREATE TABLE event_to_state_groups (
  event_id text NOT NULL,
  state_group bigint NOT NULL,
  CONSTRAINT event_to_state_groups_event_id_key UNIQUE (event_id)
);
CREATE TABLE event_txn_id_device_id (
  event_id text NOT NULL,
  room_id text NOT NULL,
  user_id text NOT NULL,
  device_id text NOT NULL,
  txn_id text NOT NULL,
  inserted_ts bigint NOT NULL
);
CREATE TABLE events (
  topological_ordering bigint NOT NULL,
  event_id text NOT NULL,
  type text NOT NULL,
  room_id text NOT NULL,
  content text,
  unrecognized_keys text,
  processed boolean NOT NULL,
  outlier boolean NOT NULL,
  depth bigint DEFAULT 0 NOT NULL,
  origin_server_ts bigint,
  received_ts bigint,
  sender text,
  contains_url boolean,
  instance_name text,
  stream_ordering bigint,
  state_key text,
  rejection_reason text,
  CONSTRAINT events_event_id_key UNIQUE (event_id)
);
CREATE TABLE ex_outlier_stream (
  event_stream_ordering bigint NOT NULL,
  event_id text NOT NULL,
  state_group bigint NOT NULL,
  instance_name text,
  CONSTRAINT ex_outlier_stream_pkey PRIMARY KEY (event_stream_ordering)
);
CREATE TABLE federation_inbound_events_staging (
  origin text NOT NULL,
  room_id text NOT NULL,
  event_id text NOT NULL,
  received_ts bigint NOT NULL,
  event_json text NOT NULL,
  internal_metadata text NOT NULL
);
CREATE TABLE federation_stream_position (
  type text NOT NULL,
  stream_id bigint NOT NULL,
  instance_name text DEFAULT 'master'::text NOT NULL
);
CREATE TABLE ignored_users (
  ignorer_user_id text NOT NULL,
  ignored_user_id text NOT NULL
);
CREATE TABLE instance_map (
  instance_id integer DEFAULT nextval('instance_map_instance_id_seq'::regclass) NOT NULL,
  instance_name text NOT NULL,
  CONSTRAINT instance_map_pkey PRIMARY KEY (instance_id)
);
CREATE TABLE local_current_membership (
  room_id text NOT NULL,
  user_id text NOT NULL,
  event_id text NOT NULL,
  membership text NOT NULL,
  event_stream_ordering bigint
);
CREATE TABLE local_media_repository (
  media_id text,
  media_type text,
  media_length integer,
  created_ts bigint,
  upload_name text,
  user_id text,
  quarantined_by text,
  url_cache text,
  last_access_ts bigint,
  safe_from_quarantine boolean DEFAULT false NOT NULL,
  authenticated boolean DEFAULT false NOT NULL,
  sha256 text,
  CONSTRAINT local_media_repository_media_id_key UNIQUE (media_id)
);
CREATE TABLE local_media_repository_thumbnails (
  media_id text,
  thumbnail_width integer,
  thumbnail_height integer,
  thumbnail_type text,
  thumbnail_method text,
  thumbnail_length integer
);
CREATE TABLE local_media_repository_url_cache (
  url text,
  response_code integer,
  etag text,
  expires_ts bigint,
  og text,
  media_id text,
  download_ts bigint
);
CREATE TABLE login_tokens (
  token text NOT NULL,
  user_id text NOT NULL,
  expiry_ts bigint NOT NULL,
  used_ts bigint,
  auth_provider_id text,
  auth_provider_session_id text,
  CONSTRAINT login_tokens_pkey PRIMARY KEY (token)
);
CREATE TABLE monthly_active_users (
  user_id text NOT NULL,
  "timestamp" bigint NOT NULL
);
CREATE TABLE msc4242_state_dag_edges (
  room_id text NOT NULL,
  event_id text NOT NULL,
  prev_state_event_id text
);
CREATE TABLE msc4242_state_dag_forward_extremities (
  room_id text NOT NULL,
  event_id text NOT NULL,
  CONSTRAINT msc4242_state_dag_forward_extremities_event_id_key UNIQUE (event_id)
);
CREATE TABLE open_id_tokens (
  token text NOT NULL,
  ts_valid_until_ms bigint NOT NULL,
  user_id text NOT NULL,
  CONSTRAINT open_id_tokens_pkey PRIMARY KEY (token)
);
CREATE TABLE partial_state_events (
  room_id text NOT NULL,
  event_id text NOT NULL,
  CONSTRAINT partial_state_events_event_id_key UNIQUE (event_id)
);
CREATE TABLE partial_state_rooms (
  room_id text NOT NULL,
  device_lists_stream_id bigint DEFAULT 0 NOT NULL,
  join_event_id text,
  joined_via text,
  CONSTRAINT partial_state_rooms_pkey PRIMARY KEY (room_id)
);
CREATE TABLE partial_state_rooms_servers (
  room_id text NOT NULL,
  server_name text NOT NULL,
  CONSTRAINT partial_state_rooms_servers_room_id_server_name_key UNIQUE (room_id, server_name)
);
CREATE TABLE per_user_experimental_features (
  user_id text NOT NULL,
  feature text NOT NULL,
  enabled boolean DEFAULT false,
  CONSTRAINT per_user_experimental_features_pkey PRIMARY KEY (user_id, feature)
);
CREATE TABLE presence_stream (
  stream_id bigint,
  user_id text,
  state text,
  last_active_ts bigint,
  last_federation_update_ts bigint,
  last_user_sync_ts bigint,
  status_msg text,
  currently_active boolean,
  instance_name text
);
CREATE TABLE profile_updates (
  stream_id bigint NOT NULL,
  instance_name text NOT NULL,
  user_id text NOT NULL,
  action text NOT NULL,
  affected_fields jsonb,
  inserted_ts bigint NOT NULL,
  CONSTRAINT profile_updates_pkey PRIMARY KEY (stream_id)
);
CREATE TABLE profile_updates_per_user (
  stream_id bigint NOT NULL,
  user_id text NOT NULL,
  inserted_ts bigint NOT NULL,
  CONSTRAINT profile_updates_per_user_pkey PRIMARY KEY (user_id, stream_id)
);
CREATE TABLE profiles (
  user_id text NOT NULL,
  displayname text,
  avatar_url text,
  full_user_id text,
  fields jsonb,
  CONSTRAINT profiles_user_id_key UNIQUE (user_id),
  CONSTRAINT full_user_id_not_null CHECK ((full_user_id IS NOT NULL))
);
CREATE TABLE push_rules (
  id bigint NOT NULL,
  user_name text NOT NULL,
  rule_id text NOT NULL,
  priority_class smallint NOT NULL,
  priority integer DEFAULT 0 NOT NULL,
  conditions text NOT NULL,
  actions text NOT NULL,
  CONSTRAINT push_rules_pkey PRIMARY KEY (id),
  CONSTRAINT push_rules_user_name_rule_id_key UNIQUE (user_name, rule_id)
);
CREATE TABLE push_rules_enable (
  id bigint NOT NULL,
  user_name text NOT NULL,
  rule_id text NOT NULL,
  enabled smallint,
  CONSTRAINT push_rules_enable_pkey PRIMARY KEY (id),
  CONSTRAINT push_rules_enable_user_name_rule_id_key UNIQUE (user_name, rule_id)
);
CREATE TABLE push_rules_stream (
  stream_id bigint NOT NULL,
  event_stream_ordering bigint NOT NULL,
  user_id text NOT NULL,
  rule_id text NOT NULL,
  op text NOT NULL,
  priority_class smallint,
  priority integer,
  conditions text,
  actions text,
  instance_name text
);
CREATE TABLE pusher_throttle (
  pusher bigint NOT NULL,
  room_id text NOT NULL,
  last_sent_ts bigint,
  throttle_ms bigint,
  CONSTRAINT pusher_throttle_pkey PRIMARY KEY (pusher, room_id)
);
CREATE TABLE pushers (
  id bigint NOT NULL,
  user_name text NOT NULL,
  access_token bigint,
  profile_tag text NOT NULL,
  kind text NOT NULL,
  app_id text NOT NULL,
  app_display_name text NOT NULL,
  device_display_name text NOT NULL,
  pushkey text NOT NULL,
  ts bigint NOT NULL,
  lang text,
  data text,
  last_stream_ordering bigint,
  last_success bigint,
  failing_since bigint,
  enabled boolean,
  device_id text,
  instance_name text,
  CONSTRAINT pushers2_pkey PRIMARY KEY (id),
  CONSTRAINT pushers2_app_id_pushkey_user_name_key UNIQUE (app_id, pushkey, user_name)
);
CREATE TABLE quarantined_media_changes (
  stream_id integer NOT NULL,
  instance_name text NOT NULL,
  origin text,
  media_id text NOT NULL,
  quarantined boolean NOT NULL,
  CONSTRAINT quarantined_media_changes_pkey PRIMARY KEY (stream_id)
);
CREATE TABLE ratelimit_override (
  user_id text NOT NULL,
  messages_per_second bigint,
  burst_count bigint
);
CREATE TABLE receipts_graph (
  room_id text NOT NULL,
  receipt_type text NOT NULL,
  user_id text NOT NULL,
  event_ids text NOT NULL,
  data text NOT NULL,
  thread_id text,
  CONSTRAINT receipts_graph_uniqueness_thread UNIQUE (room_id, receipt_type, user_id, thread_id)
);
CREATE TABLE receipts_linearized (
  stream_id bigint NOT NULL,
  room_id text NOT NULL,
  receipt_type text NOT NULL,
  user_id text NOT NULL,
  event_id text NOT NULL,
  data text NOT NULL,
  instance_name text,
  event_stream_ordering bigint,
  thread_id text,
  CONSTRAINT receipts_linearized_uniqueness_thread UNIQUE (room_id, receipt_type, user_id, thread_id)
);
CREATE TABLE received_transactions (
  transaction_id text,
  origin text,
  ts bigint,
  response_code integer,
  response_json bytea,
  has_been_referenced smallint DEFAULT 0,
  CONSTRAINT received_transactions_transaction_id_origin_key UNIQUE (transaction_id, origin)
);
CREATE TABLE redactions (
  event_id text NOT NULL,
  redacts text NOT NULL,
  have_censored boolean DEFAULT false NOT NULL,
  received_ts bigint,
  recheck boolean DEFAULT true NOT NULL,
  CONSTRAINT redactions_event_id_key UNIQUE (event_id)
);
CREATE TABLE refresh_tokens (
  id bigint NOT NULL,
  user_id text NOT NULL,
  device_id text NOT NULL,
  token text NOT NULL,
  next_token_id bigint,
  expiry_ts bigint,
  ultimate_session_expiry_ts bigint,
  CONSTRAINT refresh_tokens_pkey PRIMARY KEY (id),
  CONSTRAINT refresh_tokens_token_key UNIQUE (token)
);
CREATE TABLE registration_tokens (
  token text NOT NULL,
  uses_allowed integer,
  pending integer NOT NULL,
  completed integer NOT NULL,
  expiry_time bigint,
  CONSTRAINT registration_tokens_token_key UNIQUE (token)
);
CREATE TABLE rejections (
  event_id text NOT NULL,
  reason text NOT NULL,
  last_check text NOT NULL,
  CONSTRAINT rejections_event_id_key UNIQUE (event_id)
);
CREATE TABLE remote_media_cache (
  media_origin text,
  media_id text,
  media_type text,
  created_ts bigint,
  upload_name text,
  media_length integer,
  filesystem_id text,
  last_access_ts bigint,
  quarantined_by text,
  authenticated boolean DEFAULT false NOT NULL,
  sha256 text,
  CONSTRAINT remote_media_cache_media_origin_media_id_key UNIQUE (media_origin, media_id)
);
CREATE TABLE remote_media_cache_thumbnails (
  media_origin text,
  media_id text,
  thumbnail_width integer,
  thumbnail_height integer,
  thumbnail_method text,
  thumbnail_type text,
  thumbnail_length integer,
  filesystem_id text
);
CREATE TABLE room_account_data (
  user_id text NOT NULL,
  room_id text NOT NULL,
  account_data_type text NOT NULL,
  stream_id bigint NOT NULL,
  content text NOT NULL,
  instance_name text,
  CONSTRAINT room_account_data_uniqueness UNIQUE (user_id, room_id, account_data_type)
);
CREATE TABLE room_alias_servers (
  room_alias text NOT NULL,
  server text NOT NULL
);
CREATE TABLE room_aliases (
  room_alias text NOT NULL,
  room_id text NOT NULL,
  creator text,
  CONSTRAINT room_aliases_room_alias_key UNIQUE (room_alias)
);
CREATE TABLE room_ban_redactions (
  room_id text NOT NULL,
  user_id text NOT NULL,
  redacting_event_id text NOT NULL,
  redact_end_ordering bigint,
  CONSTRAINT room_ban_redaction_uniqueness UNIQUE (room_id, user_id)
);
CREATE TABLE room_depth (
  room_id text NOT NULL,
  min_depth bigint,
  CONSTRAINT room_depth_room_id_key UNIQUE (room_id)
);
CREATE TABLE room_forgetter_stream_pos (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_id bigint NOT NULL,
  CONSTRAINT room_forgetter_stream_pos_lock_key UNIQUE (lock),
  CONSTRAINT room_forgetter_stream_pos_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE room_memberships (
  event_id text NOT NULL,
  user_id text NOT NULL,
  sender text NOT NULL,
  room_id text NOT NULL,
  membership text NOT NULL,
  forgotten integer DEFAULT 0,
  display_name text,
  avatar_url text,
  event_stream_ordering bigint,
  participant boolean DEFAULT false,
  CONSTRAINT room_memberships_event_id_key UNIQUE (event_id)
);
CREATE TABLE room_reports (
  id bigint NOT NULL,
  received_ts bigint NOT NULL,
  room_id text NOT NULL,
  user_id text NOT NULL,
  reason text NOT NULL,
  CONSTRAINT room_reports_pkey PRIMARY KEY (id)
);
CREATE TABLE room_retention (
  room_id text NOT NULL,
  event_id text NOT NULL,
  min_lifetime bigint,
  max_lifetime bigint,
  CONSTRAINT room_retention_pkey PRIMARY KEY (room_id, event_id)
);
CREATE TABLE room_stats_current (
  room_id text NOT NULL,
  current_state_events integer NOT NULL,
  joined_members integer NOT NULL,
  invited_members integer NOT NULL,
  left_members integer NOT NULL,
  banned_members integer NOT NULL,
  local_users_in_room integer NOT NULL,
  completed_delta_stream_id bigint NOT NULL,
  knocked_members integer,
  CONSTRAINT room_stats_current_pkey PRIMARY KEY (room_id)
);
CREATE TABLE room_stats_earliest_token (
  room_id text NOT NULL,
  token bigint NOT NULL
);
CREATE TABLE room_stats_state (
  room_id text NOT NULL,
  name text,
  canonical_alias text,
  join_rules text,
  history_visibility text,
  encryption text,
  avatar text,
  guest_access text,
  is_federatable boolean,
  topic text,
  room_type text
);
CREATE TABLE room_tags (
  user_id text NOT NULL,
  room_id text NOT NULL,
  tag text NOT NULL,
  content text NOT NULL,
  CONSTRAINT room_tag_uniqueness UNIQUE (user_id, room_id, tag)
);
CREATE TABLE room_tags_revisions (
  user_id text NOT NULL,
  room_id text NOT NULL,
  stream_id bigint NOT NULL,
  instance_name text,
  CONSTRAINT room_tag_revisions_uniqueness UNIQUE (user_id, room_id)
);
CREATE TABLE rooms (
  room_id text NOT NULL,
  is_public boolean,
  creator text,
  room_version text,
  has_auth_chain_index boolean,
  CONSTRAINT rooms_pkey PRIMARY KEY (room_id)
);
CREATE TABLE scheduled_tasks (
  id text NOT NULL,
  action text NOT NULL,
  status text NOT NULL,
  "timestamp" bigint NOT NULL,
  resource_id text,
  params text,
  result text,
  error text,
  CONSTRAINT scheduled_tasks_pkey PRIMARY KEY (id)
);
CREATE TABLE schema_compat_version (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  compat_version integer NOT NULL,
  CONSTRAINT schema_compat_version_lock_key UNIQUE (lock),
  CONSTRAINT schema_compat_version_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE schema_version (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  version integer NOT NULL,
  upgraded boolean NOT NULL,
  CONSTRAINT schema_version_lock_key UNIQUE (lock),
  CONSTRAINT schema_version_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE server_keys_json (
  server_name text NOT NULL,
  key_id text NOT NULL,
  from_server text NOT NULL,
  ts_added_ms bigint NOT NULL,
  ts_valid_until_ms bigint NOT NULL,
  key_json bytea NOT NULL,
  CONSTRAINT server_keys_json_uniqueness UNIQUE (server_name, key_id, from_server)
);
CREATE TABLE server_signature_keys (
  server_name text,
  key_id text,
  from_server text,
  ts_added_ms bigint,
  verify_key bytea,
  ts_valid_until_ms bigint,
  CONSTRAINT server_signature_keys_server_name_key_id_key UNIQUE (server_name, key_id)
);
CREATE TABLE sessions (
  session_type text NOT NULL,
  session_id text NOT NULL,
  value text NOT NULL,
  expiry_time_ms bigint NOT NULL,
  CONSTRAINT sessions_session_type_session_id_key UNIQUE (session_type, session_id)
);
CREATE TABLE sliding_sync_connection_lazy_members (
  connection_key bigint NOT NULL,
  connection_position bigint,
  room_id text NOT NULL,
  user_id text NOT NULL,
  last_seen_ts bigint NOT NULL
);
CREATE TABLE sliding_sync_connection_positions (
  connection_position bigint GENERATED ALWAYS AS IDENTITY,
  connection_key bigint NOT NULL,
  created_ts bigint NOT NULL,
  CONSTRAINT sliding_sync_connection_positions_pkey PRIMARY KEY (connection_position)
);
CREATE TABLE sliding_sync_connection_required_state (
  required_state_id bigint GENERATED ALWAYS AS IDENTITY,
  connection_key bigint NOT NULL,
  required_state text NOT NULL,
  CONSTRAINT sliding_sync_connection_required_state_pkey PRIMARY KEY (required_state_id)
);
CREATE TABLE sliding_sync_connection_room_configs (
  connection_position bigint NOT NULL,
  room_id text NOT NULL,
  timeline_limit bigint NOT NULL,
  required_state_id bigint NOT NULL
);
CREATE TABLE sliding_sync_connection_streams (
  connection_position bigint NOT NULL,
  stream text NOT NULL,
  room_id text NOT NULL,
  room_status text NOT NULL,
  last_token text
);
CREATE TABLE sliding_sync_connections (
  connection_key bigint GENERATED ALWAYS AS IDENTITY,
  user_id text NOT NULL,
  effective_device_id text NOT NULL,
  conn_id text NOT NULL,
  created_ts bigint NOT NULL,
  last_used_ts bigint,
  CONSTRAINT sliding_sync_connections_pkey PRIMARY KEY (connection_key)
);
CREATE TABLE sliding_sync_joined_rooms (
  room_id text NOT NULL,
  event_stream_ordering bigint NOT NULL,
  bump_stamp bigint,
  room_type text,
  room_name text,
  is_encrypted boolean DEFAULT false NOT NULL,
  tombstone_successor_room_id text,
  CONSTRAINT sliding_sync_joined_rooms_pkey PRIMARY KEY (room_id)
);
CREATE TABLE sliding_sync_joined_rooms_to_recalculate (
  room_id text NOT NULL,
  CONSTRAINT sliding_sync_joined_rooms_to_recalculate_pkey PRIMARY KEY (room_id)
);
CREATE TABLE sliding_sync_membership_snapshots (
  room_id text NOT NULL,
  user_id text NOT NULL,
  sender text NOT NULL,
  membership_event_id text NOT NULL,
  membership text NOT NULL,
  forgotten integer DEFAULT 0 NOT NULL,
  event_stream_ordering bigint NOT NULL,
  event_instance_name text NOT NULL,
  has_known_state boolean DEFAULT false NOT NULL,
  room_type text,
  room_name text,
  is_encrypted boolean DEFAULT false NOT NULL,
  tombstone_successor_room_id text,
  CONSTRAINT sliding_sync_membership_snapshots_pkey PRIMARY KEY (room_id, user_id)
);
CREATE TABLE state_events (
  event_id text NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  prev_state text,
  CONSTRAINT state_events_event_id_key UNIQUE (event_id)
);
CREATE TABLE state_group_edges (
  state_group bigint NOT NULL,
  prev_state_group bigint NOT NULL
);
CREATE TABLE state_groups (
  id bigint NOT NULL,
  room_id text NOT NULL,
  event_id text NOT NULL,
  CONSTRAINT state_groups_pkey PRIMARY KEY (id)
);
CREATE TABLE state_groups_pending_deletion (
  sequence_number bigint GENERATED ALWAYS AS IDENTITY,
  state_group bigint NOT NULL,
  insertion_ts bigint NOT NULL,
  CONSTRAINT state_groups_pending_deletion_pkey PRIMARY KEY (sequence_number)
);
CREATE TABLE state_groups_persisting (
  state_group bigint NOT NULL,
  instance_name text NOT NULL,
  CONSTRAINT state_groups_persisting_pkey PRIMARY KEY (state_group, instance_name)
);
CREATE TABLE state_groups_state (
  state_group bigint NOT NULL,
  room_id text NOT NULL,
  type text NOT NULL,
  state_key text NOT NULL,
  event_id text NOT NULL
);
CREATE TABLE stats_incremental_position (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_id bigint NOT NULL,
  CONSTRAINT stats_incremental_position_lock_key UNIQUE (lock),
  CONSTRAINT stats_incremental_position_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE sticky_events (
  stream_id integer NOT NULL,
  instance_name text NOT NULL,
  event_id text NOT NULL,
  room_id text NOT NULL,
  event_stream_ordering integer NOT NULL,
  sender text NOT NULL,
  expires_at bigint NOT NULL,
  CONSTRAINT sticky_events_pkey PRIMARY KEY (stream_id),
  CONSTRAINT sticky_events_event_stream_ordering_key UNIQUE (event_stream_ordering)
);
CREATE TABLE stream_ordering_to_exterm (
  stream_ordering bigint NOT NULL,
  room_id text NOT NULL,
  event_id text NOT NULL
);
CREATE TABLE stream_positions (
  stream_name text NOT NULL,
  instance_name text NOT NULL,
  stream_id bigint NOT NULL
);
CREATE TABLE thread_subscriptions (
  stream_id integer NOT NULL,
  instance_name text NOT NULL,
  room_id text NOT NULL,
  event_id text NOT NULL,
  user_id text NOT NULL,
  subscribed boolean NOT NULL,
  automatic boolean NOT NULL,
  unsubscribed_at_stream_ordering bigint,
  unsubscribed_at_topological_ordering bigint,
  CONSTRAINT thread_subscriptions_pkey PRIMARY KEY (stream_id),
  CONSTRAINT thread_subscriptions_room_id_event_id_user_id_key UNIQUE (room_id, event_id, user_id)
);
CREATE TABLE threads (
  room_id text NOT NULL,
  thread_id text NOT NULL,
  latest_event_id text NOT NULL,
  topological_ordering bigint NOT NULL,
  stream_ordering bigint NOT NULL,
  CONSTRAINT threads_uniqueness UNIQUE (room_id, thread_id)
);
CREATE TABLE threepid_guest_access_tokens (
  medium text,
  address text,
  guest_access_token text,
  first_inviter text
);
CREATE TABLE threepid_validation_session (
  session_id text NOT NULL,
  medium text NOT NULL,
  address text NOT NULL,
  client_secret text NOT NULL,
  last_send_attempt bigint NOT NULL,
  validated_at bigint,
  CONSTRAINT threepid_validation_session_pkey PRIMARY KEY (session_id)
);
CREATE TABLE threepid_validation_token (
  token text NOT NULL,
  session_id text NOT NULL,
  next_link text,
  expires bigint NOT NULL,
  CONSTRAINT threepid_validation_token_pkey PRIMARY KEY (token)
);
CREATE TABLE timeline_gaps (
  room_id text NOT NULL,
  instance_name text NOT NULL,
  stream_ordering bigint NOT NULL
);
CREATE TABLE ui_auth_sessions (
  session_id text NOT NULL,
  creation_time bigint NOT NULL,
  serverdict text NOT NULL,
  clientdict text NOT NULL,
  uri text NOT NULL,
  method text NOT NULL,
  description text NOT NULL,
  CONSTRAINT ui_auth_sessions_session_id_key UNIQUE (session_id)
);
CREATE TABLE ui_auth_sessions_credentials (
  session_id text NOT NULL,
  stage_type text NOT NULL,
  result text NOT NULL,
  CONSTRAINT ui_auth_sessions_credentials_session_id_stage_type_key UNIQUE (session_id, stage_type)
);
CREATE TABLE ui_auth_sessions_ips (
  session_id text NOT NULL,
  ip text NOT NULL,
  user_agent text NOT NULL,
  CONSTRAINT ui_auth_sessions_ips_session_id_ip_user_agent_key UNIQUE (session_id, ip, user_agent)
);
CREATE TABLE un_partial_stated_event_stream (
  stream_id bigint NOT NULL,
  instance_name text NOT NULL,
  event_id text NOT NULL,
  rejection_status_changed boolean NOT NULL,
  CONSTRAINT un_partial_stated_event_stream_pkey PRIMARY KEY (stream_id)
);
CREATE TABLE un_partial_stated_room_stream (
  stream_id bigint NOT NULL,
  instance_name text NOT NULL,
  room_id text NOT NULL,
  CONSTRAINT un_partial_stated_room_stream_pkey PRIMARY KEY (stream_id)
);
CREATE TABLE user_daily_visits (
  user_id text NOT NULL,
  device_id text,
  "timestamp" bigint NOT NULL,
  user_agent text
);
CREATE TABLE user_directory (
  user_id text NOT NULL,
  room_id text,
  display_name text,
  avatar_url text
);
CREATE TABLE user_directory_search (
  user_id text NOT NULL,
  vector tsvector
);
CREATE TABLE user_directory_stale_remote_users (
  user_id text NOT NULL,
  user_server_name text NOT NULL,
  next_try_at_ts bigint NOT NULL,
  retry_counter integer NOT NULL,
  CONSTRAINT user_directory_stale_remote_users_pkey PRIMARY KEY (user_id)
);
CREATE TABLE user_directory_stream_pos (
  lock character(1) DEFAULT 'X'::bpchar NOT NULL,
  stream_id bigint,
  CONSTRAINT user_directory_stream_pos_lock_key UNIQUE (lock),
  CONSTRAINT user_directory_stream_pos_lock_check CHECK ((lock = 'X'::bpchar))
);
CREATE TABLE user_external_ids (
  auth_provider text NOT NULL,
  external_id text NOT NULL,
  user_id text NOT NULL,
  CONSTRAINT user_external_ids_auth_provider_external_id_key UNIQUE (auth_provider, external_id)
);
CREATE TABLE user_filters (
  user_id text NOT NULL,
  filter_id bigint NOT NULL,
  filter_json bytea NOT NULL,
  full_user_id text,
  CONSTRAINT full_user_id_not_null CHECK ((full_user_id IS NOT NULL))
);
CREATE TABLE user_ips (
  user_id text NOT NULL,
  access_token text NOT NULL,
  device_id text,
  ip text NOT NULL,
  user_agent text NOT NULL,
  last_seen bigint NOT NULL
);
CREATE TABLE user_reports (
  id bigint NOT NULL,
  received_ts bigint NOT NULL,
  target_user_id text NOT NULL,
  user_id text NOT NULL,
  reason text NOT NULL,
  CONSTRAINT user_reports_pkey PRIMARY KEY (id)
);
CREATE TABLE user_signature_stream (
  stream_id bigint NOT NULL,
  from_user_id text NOT NULL,
  user_ids text NOT NULL,
  instance_name text
);
CREATE TABLE user_stats_current (
  user_id text NOT NULL,
  joined_rooms bigint NOT NULL,
  completed_delta_stream_id bigint NOT NULL,
  CONSTRAINT user_stats_current_pkey PRIMARY KEY (user_id)
);
CREATE TABLE user_threepid_id_server (
  user_id text NOT NULL,
  medium text NOT NULL,
  address text NOT NULL,
  id_server text NOT NULL
);
CREATE TABLE user_threepids (
  user_id text NOT NULL,
  medium text NOT NULL,
  address text NOT NULL,
  validated_at bigint NOT NULL,
  added_at bigint NOT NULL,
  CONSTRAINT medium_address UNIQUE (medium, address)
);
CREATE TABLE users (
  name text,
  password_hash text,
  creation_ts bigint,
  admin smallint DEFAULT 0 NOT NULL,
  upgrade_ts bigint,
  is_guest smallint DEFAULT 0 NOT NULL,
  appservice_id text,
  consent_version text,
  consent_server_notice_sent text,
  user_type text,
  deactivated smallint DEFAULT 0 NOT NULL,
  shadow_banned boolean,
  consent_ts bigint,
  approved boolean,
  locked boolean DEFAULT false NOT NULL,
  suspended boolean DEFAULT false NOT NULL,
  CONSTRAINT users_name_key UNIQUE (name)
);
CREATE TABLE users_in_public_rooms (
  user_id text NOT NULL,
  room_id text NOT NULL
);
CREATE TABLE users_pending_deactivation (
  user_id text NOT NULL
);
CREATE TABLE users_to_send_full_presence_to (
  user_id text NOT NULL,
  presence_stream_id bigint,
  CONSTRAINT users_to_send_full_presence_to_pkey PRIMARY KEY (user_id)
);
CREATE TABLE users_who_share_private_rooms (
  user_id text NOT NULL,
  other_user_id text NOT NULL,
  room_id text NOT NULL
);
CREATE TABLE worker_locks (
  lock_name text NOT NULL,
  lock_key text NOT NULL,
  instance_name text NOT NULL,
  token text NOT NULL,
  last_renewed_ts bigint NOT NULL
);
CREATE UNLOGGED TABLE worker_read_write_locks (
  lock_name text NOT NULL,
  lock_key text NOT NULL,
  instance_name text NOT NULL,
  write_lock boolean NOT NULL,
  token text NOT NULL,
  last_renewed_ts bigint NOT NULL
);
CREATE UNLOGGED TABLE worker_read_write_locks_mode (
  lock_name text NOT NULL,
  lock_key text NOT NULL,
  write_lock boolean NOT NULL,
  token text NOT NULL
);

-- Sequences that belong to a column.

ALTER SEQUENCE instance_map_instance_id_seq OWNED BY instance_map.instance_id;

-- Indexes.

CREATE INDEX access_tokens_device_id ON access_tokens USING btree (user_id, device_id);
CREATE INDEX access_tokens_refresh_token_id_idx ON access_tokens USING btree (refresh_token_id);
CREATE INDEX account_data_stream_id ON account_data USING btree (user_id, stream_id);
CREATE INDEX application_services_txns_id ON application_services_txns USING btree (as_id);
CREATE UNIQUE INDEX appservice_room_list_idx ON appservice_room_list USING btree (appservice_id, network_id, room_id);
CREATE UNIQUE INDEX blocked_rooms_idx ON blocked_rooms USING btree (room_id);
CREATE UNIQUE INDEX cache_invalidation_stream_by_instance_id ON cache_invalidation_stream_by_instance USING btree (stream_id);
CREATE INDEX cache_invalidation_stream_by_instance_instance_index ON cache_invalidation_stream_by_instance USING btree (instance_name, stream_id);
CREATE INDEX current_state_delta_stream_idx ON current_state_delta_stream USING btree (stream_id);
CREATE INDEX current_state_delta_stream_room_idx ON current_state_delta_stream USING btree (room_id, stream_id);
CREATE INDEX current_state_events_member_index ON current_state_events USING btree (state_key) WHERE (type = 'm.room.member'::text);
CREATE INDEX current_state_events_members_room_index ON current_state_events USING btree (room_id, membership) WHERE (type = 'm.room.member'::text);
CREATE INDEX current_state_events_stream_ordering_idx ON current_state_events USING btree (event_stream_ordering);
CREATE UNIQUE INDEX delayed_events_idx ON delayed_events USING btree (delay_id);
CREATE INDEX delayed_events_is_processed ON delayed_events USING btree (is_processed);
CREATE INDEX delayed_events_room_state_event_idx ON delayed_events USING btree (room_id, event_type, state_key) WHERE (state_key IS NOT NULL);
CREATE INDEX delayed_events_send_ts ON delayed_events USING btree (send_ts);
CREATE INDEX deleted_pushers_stream_id ON deleted_pushers USING btree (stream_id);
CREATE INDEX destination_rooms_room_id ON destination_rooms USING btree (room_id);
CREATE INDEX device_auth_providers_devices ON device_auth_providers USING btree (user_id, device_id);
CREATE INDEX device_auth_providers_sessions ON device_auth_providers USING btree (auth_provider_id, auth_provider_session_id);
CREATE INDEX device_federation_inbox_received_ts_index ON device_federation_inbox USING btree (received_ts);
CREATE INDEX device_federation_inbox_sender_id ON device_federation_inbox USING btree (origin, message_id);
CREATE INDEX device_federation_outbox_destination_id ON device_federation_outbox USING btree (destination, stream_id);
CREATE INDEX device_federation_outbox_id ON device_federation_outbox USING btree (stream_id);
CREATE INDEX device_inbox_stream_id_user_id ON device_inbox USING btree (stream_id, user_id);
CREATE INDEX device_inbox_user_stream_id ON device_inbox USING btree (user_id, device_id, stream_id);
CREATE INDEX device_lists_changes_in_room_by_room_idx ON device_lists_changes_in_room USING btree (room_id, stream_id);
CREATE INDEX device_lists_changes_in_room_inserted_ts_idx ON device_lists_changes_in_room USING btree (inserted_ts) WHERE (inserted_ts IS NOT NULL);
CREATE INDEX device_lists_changes_in_room_unconverted_idx ON device_lists_changes_in_room USING btree (user_id, device_id, room_id, stream_id) WHERE (NOT converted_to_destinations);
CREATE UNIQUE INDEX device_lists_changes_in_stream_id ON device_lists_changes_in_room USING btree (stream_id, room_id);
CREATE INDEX device_lists_changes_in_stream_id_unconverted ON device_lists_changes_in_room USING btree (stream_id) WHERE (NOT converted_to_destinations);
CREATE UNIQUE INDEX device_lists_outbound_last_success_unique_idx ON device_lists_outbound_last_success USING btree (destination, user_id);
CREATE INDEX device_lists_outbound_pokes_id ON device_lists_outbound_pokes USING btree (destination, stream_id);
CREATE INDEX device_lists_outbound_pokes_stream ON device_lists_outbound_pokes USING btree (stream_id);
CREATE INDEX device_lists_outbound_pokes_user ON device_lists_outbound_pokes USING btree (destination, user_id);
CREATE UNIQUE INDEX device_lists_remote_cache_unique_id ON device_lists_remote_cache USING btree (user_id, device_id);
CREATE UNIQUE INDEX device_lists_remote_extremeties_unique_idx ON device_lists_remote_extremeties USING btree (user_id);
CREATE UNIQUE INDEX device_lists_remote_pending_user_device_id ON device_lists_remote_pending USING btree (user_id, device_id);
CREATE UNIQUE INDEX device_lists_remote_resync_idx ON device_lists_remote_resync USING btree (user_id);
CREATE INDEX device_lists_remote_resync_ts_idx ON device_lists_remote_resync USING btree (added_ts);
CREATE INDEX device_lists_stream_id ON device_lists_stream USING btree (stream_id, user_id);
CREATE INDEX device_lists_stream_user_id ON device_lists_stream USING btree (user_id, device_id);
CREATE UNIQUE INDEX e2e_cross_signing_keys_idx ON e2e_cross_signing_keys USING btree (user_id, keytype, stream_id);
CREATE UNIQUE INDEX e2e_cross_signing_keys_stream_idx ON e2e_cross_signing_keys USING btree (stream_id);
CREATE INDEX e2e_cross_signing_signatures2_idx ON e2e_cross_signing_signatures USING btree (user_id, target_user_id, target_device_id);
CREATE INDEX e2e_one_time_keys_json_user_id_device_id_algorithm_ts_added_idx ON e2e_one_time_keys_json USING btree (user_id, device_id, algorithm, ts_added_ms);
CREATE INDEX e2e_room_keys_room_id ON e2e_room_keys USING btree (room_id);
CREATE UNIQUE INDEX e2e_room_keys_with_version_idx ON e2e_room_keys USING btree (user_id, version, room_id, session_id);
CREATE UNIQUE INDEX e2e_room_keys_versions_idx ON e2e_room_keys_versions USING btree (user_id, version);
CREATE UNIQUE INDEX erased_users_user ON erased_users USING btree (user_id);
CREATE INDEX evauth_edges_id ON event_auth USING btree (event_id);
CREATE INDEX event_auth_chain_links_idx ON event_auth_chain_links USING btree (origin_chain_id, target_chain_id);
CREATE INDEX event_auth_chain_links_origin_index ON event_auth_chain_links USING btree (origin_chain_id, origin_sequence_number);
CREATE INDEX event_auth_chain_to_calculate_rm_id ON event_auth_chain_to_calculate USING btree (room_id);
CREATE UNIQUE INDEX event_auth_chains_c_seq_index ON event_auth_chains USING btree (chain_id, sequence_number);
CREATE INDEX ev_b_extrem_id ON event_backward_extremities USING btree (event_id);
CREATE INDEX ev_b_extrem_room ON event_backward_extremities USING btree (room_id);
CREATE INDEX ev_edges_prev_id ON event_edges USING btree (prev_event_id);
CREATE UNIQUE INDEX event_edges_event_id_prev_event_id_idx ON event_edges USING btree (event_id, prev_event_id);
CREATE INDEX event_expiry_expiry_ts_idx ON event_expiry USING btree (expiry_ts);
CREATE INDEX event_failed_pull_attempts_room_id ON event_failed_pull_attempts USING btree (room_id);
CREATE INDEX ev_extrem_id ON event_forward_extremities USING btree (event_id);
CREATE INDEX ev_extrem_room ON event_forward_extremities USING btree (room_id);
CREATE INDEX event_labels_room_id_label_idx ON event_labels USING btree (room_id, label, topological_ordering);
CREATE INDEX event_push_actions_highlights_index ON event_push_actions USING btree (user_id, room_id, topological_ordering, stream_ordering) WHERE (highlight = 1);
CREATE INDEX event_push_actions_rm_tokens ON event_push_actions USING btree (user_id, room_id, topological_ordering, stream_ordering);
CREATE INDEX event_push_actions_room_id_user_id ON event_push_actions USING btree (room_id, user_id);
CREATE INDEX event_push_actions_stream_highlight_index ON event_push_actions USING btree (highlight, stream_ordering) WHERE (highlight = 0);
CREATE INDEX event_push_actions_stream_ordering ON event_push_actions USING btree (stream_ordering, user_id);
CREATE INDEX event_push_actions_u_highlight ON event_push_actions USING btree (user_id, stream_ordering);
CREATE INDEX event_push_actions_staging_id ON event_push_actions_staging USING btree (event_id);
CREATE INDEX event_push_summary_index_room_id ON event_push_summary USING btree (room_id);
CREATE UNIQUE INDEX event_push_summary_unique_index2 ON event_push_summary USING btree (user_id, room_id, thread_id);
CREATE UNIQUE INDEX event_relations_id ON event_relations USING btree (event_id);
CREATE INDEX event_relations_relates ON event_relations USING btree (relates_to_id, relation_type, aggregation_key);
CREATE INDEX event_search_ev_ridx ON event_search USING btree (room_id);
CREATE UNIQUE INDEX event_search_event_id_idx ON event_search USING btree (event_id);
CREATE INDEX event_search_fts_idx ON event_search USING gin (vector);
CREATE INDEX event_to_state_groups_sg_index ON event_to_state_groups USING btree (state_group);
CREATE UNIQUE INDEX event_txn_id_device_id_event_id ON event_txn_id_device_id USING btree (event_id);
CREATE INDEX event_txn_id_device_id_ts ON event_txn_id_device_id USING btree (inserted_ts);
CREATE UNIQUE INDEX event_txn_id_device_id_txn_id2 ON event_txn_id_device_id USING btree (user_id, device_id, room_id, txn_id);
CREATE INDEX event_contains_url_index ON events USING btree (room_id, topological_ordering, stream_ordering) WHERE ((contains_url = true) AND (outlier = false));
CREATE INDEX events_jump_to_date_idx ON events USING btree (room_id, origin_server_ts) WHERE (NOT outlier);
CREATE INDEX events_order_room ON events USING btree (room_id, topological_ordering, stream_ordering);
CREATE INDEX events_room_stream ON events USING btree (room_id, stream_ordering);
CREATE UNIQUE INDEX events_stream_ordering ON events USING btree (stream_ordering);
CREATE INDEX events_ts ON events USING btree (origin_server_ts, stream_ordering);
CREATE INDEX received_ts_idx ON events USING btree (received_ts) WHERE (type = 'm.room.member'::text);
CREATE UNIQUE INDEX federation_inbound_events_staging_instance_event ON federation_inbound_events_staging USING btree (origin, event_id);
CREATE INDEX federation_inbound_events_staging_room ON federation_inbound_events_staging USING btree (room_id, received_ts);
CREATE UNIQUE INDEX federation_stream_position_instance ON federation_stream_position USING btree (type, instance_name);
CREATE INDEX ignored_users_ignored_user_id ON ignored_users USING btree (ignored_user_id);
CREATE UNIQUE INDEX ignored_users_uniqueness ON ignored_users USING btree (ignorer_user_id, ignored_user_id);
CREATE UNIQUE INDEX instance_map_idx ON instance_map USING btree (instance_name);
CREATE UNIQUE INDEX local_current_membership_idx ON local_current_membership USING btree (user_id, room_id);
CREATE INDEX local_current_membership_room_idx ON local_current_membership USING btree (room_id);
CREATE INDEX local_current_membership_stream_ordering_idx ON local_current_membership USING btree (event_stream_ordering);
CREATE INDEX local_media_repository_sha256 ON local_media_repository USING btree (sha256) WHERE (sha256 IS NOT NULL);
CREATE INDEX local_media_repository_url_idx ON local_media_repository USING btree (created_ts) WHERE (url_cache IS NOT NULL);
CREATE INDEX users_have_local_media ON local_media_repository USING btree (user_id, created_ts);
CREATE UNIQUE INDEX local_media_repository_thumbn_media_id_width_height_method_key ON local_media_repository_thumbnails USING btree (media_id, thumbnail_width, thumbnail_height, thumbnail_type, thumbnail_method);
CREATE INDEX local_media_repository_thumbnails_media_id ON local_media_repository_thumbnails USING btree (media_id);
CREATE INDEX local_media_repository_url_cache_by_url_download_ts ON local_media_repository_url_cache USING btree (url, download_ts);
CREATE INDEX local_media_repository_url_cache_expires_idx ON local_media_repository_url_cache USING btree (expires_ts);
CREATE INDEX local_media_repository_url_cache_media_idx ON local_media_repository_url_cache USING btree (media_id);
CREATE INDEX login_tokens_auth_provider_idx ON login_tokens USING btree (auth_provider_id, auth_provider_session_id);
CREATE INDEX login_tokens_expiry_time_idx ON login_tokens USING btree (expiry_ts);
CREATE INDEX monthly_active_users_time_stamp ON monthly_active_users USING btree ("timestamp");
CREATE UNIQUE INDEX monthly_active_users_users ON monthly_active_users USING btree (user_id);
CREATE UNIQUE INDEX msc4242_state_dag_edges_key ON msc4242_state_dag_edges USING btree (room_id, event_id, prev_state_event_id);
CREATE INDEX msc4242_state_dag_room ON msc4242_state_dag_forward_extremities USING btree (room_id);
CREATE INDEX open_id_tokens_ts_valid_until_ms ON open_id_tokens USING btree (ts_valid_until_ms);
CREATE INDEX partial_state_events_room_id_idx ON partial_state_events USING btree (room_id);
CREATE INDEX presence_stream_id ON presence_stream USING btree (stream_id, user_id);
CREATE INDEX presence_stream_state_not_offline_idx ON presence_stream USING btree (state) WHERE (state <> 'offline'::text);
CREATE INDEX presence_stream_user_id ON presence_stream USING btree (user_id);
CREATE INDEX profile_updates_by_user ON profile_updates USING btree (user_id, stream_id);
CREATE UNIQUE INDEX profiles_full_user_id_key ON profiles USING btree (full_user_id);
CREATE INDEX push_rules_user_name ON push_rules USING btree (user_name);
CREATE INDEX push_rules_enable_user_name ON push_rules_enable USING btree (user_name);
CREATE INDEX push_rules_stream_id ON push_rules_stream USING btree (stream_id);
CREATE INDEX push_rules_stream_user_stream_id ON push_rules_stream USING btree (user_id, stream_id);
CREATE UNIQUE INDEX ratelimit_override_idx ON ratelimit_override USING btree (user_id);
CREATE UNIQUE INDEX receipts_graph_unique_index ON receipts_graph USING btree (room_id, receipt_type, user_id) WHERE (thread_id IS NULL);
CREATE INDEX receipts_linearized_event_id ON receipts_linearized USING btree (room_id, event_id);
CREATE INDEX receipts_linearized_id ON receipts_linearized USING btree (stream_id);
CREATE INDEX receipts_linearized_room_stream ON receipts_linearized USING btree (room_id, stream_id);
CREATE UNIQUE INDEX receipts_linearized_unique_index ON receipts_linearized USING btree (room_id, receipt_type, user_id) WHERE (thread_id IS NULL);
CREATE INDEX receipts_linearized_user ON receipts_linearized USING btree (user_id);
CREATE INDEX received_transactions_ts ON received_transactions USING btree (ts);
CREATE INDEX redactions_have_censored_ts ON redactions USING btree (received_ts) WHERE (NOT have_censored);
CREATE INDEX redactions_redacts ON redactions USING btree (redacts);
CREATE INDEX refresh_tokens_next_token_id ON refresh_tokens USING btree (next_token_id) WHERE (next_token_id IS NOT NULL);
CREATE INDEX remote_media_cache_sha256 ON remote_media_cache USING btree (sha256) WHERE (sha256 IS NOT NULL);
CREATE UNIQUE INDEX remote_media_repository_thumbn_media_origin_id_width_height_met ON remote_media_cache_thumbnails USING btree (media_origin, media_id, thumbnail_width, thumbnail_height, thumbnail_type, thumbnail_method);
CREATE INDEX room_account_data_room_id ON room_account_data USING btree (room_id);
CREATE INDEX room_account_data_stream_id ON room_account_data USING btree (user_id, stream_id);
CREATE INDEX room_alias_servers_alias ON room_alias_servers USING btree (room_alias);
CREATE INDEX room_aliases_id ON room_aliases USING btree (room_id);
CREATE INDEX room_membership_user_room_idx ON room_memberships USING btree (user_id, room_id);
CREATE INDEX room_memberships_room_id ON room_memberships USING btree (room_id);
CREATE INDEX room_memberships_stream_ordering_idx ON room_memberships USING btree (event_stream_ordering);
CREATE INDEX room_memberships_user_id ON room_memberships USING btree (user_id);
CREATE INDEX room_memberships_user_room_forgotten ON room_memberships USING btree (user_id, room_id) WHERE (forgotten = 1);
CREATE INDEX room_retention_max_lifetime_idx ON room_retention USING btree (max_lifetime);
CREATE UNIQUE INDEX room_stats_earliest_token_idx ON room_stats_earliest_token USING btree (room_id);
CREATE UNIQUE INDEX room_stats_state_room ON room_stats_state USING btree (room_id);
CREATE INDEX public_room_index ON rooms USING btree (is_public);
CREATE INDEX scheduled_tasks_status ON scheduled_tasks USING btree (status);
CREATE INDEX scheduled_tasks_timestamp ON scheduled_tasks USING btree ("timestamp");
CREATE INDEX sliding_sync_connection_lazy_members_conn_pos_idx ON sliding_sync_connection_lazy_members USING btree (connection_position) WHERE (connection_position IS NOT NULL);
CREATE UNIQUE INDEX sliding_sync_connection_lazy_members_idx ON sliding_sync_connection_lazy_members USING btree (connection_key, room_id, user_id);
CREATE INDEX sliding_sync_connection_lazy_members_pos_idx ON sliding_sync_connection_lazy_members USING btree (connection_key, connection_position) WHERE (connection_position IS NOT NULL);
CREATE INDEX sliding_sync_connection_positions_key ON sliding_sync_connection_positions USING btree (connection_key);
CREATE INDEX sliding_sync_connection_positions_ts_idx ON sliding_sync_connection_positions USING btree (created_ts);
CREATE INDEX sliding_sync_connection_required_state_conn_pos ON sliding_sync_connection_required_state USING btree (connection_key);
CREATE UNIQUE INDEX sliding_sync_connection_room_configs_idx ON sliding_sync_connection_room_configs USING btree (connection_position, room_id);
CREATE INDEX sliding_sync_connection_room_configs_required_state_id_idx ON sliding_sync_connection_room_configs USING btree (required_state_id);
CREATE UNIQUE INDEX sliding_sync_connection_streams_idx ON sliding_sync_connection_streams USING btree (connection_position, room_id, stream);
CREATE INDEX sliding_sync_connections_idx ON sliding_sync_connections USING btree (user_id, effective_device_id, conn_id);
CREATE INDEX sliding_sync_connections_last_used_ts_idx ON sliding_sync_connections USING btree (last_used_ts) WHERE (last_used_ts IS NOT NULL);
CREATE INDEX sliding_sync_connections_ts_idx ON sliding_sync_connections USING btree (created_ts);
CREATE UNIQUE INDEX sliding_sync_joined_rooms_event_stream_ordering ON sliding_sync_joined_rooms USING btree (event_stream_ordering);
CREATE UNIQUE INDEX sliding_sync_membership_snapshots_event_stream_ordering ON sliding_sync_membership_snapshots USING btree (event_stream_ordering);
CREATE INDEX sliding_sync_membership_snapshots_membership_event_id_idx ON sliding_sync_membership_snapshots USING btree (membership_event_id);
CREATE INDEX sliding_sync_membership_snapshots_user_id_stream_ordering ON sliding_sync_membership_snapshots USING btree (user_id, event_stream_ordering);
CREATE INDEX state_group_edges_prev_idx ON state_group_edges USING btree (prev_state_group);
CREATE UNIQUE INDEX state_group_edges_unique_idx ON state_group_edges USING btree (state_group, prev_state_group);
CREATE INDEX state_groups_room_id_idx ON state_groups USING btree (room_id);
CREATE INDEX state_groups_pending_deletion_insertion_ts ON state_groups_pending_deletion USING btree (insertion_ts);
CREATE UNIQUE INDEX state_groups_pending_deletion_state_group ON state_groups_pending_deletion USING btree (state_group);
CREATE INDEX state_groups_persisting_instance_name ON state_groups_persisting USING btree (instance_name);
CREATE INDEX state_groups_state_type_idx ON state_groups_state USING btree (state_group, type, state_key);
CREATE INDEX sticky_events_room_idx ON sticky_events USING btree (room_id, event_stream_ordering);
CREATE INDEX stream_ordering_to_exterm_idx ON stream_ordering_to_exterm USING btree (stream_ordering);
CREATE INDEX stream_ordering_to_exterm_rm_idx ON stream_ordering_to_exterm USING btree (room_id, stream_ordering);
CREATE UNIQUE INDEX stream_positions_idx ON stream_positions USING btree (stream_name, instance_name);
CREATE INDEX thread_subscriptions_by_event ON thread_subscriptions USING btree (event_id);
CREATE INDEX thread_subscriptions_by_user ON thread_subscriptions USING btree (user_id, stream_id);
CREATE INDEX thread_subscriptions_user_room ON thread_subscriptions USING btree (user_id, room_id);
CREATE INDEX threads_ordering_idx ON threads USING btree (room_id, topological_ordering, stream_ordering);
CREATE UNIQUE INDEX threepid_guest_access_tokens_index ON threepid_guest_access_tokens USING btree (medium, address);
CREATE INDEX threepid_validation_token_session_id ON threepid_validation_token USING btree (session_id);
CREATE INDEX timeline_gaps_room_id ON timeline_gaps USING btree (room_id, stream_ordering);
CREATE UNIQUE INDEX un_partial_stated_event_stream_room_id ON un_partial_stated_event_stream USING btree (event_id);
CREATE INDEX un_partial_stated_room_stream_room_id ON un_partial_stated_room_stream USING btree (room_id);
CREATE INDEX user_daily_visits_ts_idx ON user_daily_visits USING btree ("timestamp");
CREATE INDEX user_daily_visits_uts_idx ON user_daily_visits USING btree (user_id, "timestamp");
CREATE INDEX user_directory_room_idx ON user_directory USING btree (room_id);
CREATE UNIQUE INDEX user_directory_user_idx ON user_directory USING btree (user_id);
CREATE INDEX user_directory_search_fts_idx ON user_directory_search USING gin (vector);
CREATE UNIQUE INDEX user_directory_search_user_idx ON user_directory_search USING btree (user_id);
CREATE INDEX user_directory_stale_remote_users_next_try_by_server_idx ON user_directory_stale_remote_users USING btree (user_server_name, next_try_at_ts);
CREATE INDEX user_directory_stale_remote_users_next_try_idx ON user_directory_stale_remote_users USING btree (next_try_at_ts, user_server_name);
CREATE INDEX user_external_ids_user_id_idx ON user_external_ids USING btree (user_id);
CREATE UNIQUE INDEX full_users_unique_idx ON user_filters USING btree (full_user_id, filter_id);
CREATE UNIQUE INDEX user_filters_unique ON user_filters USING btree (user_id, filter_id);
CREATE INDEX user_ips_device_id ON user_ips USING btree (user_id, device_id, last_seen);
CREATE INDEX user_ips_last_seen ON user_ips USING btree (user_id, last_seen);
CREATE INDEX user_ips_last_seen_only ON user_ips USING btree (last_seen);
CREATE UNIQUE INDEX user_ips_user_token_ip_unique_index ON user_ips USING btree (user_id, access_token, ip);
CREATE INDEX user_reports_target_user_id ON user_reports USING btree (target_user_id);
CREATE INDEX user_reports_user_id ON user_reports USING btree (user_id);
CREATE UNIQUE INDEX user_signature_stream_idx ON user_signature_stream USING btree (stream_id);
CREATE UNIQUE INDEX user_threepid_id_server_idx ON user_threepid_id_server USING btree (user_id, medium, address, id_server);
CREATE INDEX user_threepids_medium_address ON user_threepids USING btree (medium, address);
CREATE INDEX user_threepids_user_id ON user_threepids USING btree (user_id);
CREATE INDEX users_creation_ts ON users USING btree (creation_ts);
CREATE INDEX users_in_public_rooms_r_idx ON users_in_public_rooms USING btree (room_id);
CREATE UNIQUE INDEX users_in_public_rooms_u_idx ON users_in_public_rooms USING btree (user_id, room_id);
CREATE INDEX users_who_share_private_rooms_o_idx ON users_who_share_private_rooms USING btree (other_user_id);
CREATE INDEX users_who_share_private_rooms_r_idx ON users_who_share_private_rooms USING btree (room_id);
CREATE UNIQUE INDEX users_who_share_private_rooms_u_idx ON users_who_share_private_rooms USING btree (user_id, other_user_id, room_id);
CREATE UNIQUE INDEX worker_locks_key ON worker_locks USING btree (lock_name, lock_key);
CREATE UNIQUE INDEX worker_read_write_locks_key ON worker_read_write_locks USING btree (lock_name, lock_key, token);
CREATE UNIQUE INDEX worker_read_write_locks_write ON worker_read_write_locks USING btree (lock_name, lock_key) WHERE write_lock;
CREATE UNIQUE INDEX worker_read_write_locks_mode_key ON worker_read_write_locks_mode USING btree (lock_name, lock_key);
CREATE UNIQUE INDEX worker_read_write_locks_mode_type ON worker_read_write_locks_mode USING btree (lock_name, lock_key, write_lock);

-- Foreign keys.

ALTER TABLE access_tokens ADD CONSTRAINT access_tokens_refresh_token_id_fkey FOREIGN KEY (refresh_token_id) REFERENCES refresh_tokens (id) ON DELETE CASCADE;
ALTER TABLE current_state_events ADD CONSTRAINT event_stream_ordering_fkey FOREIGN KEY (event_stream_ordering) REFERENCES events (stream_ordering) NOT VALID;
ALTER TABLE destination_rooms ADD CONSTRAINT destination_rooms_destination_fkey FOREIGN KEY (destination) REFERENCES destinations (destination);
ALTER TABLE destination_rooms ADD CONSTRAINT destination_rooms_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id);
ALTER TABLE event_edges ADD CONSTRAINT event_edges_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id);
ALTER TABLE event_failed_pull_attempts ADD CONSTRAINT event_failed_pull_attempts_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id);
ALTER TABLE event_forward_extremities ADD CONSTRAINT event_forward_extremities_event_id FOREIGN KEY (event_id) REFERENCES events (event_id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE event_txn_id_device_id ADD CONSTRAINT event_txn_id_device_id_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE;
ALTER TABLE event_txn_id_device_id ADD CONSTRAINT event_txn_id_device_id_user_id_device_id_fkey FOREIGN KEY (user_id, device_id) REFERENCES devices (user_id, device_id) ON DELETE CASCADE;
ALTER TABLE local_current_membership ADD CONSTRAINT event_stream_ordering_fkey FOREIGN KEY (event_stream_ordering) REFERENCES events (stream_ordering) NOT VALID;
ALTER TABLE msc4242_state_dag_edges ADD CONSTRAINT msc4242_state_dag_edges_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id);
ALTER TABLE msc4242_state_dag_edges ADD CONSTRAINT msc4242_state_dag_edges_prev_state_event_id_fkey FOREIGN KEY (prev_state_event_id) REFERENCES events (event_id);
ALTER TABLE msc4242_state_dag_edges ADD CONSTRAINT msc4242_state_dag_edges_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id) ON DELETE CASCADE;
ALTER TABLE msc4242_state_dag_forward_extremities ADD CONSTRAINT msc4242_state_dag_forward_extremities_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE;
ALTER TABLE msc4242_state_dag_forward_extremities ADD CONSTRAINT msc4242_state_dag_forward_extremities_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id) ON DELETE CASCADE;
ALTER TABLE partial_state_events ADD CONSTRAINT partial_state_events_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id);
ALTER TABLE partial_state_events ADD CONSTRAINT partial_state_events_room_id_fkey FOREIGN KEY (room_id) REFERENCES partial_state_rooms (room_id);
ALTER TABLE partial_state_rooms ADD CONSTRAINT partial_state_rooms_join_event_id_fkey FOREIGN KEY (join_event_id) REFERENCES events (event_id);
ALTER TABLE partial_state_rooms ADD CONSTRAINT partial_state_rooms_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id);
ALTER TABLE partial_state_rooms_servers ADD CONSTRAINT partial_state_rooms_servers_room_id_fkey FOREIGN KEY (room_id) REFERENCES partial_state_rooms (room_id);
ALTER TABLE per_user_experimental_features ADD CONSTRAINT per_user_experimental_features_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (name);
ALTER TABLE profile_updates_per_user ADD CONSTRAINT profile_updates_per_user_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES profile_updates (stream_id);
ALTER TABLE refresh_tokens ADD CONSTRAINT refresh_tokens_next_token_id_fkey FOREIGN KEY (next_token_id) REFERENCES refresh_tokens (id) ON DELETE CASCADE;
ALTER TABLE room_memberships ADD CONSTRAINT event_stream_ordering_fkey FOREIGN KEY (event_stream_ordering) REFERENCES events (stream_ordering) NOT VALID;
ALTER TABLE sliding_sync_connection_lazy_members ADD CONSTRAINT sliding_sync_connection_lazy_members_connection_key_fkey FOREIGN KEY (connection_key) REFERENCES sliding_sync_connections (connection_key) ON DELETE CASCADE;
ALTER TABLE sliding_sync_connection_lazy_members ADD CONSTRAINT sliding_sync_connection_lazy_members_connection_position_fkey FOREIGN KEY (connection_position) REFERENCES sliding_sync_connection_positions (connection_position) ON DELETE CASCADE;
ALTER TABLE sliding_sync_connection_positions ADD CONSTRAINT sliding_sync_connection_positions_connection_key_fkey FOREIGN KEY (connection_key) REFERENCES sliding_sync_connections (connection_key) ON DELETE CASCADE;
ALTER TABLE sliding_sync_connection_required_state ADD CONSTRAINT sliding_sync_connection_required_state_connection_key_fkey FOREIGN KEY (connection_key) REFERENCES sliding_sync_connections (connection_key) ON DELETE CASCADE;
ALTER TABLE sliding_sync_connection_room_configs ADD CONSTRAINT sliding_sync_connection_room_configs_connection_position_fkey FOREIGN KEY (connection_position) REFERENCES sliding_sync_connection_positions (connection_position) ON DELETE CASCADE;
ALTER TABLE sliding_sync_connection_room_configs ADD CONSTRAINT sliding_sync_connection_room_configs_required_state_id_fkey FOREIGN KEY (required_state_id) REFERENCES sliding_sync_connection_required_state (required_state_id);
ALTER TABLE sliding_sync_connection_streams ADD CONSTRAINT sliding_sync_connection_streams_connection_position_fkey FOREIGN KEY (connection_position) REFERENCES sliding_sync_connection_positions (connection_position) ON DELETE CASCADE;
ALTER TABLE sliding_sync_joined_rooms ADD CONSTRAINT sliding_sync_joined_rooms_event_stream_ordering_fkey FOREIGN KEY (event_stream_ordering) REFERENCES events (stream_ordering);
ALTER TABLE sliding_sync_joined_rooms ADD CONSTRAINT sliding_sync_joined_rooms_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id);
ALTER TABLE sliding_sync_joined_rooms_to_recalculate ADD CONSTRAINT sliding_sync_joined_rooms_to_recalculate_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id);
ALTER TABLE sliding_sync_membership_snapshots ADD CONSTRAINT sliding_sync_membership_snapshots_event_stream_ordering_fkey FOREIGN KEY (event_stream_ordering) REFERENCES events (stream_ordering);
ALTER TABLE sliding_sync_membership_snapshots ADD CONSTRAINT sliding_sync_membership_snapshots_membership_event_id_fkey FOREIGN KEY (membership_event_id) REFERENCES events (event_id);
ALTER TABLE sliding_sync_membership_snapshots ADD CONSTRAINT sliding_sync_membership_snapshots_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id);
ALTER TABLE thread_subscriptions ADD CONSTRAINT thread_subscriptions_fk_events FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE;
ALTER TABLE thread_subscriptions ADD CONSTRAINT thread_subscriptions_fk_rooms FOREIGN KEY (room_id) REFERENCES rooms (room_id) ON DELETE CASCADE;
ALTER TABLE thread_subscriptions ADD CONSTRAINT thread_subscriptions_fk_users FOREIGN KEY (user_id) REFERENCES users (name);
ALTER TABLE ui_auth_sessions_credentials ADD CONSTRAINT ui_auth_sessions_credentials_session_id_fkey FOREIGN KEY (session_id) REFERENCES ui_auth_sessions (session_id);
ALTER TABLE ui_auth_sessions_ips ADD CONSTRAINT ui_auth_sessions_ips_session_id_fkey FOREIGN KEY (session_id) REFERENCES ui_auth_sessions (session_id);
ALTER TABLE un_partial_stated_event_stream ADD CONSTRAINT un_partial_stated_event_stream_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE;
ALTER TABLE un_partial_stated_room_stream ADD CONSTRAINT un_partial_stated_room_stream_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id) ON DELETE CASCADE;
ALTER TABLE users_to_send_full_presence_to ADD CONSTRAINT users_to_send_full_presence_to_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (name);
ALTER TABLE worker_read_write_locks ADD CONSTRAINT worker_read_write_locks_lock_name_lock_key_write_lock_fkey FOREIGN KEY (lock_name, lock_key, write_lock) REFERENCES worker_read_write_locks_mode (lock_name, lock_key, write_lock);
ALTER TABLE worker_read_write_locks_mode ADD CONSTRAINT worker_read_write_locks_mode_foreign FOREIGN KEY (lock_name, lock_key, token) REFERENCES worker_read_write_locks (lock_name, lock_key, token) DEFERRABLE INITIALLY DEFERRED;

-- Trigger functions.

-- The three membership tables repeat the position of their event: it must be that of the event, once the event is stored.
CREATE FUNCTION check_event_stream_ordering() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  stored bigint;
BEGIN
  SELECT e.stream_ordering INTO stored FROM events AS e WHERE e.event_id = NEW.event_id;
  IF stored <> NEW.event_stream_ordering THEN
    RAISE EXCEPTION 'Incorrect event_stream_ordering';
  END IF;
  RETURN NEW;
END
$body$;

CREATE FUNCTION check_partial_state_events() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  stored text;
BEGIN
  SELECT e.room_id INTO stored FROM events AS e WHERE e.event_id = NEW.event_id;
  IF stored <> NEW.room_id THEN
    RAISE EXCEPTION 'Incorrect room_id in partial_state_events';
  END IF;
  RETURN NEW;
END
$body$;

-- A lock is one row of worker_read_write_locks_mode, the mode in which it is held, and a row for each holder. The first holder
-- makes the mode; later ones lock the row as it is, and their foreign key fails when the mode is the other one.
CREATE FUNCTION upsert_read_write_lock_parent() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  INSERT INTO worker_read_write_locks_mode AS held (lock_name, lock_key, write_lock, token)
  VALUES (NEW.lock_name, NEW.lock_key, NEW.write_lock, NEW.token)
  ON CONFLICT (lock_name, lock_key) DO UPDATE SET token = held.token WHERE false;
  RETURN NEW;
END
$body$;

-- The mode names one holder. When that one goes, another takes its place; when nobody is left, the mode goes too.
CREATE FUNCTION delete_read_write_lock_parent() RETURNS trigger LANGUAGE plpgsql AS $body$
DECLARE
  heir text;
BEGIN
  PERFORM FROM worker_read_write_locks_mode AS held
  WHERE held.lock_name = OLD.lock_name AND held.lock_key = OLD.lock_key AND held.token = OLD.token
  FOR UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  SELECT holder.token INTO heir FROM worker_read_write_locks AS holder
  WHERE holder.lock_name = OLD.lock_name AND holder.lock_key = OLD.lock_key
  LIMIT 1 FOR UPDATE SKIP LOCKED;
  IF FOUND THEN
    UPDATE worker_read_write_locks_mode SET token = heir WHERE lock_name = OLD.lock_name AND lock_key = OLD.lock_key;
  ELSE
    DELETE FROM worker_read_write_locks_mode WHERE lock_name = OLD.lock_name AND lock_key = OLD.lock_key;
  END IF;
  RETURN NULL;
END
$body$;

-- Triggers.

CREATE TRIGGER check_event_stream_ordering BEFORE INSERT OR UPDATE ON current_state_events
  FOR EACH ROW EXECUTE FUNCTION check_event_stream_ordering();
CREATE TRIGGER check_event_stream_ordering BEFORE INSERT OR UPDATE ON local_current_membership
  FOR EACH ROW EXECUTE FUNCTION check_event_stream_ordering();
CREATE TRIGGER check_partial_state_events BEFORE INSERT OR UPDATE ON partial_state_events
  FOR EACH ROW EXECUTE FUNCTION check_partial_state_events();
CREATE TRIGGER check_event_stream_ordering BEFORE INSERT OR UPDATE ON room_memberships
  FOR EACH ROW EXECUTE FUNCTION check_event_stream_ordering();
CREATE TRIGGER delete_read_write_lock_parent_trigger AFTER DELETE ON worker_read_write_locks
  FOR EACH ROW EXECUTE FUNCTION delete_read_write_lock_parent();
CREATE TRIGGER upsert_read_write_lock_parent_trigger BEFORE INSERT ON worker_read_write_locks
  FOR EACH ROW EXECUTE FUNCTION upsert_read_write_lock_parent();

-- What the planner is told of columns that samples misjudge.

ALTER TABLE event_auth_chain_links ALTER COLUMN origin_chain_id SET (n_distinct=-0.5);
ALTER TABLE event_auth_chain_links ALTER COLUMN target_chain_id SET (n_distinct=-0.5);
ALTER TABLE event_search ALTER COLUMN room_id SET (n_distinct=-0.01);
ALTER TABLE state_groups_state ALTER COLUMN state_group SET (n_distinct=-0.02);

-- Rows that each database has.

INSERT INTO appservice_stream_position (lock, stream_ordering) VALUES
  ('X', 0);
INSERT INTO delayed_events_stream_pos (lock, stream_id) VALUES
  ('X', 0);
INSERT INTO device_lists_changes_converted_stream_position (lock, stream_id, room_id, instance_name) VALUES
  ('X', 1, '', NULL);
INSERT INTO device_lists_changes_in_room_max_pruned_stream_id (lock, stream_id) VALUES
  ('X', 0);
INSERT INTO event_push_summary_last_receipt_stream_id (lock, stream_id) VALUES
  ('X', 0);
INSERT INTO event_push_summary_stream_ordering (lock, stream_ordering) VALUES
  ('X', 0);
INSERT INTO federation_stream_position (type, stream_id, instance_name) VALUES
  ('federation', -1, 'master'),
  ('events', -1, 'master');
INSERT INTO room_forgetter_stream_pos (lock, stream_id) VALUES
  ('X', 0);
INSERT INTO schema_compat_version (lock, compat_version) VALUES
  ('X', 84);
INSERT INTO schema_version (lock, version, upgraded) VALUES
  ('X', 94, true);
INSERT INTO stats_incremental_position (lock, stream_id) VALUES
  ('X', 1);
INSERT INTO user_directory_stream_pos (lock, stream_id) VALUES
  ('X', -1);
INSERT INTO scheduled_tasks (id, action, status, "timestamp") VALUES
  ('delete_old_otks_task', 'delete_old_otks', 'scheduled', (EXTRACT(epoch FROM now()) * 1000)::bigint);

-- The deltas that this schema contains.

INSERT INTO applied_schema_deltas (version, file) VALUES
  (73, '73/01event_failed_pull_attempts.sql'),
  (73, '73/02add_pusher_enabled.sql'),
  (73, '73/02room_id_indexes_for_purging.sql'),
  (73, '73/03pusher_device_id.sql'),
  (73, '73/03users_approved_column.sql'),
  (73, '73/04partial_join_details.sql'),
  (73, '73/04pending_device_list_updates.sql'),
  (73, '73/05old_push_actions.sql.postgres'),
  (73, '73/06thread_notifications_thread_id_idx.sql'),
  (73, '73/08thread_receipts_non_null.sql.postgres'),
  (73, '73/09partial_joined_via_destination.sql'),
  (73, '73/09threads_table.sql'),
  (73, '73/10_update_sqlite_fts4_tokenizer.py'),
  (73, '73/10login_tokens.sql'),
  (73, '73/11event_search_room_id_n_distinct.sql.postgres'),
  (73, '73/12refactor_device_list_outbound_pokes.sql'),
  (73, '73/13add_device_lists_index.sql'),
  (73, '73/20_un_partial_stated_room_stream.sql'),
  (73, '73/21_un_partial_stated_room_stream_seq.sql.postgres'),
  (73, '73/22_rebuild_user_dir_stats.sql'),
  (73, '73/22_un_partial_stated_event_stream.sql'),
  (73, '73/23_fix_thread_index.sql'),
  (73, '73/23_un_partial_stated_room_stream_seq.sql.postgres'),
  (73, '73/24_events_jump_to_date_index.sql'),
  (73, '73/25drop_presence.sql'),
  (74, '74/01_user_directory_stale_remote_users.sql'),
  (74, '74/02_set_device_id_for_pushers_bg_update.sql'),
  (74, '74/03_membership_tables_event_stream_ordering.sql.postgres'),
  (74, '74/03_room_membership_index.sql'),
  (74, '74/04_delete_e2e_backup_keys_for_deactivated_users.sql'),
  (74, '74/04_membership_tables_event_stream_ordering_triggers.py'),
  (74, '74/05_events_txn_id_device_id.sql'),
  (74, '74/90COMMENTS_destinations.sql.postgres'),
  (76, '76/01_add_profiles_full_user_id_column.sql'),
  (76, '76/02_add_user_filters_full_user_id_column.sql'),
  (76, '76/03_per_user_experimental_features.sql'),
  (76, '76/04_add_room_forgetter.sql'),
  (77, '77/01_add_profiles_not_valid_check.sql.postgres'),
  (77, '77/02_add_user_filters_not_valid_check.sql.postgres'),
  (77, '77/03bg_populate_full_user_id_profiles.sql'),
  (77, '77/04bg_populate_full_user_id_user_filters.sql'),
  (77, '77/05thread_notifications_backfill.sql'),
  (77, '77/06thread_notifications_not_null_event_push_actions.sql.postgres'),
  (77, '77/06thread_notifications_not_null_event_push_actions_staging.sql.postgres'),
  (77, '77/06thread_notifications_not_null_event_push_summary.sql.postgres'),
  (77, '77/14bg_indices_event_stream_ordering.sql'),
  (78, '78/01_validate_and_update_profiles.py'),
  (78, '78/02_validate_and_update_user_filters.py'),
  (78, '78/03_remove_unused_indexes_user_filters.py'),
  (78, '78/03event_extremities_constraints.py'),
  (78, '78/04_add_full_user_id_index_user_filters.py'),
  (79, '79/03_read_write_locks_triggers.sql.postgres'),
  (79, '79/04_mitigate_stream_ordering_update_race.py'),
  (79, '79/05_read_write_locks_triggers.sql.postgres'),
  (80, '80/01_users_alter_locked.sql'),
  (80, '80/02_read_write_locks_unlogged.sql.postgres'),
  (80, '80/02_scheduled_tasks.sql'),
  (80, '80/03_read_write_locks_triggers.sql.postgres'),
  (80, '80/04_read_write_locks_deadlock.sql.postgres'),
  (82, '82/02_scheduled_tasks_index.sql'),
  (82, '82/04_add_indices_for_purging_rooms.sql'),
  (82, '82/05gaps.sql'),
  (83, '83/01_drop_old_tables.sql'),
  (83, '83/05_cross_signing_key_update_grant.sql'),
  (83, '83/06_event_push_summary_room.sql'),
  (84, '84/01_auth_links_stats.sql.postgres'),
  (84, '84/02_auth_links_index.sql'),
  (84, '84/03_auth_links_analyze.sql.postgres'),
  (84, '84/04_access_token_index.sql'),
  (85, '85/01_add_suspended.sql'),
  (85, '85/02_add_instance_names.sql'),
  (85, '85/03_new_sequences.sql.postgres'),
  (85, '85/04_cleanup_device_federation_outbox.sql'),
  (85, '85/05_add_instance_names_converted_pos.sql'),
  (85, '85/06_add_room_reports.sql'),
  (86, '86/01_authenticate_media.sql'),
  (86, '86/02_receipts_event_id_index.sql'),
  (87, '87/01_sliding_sync_memberships.sql'),
  (87, '87/02_per_connection_state.sql'),
  (87, '87/03_current_state_index.sql'),
  (88, '88/01_add_delayed_events.sql'),
  (88, '88/01_custom_profile_fields.sql'),
  (88, '88/02_fix_sliding_sync_membership_snapshots_forgotten_column.sql'),
  (88, '88/03_add_otk_ts_added_index.sql'),
  (88, '88/04_current_state_delta_index.sql'),
  (88, '88/05_drop_old_otks.sql.postgres'),
  (88, '88/05_sliding_sync_room_config_index.sql'),
  (88, '88/06_events_received_ts_index.sql'),
  (89, '89/01_sliding_sync_membership_snapshot_index.sql'),
  (89, '89/01_state_groups_deletion.sql'),
  (90, '90/01_add_column_participant_room_memberships_table.sql'),
  (90, '90/02_delete_unreferenced_state_groups.sql'),
  (90, '90/03_remove_old_deletion_bg_update.sql'),
  (91, '91/01_media_hash.sql'),
  (92, '92/01_remove_trigger.sql.postgres'),
  (92, '92/02_remove_populate_participant_bg_update.sql'),
  (92, '92/04_ss_membership_snapshot_idx.sql'),
  (92, '92/04_thread_subscriptions.sql'),
  (92, '92/04_thread_subscriptions_seq.sql.postgres'),
  (92, '92/05_fixup_max_depth_cap.sql'),
  (92, '92/05_thread_subscriptions_comments.sql.postgres'),
  (92, '92/06_device_federation_inbox_index.sql'),
  (92, '92/06_threads_last_sent_stream_ordering_comments.sql.postgres'),
  (92, '92/07_add_user_reports.sql'),
  (92, '92/07_event_txn_id_device_id_txn_id2.sql'),
  (92, '92/08_room_ban_redactions.sql'),
  (92, '92/08_thread_subscriptions_seq_fixup.sql.postgres'),
  (92, '92/09_thread_subscriptions_update.sql'),
  (92, '92/09_thread_subscriptions_update.sql.postgres'),
  (93, '93/01_add_delayed_events.sql'),
  (93, '93/01_sticky_events.sql'),
  (93, '93/01_sticky_events_seq.sql.postgres'),
  (93, '93/02_sliding_sync_members.sql'),
  (93, '93/03_sss_pos_last_used.sql'),
  (93, '93/04_make_delayed_event_content_text.py'),
  (94, '94/01_redactions_recheck.sql'),
  (94, '94/02_redactions_recheck_bg_update.sql'),
  (94, '94/03_device_lists_room_timestamp.sql'),
  (94, '94/03_quarantined_media_tracking.sql'),
  (94, '94/03_quarantined_media_tracking_seq.sql.postgres'),
  (94, '94/03_state_dag_fwd_extrems.sql'),
  (94, '94/04_device_lists_changes_max_pruned.sql'),
  (94, '94/05_rerun_flag_existing_quarantined_media.sql'),
  (94, '94/06_sliding_sync_connections_last_used_ts_index.sql'),
  (94, '94/07_profile_updates.sql'),
  (94, '94/07_profile_updates_seq.sql.postgres'),
  (94, '94/07_sliding_sync_lazy_members_position_index.sql'),
  (94, '94/08_device_lists_changes_in_room_unconverted_idx.sql');
