/**
 * What each delta of Synapse's schema versions 88 to 94 does to a database, under Synapse's name for it: a database that Synapse left at
 * one of these versions is brought to where Synapse 1.160 would bring it, and both then agree on what has been done.
 */
export interface Delta {
  /** As in `applied_schema_deltas.file`; the version is the part before the slash. */
  readonly file: string;
  readonly sql: string;
}

/** The oldest schema version that can be brought up to date. */
export const OLDEST_VERSION = 88;
/** The version of the schema that Myelin reads and writes. */
export const SCHEMA_VERSION = 94;
/** The oldest program (by its schema version) that may open a database after us. */
export const COMPAT_VERSION = 84;

export const versionOf = (delta: Delta): number => Number(delta.file.split("/")[0]);

/** Queues work that is done in the background. Already queued or not, it is queued once. */
const queue = (file: string, ordering: number, ...names: string[]): Delta => ({
  file,
  sql: names
    .map(
      (name, index) => `INSERT INTO background_updates (update_name, progress_json, ordering) VALUES ('${name}', '{}', ${ordering + index})
        ON CONFLICT (update_name) DO NOTHING;`,
    )
    .join("\n"),
});

/** A delta that has nothing to do for us: comments on tables and columns. */
const nothing = (file: string): Delta => ({ file, sql: "" });

/** A stream's sequence: called once, so that ids begin at 2. */
const streamSequence = (file: string, name: string): Delta => ({ file, sql: `CREATE SEQUENCE ${name}; SELECT setval('${name}', 1, true);` });

