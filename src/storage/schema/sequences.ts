import { type Database, execute, query, type ReadHandle, type Txn } from "../database.ts";

/**
 * The sequences whose values stand in tables, and what must hold between them: a sequence is never behind what it has given out. Postgres
 * does not keep that over a dump and restore of single tables, a fail-over, or a copy with other tools.
 */
interface SequenceUse {
  readonly sequence: string;
  /** The stream of that sequence in `stream_positions`. */
  readonly stream?: string;
  readonly columns: readonly { readonly table: string; readonly column: string; readonly negated?: boolean }[];
  /** The option of `stream_writers` that names the stream's writers; null: the main process alone. Absent: no positions are stored. */
  readonly writers?: string | null;
  /** A stream's first id is 2: the sequence has been called once. */
  readonly calledOnce?: boolean;
  /** The column is int4: ids end at 2^31 - 1. */
  readonly int4?: boolean;
}

const uses = (stream: string | undefined, sequence: string, columns: string[], extra: Partial<SequenceUse> = {}): SequenceUse => ({
  sequence,
  ...(stream === undefined ? {} : { stream }),
  columns: columns.map((text) => {
    const [table, column] = text.replace(/^-/, "").split(".");
    return { table: table!, column: column!, negated: text.startsWith("-") };
  }),
  calledOnce: true,
  ...extra,
});

export const SEQUENCE_USES: readonly SequenceUse[] = [
  uses("events", "events_stream_seq", ["events.stream_ordering", "current_state_delta_stream.stream_id", "ex_outlier_stream.event_stream_ordering"], { writers: "events" }),
  uses("backfill", "events_backfill_stream_seq", ["-events.stream_ordering", "-ex_outlier_stream.event_stream_ordering"], { writers: "events" }),
  uses("to_device", "device_inbox_sequence", ["device_inbox.stream_id", "device_federation_outbox.stream_id"], { writers: "to_device" }),
  uses("account_data", "account_data_sequence", ["room_account_data.stream_id", "room_tags_revisions.stream_id", "account_data.stream_id"], { writers: "account_data" }),
  uses("receipts", "receipts_sequence", ["receipts_linearized.stream_id"], { writers: "receipts" }),
  uses("presence_stream", "presence_stream_sequence", ["presence_stream.stream_id"], { writers: "presence" }),
  uses("device_lists_stream", "device_lists_sequence", [
    "device_lists_stream.stream_id",
    "user_signature_stream.stream_id",
    "device_lists_outbound_pokes.stream_id",
    "device_lists_changes_in_room.stream_id",
    "device_lists_remote_pending.stream_id",
    "device_lists_changes_converted_stream_position.stream_id",
  ], { writers: "device_lists" }),
  uses("pushers", "pushers_sequence", ["pushers.id", "deleted_pushers.stream_id"], { writers: null }),
  uses("push_rules_stream", "push_rules_stream_sequence", ["push_rules_stream.stream_id"], { writers: "push_rules" }),
  uses("e2e_cross_signing_keys", "e2e_cross_signing_keys_sequence", ["e2e_cross_signing_keys.stream_id"]),
  uses("caches", "cache_invalidation_stream_seq", ["cache_invalidation_stream_by_instance.stream_id"]),
  uses("un_partial_stated_room_stream", "un_partial_stated_room_stream_sequence", ["un_partial_stated_room_stream.stream_id"], { writers: null }),
  uses("un_partial_stated_event_stream", "un_partial_stated_event_stream_sequence", ["un_partial_stated_event_stream.stream_id"], { writers: null }),
  uses("thread_subscriptions", "thread_subscriptions_sequence", ["thread_subscriptions.stream_id"], { writers: "thread_subscriptions", int4: true }),
  uses("sticky_events", "sticky_events_sequence", ["sticky_events.stream_id"], { writers: "events", int4: true }),
  uses("quarantined_media", "quarantined_media_id_seq", ["quarantined_media_changes.stream_id"], { writers: "quarantined_media_changes", int4: true }),
  uses("profile_updates", "profile_updates_sequence", ["profile_updates.stream_id"], { writers: "events" }),
  uses(undefined, "state_group_id_seq", ["state_groups.id"], { calledOnce: false }),
  uses(undefined, "event_auth_chain_id", ["event_auth_chains.chain_id"], { calledOnce: false }),
  uses(undefined, "application_services_txn_id_seq", ["application_services_txns.txn_id"], { calledOnce: false }),
  uses(undefined, "instance_map_instance_id_seq", ["instance_map.instance_id"], { calledOnce: false, int4: true }),
  uses(undefined, "sliding_sync_connections_connection_key_seq", ["sliding_sync_connections.connection_key"], { calledOnce: false }),
  uses(undefined, "sliding_sync_connection_positions_connection_position_seq", ["sliding_sync_connection_positions.connection_position"], { calledOnce: false }),
  uses(undefined, "sliding_sync_connection_required_state_required_state_id_seq", ["sliding_sync_connection_required_state.required_state_id"], { calledOnce: false }),
  uses(undefined, "state_groups_pending_deletion_sequence_number_seq", ["state_groups_pending_deletion.sequence_number"], { calledOnce: false }),
];

