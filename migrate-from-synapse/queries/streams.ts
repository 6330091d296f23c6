import { query, queryOne, type ReadHandle } from "../../src/storage/database.ts";
import type { DatabaseFacts } from "./facts.ts";
import { SEQUENCE_USES } from "../../src/storage/schema/sequences.ts";

/** A sequence beside one of the places where its values stand. */
export interface SequenceRow {
  readonly sequence: string;
  readonly stream: string | null;
  /** `positions`, `first call`, or `table.column`. */
  readonly place: string;
  /** The value it last gave out. */
  readonly at: number;
  /** The highest value that stands there; null: none does. */
  readonly highest: number | null;
  readonly int4: boolean;
}

/** Each sequence that exists with each place; one statement, all by indexes. Sequences move under a snapshot, but never back. */
export async function sequenceRows(h: ReadHandle, { tables, sequences }: Pick<DatabaseFacts, "tables" | "sequences">): Promise<SequenceRow[]> {
  const selects = SEQUENCE_USES.filter(({ sequence }) => sequences.has(sequence)).flatMap((use) => {
    const at = `(SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM ${use.sequence})`;
    const stream = use.stream === undefined ? "NULL" : `'${use.stream}'`;
    const row = (place: string, highest: string): string =>
      `SELECT '${use.sequence}' AS sequence, ${stream}::text AS stream, '${place}' AS place, (${highest})::bigint AS highest, ${at} AS at, ${use.int4 ?? false} AS int4`;
    return [
      ...use.columns
        .filter(({ table }) => tables.has(table))
        .map(({ table, column, negated }) =>
          row(`${table}.${column}`, negated ? `SELECT -min(${column}) FROM ${table}` : `SELECT max(${column}) FROM ${table}`),
        ),
      ...(use.stream === undefined ? [] : [row("positions", `SELECT max(abs(stream_id)) FROM stream_positions WHERE stream_name = '${use.stream}'`)]),
      ...(use.calledOnce ? [row("first call", "SELECT 1")] : []),
    ];
  });
  return await query(h, selects.join("\nUNION ALL "));
}

export interface PositionRow {
  readonly stream: string;
  readonly instance: string;
  readonly position: number;
}

export async function storedPositions(h: ReadHandle): Promise<PositionRow[]> {
  return await query(h, "SELECT stream_name AS stream, instance_name AS instance, stream_id AS position FROM stream_positions ORDER BY 1, 2");
}

/** Tables whose rows name the instance that wrote them, with the column of their stream. */
const WRITTEN: readonly (readonly [table: string, column: string, stream: string])[] = [
  ["events", "stream_ordering", "events"],
  ["receipts_linearized", "stream_id", "receipts"],
  ["account_data", "stream_id", "account_data"],
  ["room_account_data", "stream_id", "account_data"],
  ["presence_stream", "stream_id", "presence"],
  ["device_inbox", "stream_id", "to_device"],
  ["push_rules_stream", "stream_id", "push_rules"],
  ["device_lists_stream", "stream_id", "device_lists"],
];

/** Who wrote the newest rows of each stream; `writers` is the option of `stream_writers`. */
export async function recentWriters(h: ReadHandle, newest: number): Promise<{ table: string; writers: string; instance: string }[]> {
  const selects = WRITTEN.map(
    ([table, column, writers]) =>
      `SELECT DISTINCT '${table}' AS table, '${writers}' AS writers, COALESCE(instance_name, 'master') AS instance FROM ${table}
       WHERE ${column} > (SELECT max(${column}) FROM ${table}) - $1`,
  );
  return await query(h, selects.join(" UNION ALL "), [newest]);
}

/** The names that stand behind numbers in tokens. */
export async function instanceNames(h: ReadHandle): Promise<{ id: number; name: string }[]> {
  return await query(h, "SELECT instance_id AS id, instance_name AS name FROM instance_map ORDER BY 1");
}

/** Tables of one row, and how far what they follow has come. */
export const FOLLOWERS: readonly (readonly [table: string, column: string, sequence: string])[] = [
  ["event_push_summary_stream_ordering", "stream_ordering", "events_stream_seq"],
  ["event_push_summary_last_receipt_stream_id", "stream_id", "receipts_sequence"],
  ["appservice_stream_position", "stream_ordering", "events_stream_seq"],
  ["stats_incremental_position", "stream_id", "events_stream_seq"],
  ["user_directory_stream_pos", "stream_id", "events_stream_seq"],
  ["room_forgetter_stream_pos", "stream_id", "events_stream_seq"],
  ["delayed_events_stream_pos", "stream_id", "events_stream_seq"],
  ["device_lists_changes_converted_stream_position", "stream_id", "device_lists_sequence"],
  ["device_lists_changes_in_room_max_pruned_stream_id", "stream_id", "device_lists_sequence"],
];

export interface FollowerRow {
  readonly name: string;
  readonly rows: number;
  /** Null where the work is to begin anew. */
  readonly position: number | null;
  readonly reached: number;
}

export async function followers(h: ReadHandle, tables: ReadonlySet<string>): Promise<FollowerRow[]> {
  return await query(
    h,
    FOLLOWERS.filter(([table]) => tables.has(table))
      .map(
        ([table, column, sequence]) =>
          `SELECT '${table}' AS name, count(*)::int AS rows, max(${column}) AS position, (SELECT last_value FROM ${sequence}) AS reached FROM ${table}`,
      )
      .join(" UNION ALL "),
  );
}

/** Positions of what is sent to other servers. */
export async function federationPositions(h: ReadHandle): Promise<{ type: string; instance: string; position: number; reached: number }[]> {
  return await query(
    h,
    `SELECT type, instance_name AS instance, stream_id AS position,
            CASE type WHEN 'events' THEN (SELECT last_value FROM events_stream_seq) ELSE NULL END AS reached
     FROM federation_stream_position ORDER BY 1, 2`,
  );
}

/** The farthest that anything sent to another server claims to be, beside the stream. */
export async function destinationPositions(h: ReadHandle): Promise<{ succeeded: number | null; rooms: number | null; reached: number }> {
  return (await queryOne(
    h,
    `SELECT (SELECT max(last_successful_stream_ordering) FROM destinations) AS succeeded, (SELECT max(stream_ordering) FROM destination_rooms) AS rooms,
            (SELECT last_value FROM events_stream_seq) AS reached`,
  ))!;
}