/** In the order in which they are applied. */
export const DELTAS: readonly Delta[] = [
  {
    file: "88/01_add_delayed_events.sql",
    sql: `
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
        content bytea NOT NULL,
        is_processed boolean DEFAULT false NOT NULL,
        CONSTRAINT delayed_events_pkey PRIMARY KEY (user_localpart, delay_id)
      );
      CREATE INDEX delayed_events_is_processed ON delayed_events (is_processed);
      CREATE INDEX delayed_events_room_state_event_idx ON delayed_events (room_id, event_type, state_key) WHERE state_key IS NOT NULL;
      CREATE INDEX delayed_events_send_ts ON delayed_events (send_ts);
      CREATE TABLE delayed_events_stream_pos (
        lock character(1) DEFAULT 'X' NOT NULL,
        stream_id bigint NOT NULL,
        CONSTRAINT delayed_events_stream_pos_lock_key UNIQUE (lock),
        CONSTRAINT delayed_events_stream_pos_lock_check CHECK (lock = 'X')
      );
      INSERT INTO delayed_events_stream_pos (stream_id) VALUES (GREATEST((SELECT max(stream_ordering) FROM events), 0));`,
  },
  { file: "88/01_custom_profile_fields.sql", sql: "ALTER TABLE profiles ADD COLUMN fields jsonb;" },
  queue("88/02_fix_sliding_sync_membership_snapshots_forgotten_column.sql", 8802, "sliding_sync_membership_snapshots_fix_forgotten_column_bg_update"),
  queue("88/03_add_otk_ts_added_index.sql", 8803, "add_otk_ts_added_index"),
  queue("88/04_current_state_delta_index.sql", 8804, "current_state_delta_stream_room_index"),
  {
    file: "88/05_drop_old_otks.sql.postgres",
    sql: `
      INSERT INTO scheduled_tasks (id, action, status, "timestamp")
      VALUES ('delete_old_otks_task', 'delete_old_otks', 'scheduled', (EXTRACT(epoch FROM now()) * 1000)::bigint);`,
  },
  queue("88/05_sliding_sync_room_config_index.sql", 8805, "sliding_sync_connection_room_configs_required_state_id_idx"),
  queue("88/06_events_received_ts_index.sql", 8806, "events_received_ts_index"),

  queue("89/01_sliding_sync_membership_snapshot_index.sql", 8901, "sliding_sync_membership_snapshots_membership_event_id_idx"),
  {
    file: "89/01_state_groups_deletion.sql",
    sql: `
      CREATE TABLE state_groups_pending_deletion (
        sequence_number bigint GENERATED ALWAYS AS IDENTITY,
        state_group bigint NOT NULL,
        insertion_ts bigint NOT NULL,
        CONSTRAINT state_groups_pending_deletion_pkey PRIMARY KEY (sequence_number)
      );
      CREATE UNIQUE INDEX state_groups_pending_deletion_state_group ON state_groups_pending_deletion (state_group);
      CREATE INDEX state_groups_pending_deletion_insertion_ts ON state_groups_pending_deletion (insertion_ts);
      CREATE TABLE state_groups_persisting (
        state_group bigint NOT NULL,
        instance_name text NOT NULL,
        CONSTRAINT state_groups_persisting_pkey PRIMARY KEY (state_group, instance_name)
      );
      CREATE INDEX state_groups_persisting_instance_name ON state_groups_persisting (instance_name);`,
  },

  { file: "90/01_add_column_participant_room_memberships_table.sql", sql: "ALTER TABLE room_memberships ADD COLUMN participant boolean DEFAULT false;" },
  queue("90/02_delete_unreferenced_state_groups.sql", 9002, "mark_unreferenced_state_groups_for_deletion_bg_update"),
  // An update of Synapse 1.126's release candidates that deleted groups still in use.
  { file: "90/03_remove_old_deletion_bg_update.sql", sql: "DELETE FROM background_updates WHERE update_name = 'delete_unreferenced_state_groups_bg_update';" },

  {
    file: "91/01_media_hash.sql",
    sql: `
      ALTER TABLE local_media_repository ADD COLUMN sha256 text;
      ALTER TABLE remote_media_cache ADD COLUMN sha256 text;
      ${queue("", 8890, "local_media_repository_sha256_idx", "remote_media_cache_sha256_idx").sql}`,
  },

  // Left behind by Synapse 1.130's release candidates.
  {
    file: "92/01_remove_trigger.sql.postgres",
    sql: `
      DROP TRIGGER IF EXISTS event_stats_increment_counts_trigger ON events;
      DROP FUNCTION IF EXISTS event_stats_increment_counts();`,
  },
  { file: "92/02_remove_populate_participant_bg_update.sql", sql: "DELETE FROM background_updates WHERE update_name = 'populate_participant_bg_update';" },
  queue("92/04_ss_membership_snapshot_idx.sql", 9204, "sliding_sync_membership_snapshots_user_id_stream_ordering"),
  {
    file: "92/04_thread_subscriptions.sql",
    sql: `
      CREATE TABLE thread_subscriptions (
        stream_id integer NOT NULL,
        instance_name text NOT NULL,
        room_id text NOT NULL,
        event_id text NOT NULL,
        user_id text NOT NULL,
        subscribed boolean NOT NULL,
        automatic boolean NOT NULL,
        CONSTRAINT thread_subscriptions_pkey PRIMARY KEY (stream_id),
        CONSTRAINT thread_subscriptions_room_id_event_id_user_id_key UNIQUE (room_id, event_id, user_id),
        CONSTRAINT thread_subscriptions_fk_events FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE,
        CONSTRAINT thread_subscriptions_fk_rooms FOREIGN KEY (room_id) REFERENCES rooms (room_id) ON DELETE CASCADE,
        CONSTRAINT thread_subscriptions_fk_users FOREIGN KEY (user_id) REFERENCES users (name)
      );
      CREATE INDEX thread_subscriptions_by_event ON thread_subscriptions (event_id);
      CREATE INDEX thread_subscriptions_by_user ON thread_subscriptions (user_id, stream_id);
      CREATE INDEX thread_subscriptions_user_room ON thread_subscriptions (user_id, room_id);`,
  },
  // Not called yet: 92/08 does that.
  { file: "92/04_thread_subscriptions_seq.sql.postgres", sql: "CREATE SEQUENCE thread_subscriptions_sequence START WITH 2;" },
  queue("92/05_fixup_max_depth_cap.sql", 9205, "fixup_max_depth_cap"),
  nothing("92/05_thread_subscriptions_comments.sql.postgres"),
  queue("92/06_device_federation_inbox_index.sql", 9206, "device_federation_inbox_received_ts_index"),
  nothing("92/06_threads_last_sent_stream_ordering_comments.sql.postgres"),
  {
    file: "92/07_add_user_reports.sql",
    sql: `
      CREATE TABLE user_reports (
        id bigint NOT NULL,
        received_ts bigint NOT NULL,
        target_user_id text NOT NULL,
        user_id text NOT NULL,
        reason text NOT NULL,
        CONSTRAINT user_reports_pkey PRIMARY KEY (id)
      );
      CREATE INDEX user_reports_target_user_id ON user_reports (target_user_id);
      CREATE INDEX user_reports_user_id ON user_reports (user_id);`,
  },
  queue("92/07_event_txn_id_device_id_txn_id2.sql", 9207, "event_txn_id_device_id_txn_id2"),
  {
    file: "92/08_room_ban_redactions.sql",
    sql: `
      CREATE TABLE room_ban_redactions (
        room_id text NOT NULL,
        user_id text NOT NULL,
        redacting_event_id text NOT NULL,
        redact_end_ordering bigint,
        CONSTRAINT room_ban_redaction_uniqueness UNIQUE (room_id, user_id)
      );`,
  },
  { file: "92/08_thread_subscriptions_seq_fixup.sql.postgres", sql: "SELECT nextval('thread_subscriptions_sequence');" },
  {
    file: "92/09_thread_subscriptions_update.sql",
    sql: `
      ALTER TABLE thread_subscriptions
        ADD COLUMN unsubscribed_at_stream_ordering bigint,
        ADD COLUMN unsubscribed_at_topological_ordering bigint;`,
  },
  nothing("92/09_thread_subscriptions_update.sql.postgres"),

  queue("93/01_add_delayed_events.sql", 9301, "delayed_events_idx"),
  {
    file: "93/01_sticky_events.sql",
    sql: `
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
      CREATE INDEX sticky_events_room_idx ON sticky_events (room_id, event_stream_ordering);
      ALTER TABLE delayed_events ADD COLUMN sticky_duration_ms bigint;`,
  },
  streamSequence("93/01_sticky_events_seq.sql.postgres", "sticky_events_sequence"),
  {
    file: "93/02_sliding_sync_members.sql",
    sql: `
      CREATE TABLE sliding_sync_connection_lazy_members (
        connection_key bigint NOT NULL,
        connection_position bigint,
        room_id text NOT NULL,
        user_id text NOT NULL,
        last_seen_ts bigint NOT NULL,
        CONSTRAINT sliding_sync_connection_lazy_members_connection_key_fkey
          FOREIGN KEY (connection_key) REFERENCES sliding_sync_connections (connection_key) ON DELETE CASCADE,
        CONSTRAINT sliding_sync_connection_lazy_members_connection_position_fkey
          FOREIGN KEY (connection_position) REFERENCES sliding_sync_connection_positions (connection_position) ON DELETE CASCADE
      );
      CREATE UNIQUE INDEX sliding_sync_connection_lazy_members_idx ON sliding_sync_connection_lazy_members (connection_key, room_id, user_id);
      CREATE INDEX sliding_sync_connection_lazy_members_pos_idx ON sliding_sync_connection_lazy_members (connection_key, connection_position)
        WHERE connection_position IS NOT NULL;`,
  },
  { file: "93/03_sss_pos_last_used.sql", sql: "ALTER TABLE sliding_sync_connections ADD COLUMN last_used_ts bigint;" },
  { file: "93/04_make_delayed_event_content_text.py", sql: "ALTER TABLE delayed_events ALTER COLUMN content TYPE text USING convert_from(content, 'UTF8');" },

  { file: "94/01_redactions_recheck.sql", sql: "ALTER TABLE redactions ADD COLUMN recheck boolean DEFAULT true NOT NULL;" },
  queue("94/02_redactions_recheck_bg_update.sql", 9402, "redactions_recheck"),
  {
    file: "94/03_device_lists_room_timestamp.sql",
    sql: `
      ALTER TABLE device_lists_changes_in_room ADD COLUMN inserted_ts bigint;
      ${queue("", 9403, "device_lists_changes_in_room_inserted_ts_idx").sql}`,
  },
  // 94/05 queues the update that belongs to this table.
  {
    file: "94/03_quarantined_media_tracking.sql",
    sql: `
      CREATE TABLE quarantined_media_changes (
        stream_id integer NOT NULL,
        instance_name text NOT NULL,
        origin text,
        media_id text NOT NULL,
        quarantined boolean NOT NULL,
        CONSTRAINT quarantined_media_changes_pkey PRIMARY KEY (stream_id)
      );`,
  },
  streamSequence("94/03_quarantined_media_tracking_seq.sql.postgres", "quarantined_media_id_seq"),
  {
    file: "94/03_state_dag_fwd_extrems.sql",
    sql: `
      CREATE TABLE msc4242_state_dag_forward_extremities (
        room_id text NOT NULL,
        event_id text NOT NULL,
        CONSTRAINT msc4242_state_dag_forward_extremities_event_id_key UNIQUE (event_id),
        CONSTRAINT msc4242_state_dag_forward_extremities_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id) ON DELETE CASCADE,
        CONSTRAINT msc4242_state_dag_forward_extremities_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id) ON DELETE CASCADE
      );
      CREATE INDEX msc4242_state_dag_room ON msc4242_state_dag_forward_extremities (room_id);
      CREATE TABLE msc4242_state_dag_edges (
        room_id text NOT NULL,
        event_id text NOT NULL,
        prev_state_event_id text,
        CONSTRAINT msc4242_state_dag_edges_event_id_fkey FOREIGN KEY (event_id) REFERENCES events (event_id),
        CONSTRAINT msc4242_state_dag_edges_prev_state_event_id_fkey FOREIGN KEY (prev_state_event_id) REFERENCES events (event_id),
        CONSTRAINT msc4242_state_dag_edges_room_id_fkey FOREIGN KEY (room_id) REFERENCES rooms (room_id) ON DELETE CASCADE
      );
      CREATE UNIQUE INDEX msc4242_state_dag_edges_key ON msc4242_state_dag_edges (room_id, event_id, prev_state_event_id);`,
  },
  {
    file: "94/04_device_lists_changes_max_pruned.sql",
    sql: `
      CREATE TABLE device_lists_changes_in_room_max_pruned_stream_id (
        lock character(1) DEFAULT 'X' NOT NULL,
        stream_id bigint NOT NULL,
        CONSTRAINT device_lists_changes_in_room_max_pruned_stream_id_lock_key UNIQUE (lock)
      );
      INSERT INTO device_lists_changes_in_room_max_pruned_stream_id (stream_id) VALUES (0);`,
  },
  // Run once more for those who have run an earlier form of it: from the beginning.
  {
    file: "94/05_rerun_flag_existing_quarantined_media.sql",
    sql: `
      DELETE FROM background_updates WHERE update_name = 'flag_existing_quarantined_media';
      ${queue("", 9405, "flag_existing_quarantined_media").sql}`,
  },
  queue("94/06_sliding_sync_connections_last_used_ts_index.sql", 9406, "sliding_sync_connections_last_used_ts_idx"),
  {
    file: "94/07_profile_updates.sql",
    sql: `
      CREATE TABLE profile_updates (
        stream_id bigint NOT NULL,
        instance_name text NOT NULL,
        user_id text NOT NULL,
        action text NOT NULL,
        affected_fields jsonb,
        inserted_ts bigint NOT NULL,
        CONSTRAINT profile_updates_pkey PRIMARY KEY (stream_id)
      );
      CREATE INDEX profile_updates_by_user ON profile_updates (user_id, stream_id);
      CREATE TABLE profile_updates_per_user (
        stream_id bigint NOT NULL,
        user_id text NOT NULL,
        inserted_ts bigint NOT NULL,
        CONSTRAINT profile_updates_per_user_pkey PRIMARY KEY (user_id, stream_id),
        CONSTRAINT profile_updates_per_user_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES profile_updates (stream_id)
      );`,
  },
  streamSequence("94/07_profile_updates_seq.sql.postgres", "profile_updates_sequence"),
  queue("94/07_sliding_sync_lazy_members_position_index.sql", 9407, "sliding_sync_connection_lazy_members_conn_pos_idx"),
  queue("94/08_device_lists_changes_in_room_unconverted_idx.sql", 9408, "device_lists_changes_in_room_unconverted_idx"),
];