const INT4_MAX = 2_147_483_647;

/** A sequence that must be moved up. */
export interface SequenceBehind {
  readonly sequence: string;
  /** The value it last gave out. */
  readonly at: number;
  /** The value it must have given out at least. */
  readonly needed: number;
  /** Where that value stands: `events.stream_ordering`, `stream_positions of events`, or `its first call`. */
  readonly because: string;
}

export interface SequenceHealth {
  readonly behind: SequenceBehind[];
  /** Sequences whose next value does not fit their int4 column. */
  readonly exhausted: { sequence: string; at: number }[];
}

/** Compares each sequence with the tables and stored positions that hold its values; one statement. */
export async function checkSequences(h: ReadHandle): Promise<SequenceHealth> {
  const selects = SEQUENCE_USES.flatMap((use) => {
    const at = `(SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM ${use.sequence})`;
    const row = (because: string, value: string): string => `SELECT '${use.sequence}' AS sequence, '${because}' AS because, ${at} AS at, (${value})::bigint AS needed`;
    return [
      ...use.columns.map(({ table, column, negated }) => row(`${table}.${column}`, negated ? `SELECT -min(${column}) FROM ${table}` : `SELECT max(${column}) FROM ${table}`)),
      ...(use.stream ? [row(`stream_positions of ${use.stream}`, `SELECT max(abs(stream_id)) FROM stream_positions WHERE stream_name = '${use.stream}'`)] : []),
      ...(use.calledOnce ? [row("its first call", "SELECT 1")] : []),
    ];
  });
  const rows = await query<{ sequence: string; because: string; at: number; needed: number | null }>(h, selects.join("\nUNION ALL "));
  const worst = new Map<string, SequenceBehind>();
  for (const { sequence, because, at, needed } of rows) {
    if (needed === null || needed <= at || needed <= (worst.get(sequence)?.needed ?? 0)) continue;
    worst.set(sequence, { sequence, because, at, needed });
  }
  const int4 = new Set(SEQUENCE_USES.filter((use) => use.int4).map((use) => use.sequence));
  const exhausted = new Map(rows.filter(({ sequence, at }) => int4.has(sequence) && at >= INT4_MAX).map(({ sequence, at }) => [sequence, { sequence, at }]));
  return { behind: [...worst.values()], exhausted: [...exhausted.values()] };
}

/**
 * Moves sequences up to what they must have given out: never down, and no stored position is touched. Returns what was moved.
 *
 * Synapse does the same for values in tables and refuses to start for stored positions; moving up is right there too, since a position
 * says that this id was given out once.
 */
export async function healSequences(db: Pick<Database, "read" | "transaction">): Promise<SequenceHealth> {
  const health = await checkSequences(db.read);
  if (health.behind.length > 0) {
    await db.transaction("heal_sequences", async (txn: Txn) => {
      await query(
        txn,
        `SELECT setval(behind.sequence::regclass, GREATEST(behind.needed, COALESCE(pg_sequence_last_value(behind.sequence::regclass), 0)), true)
         FROM unnest($1::text[], $2::bigint[]) AS behind (sequence, needed)`,
        [health.behind.map(({ sequence }) => sequence), health.behind.map(({ needed }) => needed)],
      );
    });
  }
  return health;
}

/** The `stream_writers` of the config: instance names by option. */
export type StreamWriters = Readonly<Record<string, readonly string[]>>;

/** Each stream that stores positions with each instance that writes it, as two lists of the same length. */
export function positionKeys(writers: StreamWriters): { streams: string[]; instances: string[] } {
  const keys: { streams: string[]; instances: string[] } = { streams: [], instances: [] };
  for (const { stream, writers: option } of SEQUENCE_USES) {
    if (stream === undefined || option === undefined) continue;
    for (const instance of (option === null ? undefined : writers[option]) ?? ["master"]) {
      keys.streams.push(stream);
      keys.instances.push(instance);
    }
  }
  return keys;
}

/** Deletes stored positions of writers that the config no longer names, as Synapse does at start: they would hold their stream back. */
export async function dropForeignPositions(txn: Txn, writers: StreamWriters): Promise<number> {
  const { streams, instances } = positionKeys(writers);
  return await execute(
    txn,
    `DELETE FROM stream_positions AS stored
     WHERE stored.stream_name = ANY($1) AND NOT EXISTS (
       SELECT FROM unnest($1::text[], $2::text[]) AS configured (stream_name, instance_name)
       WHERE configured.stream_name = stored.stream_name AND configured.instance_name = stored.instance_name)`,
    [streams, instances],
  );
}
