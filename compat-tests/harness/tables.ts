import { type Exchange, type Json, parseExactly } from "./client.ts";
import type { PostgresServer } from "./postgres.ts";

/**
 * Two databases that saw the same traffic, compared row by row. What each server chose by chance (event ids, room ids, tokens)
 * gets one name on both sides: first by walking the answers that clients got, then by the order of events in their rooms. Times become
 * "<time>", numbers of streams their rank.
 */

export type Row = Record<string, Json>;

export interface Side {
  postgres: PostgresServer;
  database: string;
  trace: readonly Exchange[];
}

export interface TableDifference {
  table: string;
  /** Columns in which rows of the same key differ; empty when whole rows are missing on one side. */
  columns: string[];
  rows: number;
  sample: string;
}

/** What of a table must agree, where not all of its rows or columns can. */
export interface TableView {
  readonly reason: string;
  /** The rows to compare; `all` gives the rows of any table. */
  readonly rows: (rows: readonly Row[], all: (table: string) => readonly Row[]) => Row[];
  /** Columns by which rows are paired to say how they differ; default: those of the primary key. */
  readonly key?: readonly string[];
}

/** Tables, columns and rows left out, each with its reason: see `allowed.ts`. */
export interface Exceptions {
  readonly tables: ReadonlyMap<string, string>;
  /** `table.column` or `*.column`. */
  readonly columns: ReadonlyMap<string, string>;
  readonly views: ReadonlyMap<string, TableView>;
}

interface Database {
  tables: Map<string, Row[]>;
  keys: Map<string, string[]>;
  names: Map<string, string>;
  orderings: Map<number, string>;
}

export async function compareTables(a: Side, b: Side, exceptions: Exceptions): Promise<TableDifference[]> {
  const [left, right] = [await read(a), await read(b)];
  name(left, right, a.trace, b.trace);
  const differences: TableDifference[] = [];
  for (const table of new Set([...left.tables.keys(), ...right.tables.keys()])) {
    if (exceptions.tables.has(table)) continue;
    if (!left.tables.has(table) || !right.tables.has(table)) {
      differences.push({ table, columns: [], rows: 0, sample: left.tables.has(table) ? "only the first has this table" : "only the second has this table" });
      continue;
    }
    differences.push(...compareTable(table, left, right, exceptions));
  }
  differences.push(...compareStates(left, right));
  return differences;
}

async function read({ postgres, database }: Side): Promise<Database> {
  const tables = new Map<string, Row[]>();
  const keys = new Map<string, string[]>();
  const list = await postgres.query<{ table: string; key: string[] | null }>(
    database,
    `SELECT c.relname AS table, (SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) WHERE i.indrelid = c.oid AND i.indisunique AND i.indpred IS NULL
       AND i.indexrelid = (SELECT indexrelid FROM pg_index u WHERE u.indrelid = c.oid AND u.indisunique AND u.indpred IS NULL AND 0 <> ALL(u.indkey::int2[]) ORDER BY u.indisprimary DESC, u.indexrelid LIMIT 1)) AS key
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r'`,
  );
  for (const { table, key } of list) {
    const rows = await postgres.query<{ row: string }>(database, `SELECT to_jsonb(t)::text AS row FROM "${table}" t`);
    tables.set(
      table,
      rows.map(({ row }) => parseExactly(row) as Row),
    );
    keys.set(table, key ?? []);
  }
  return { tables, keys, names: new Map(), orderings: new Map() };
}

/** Gives what differs by chance one name on both sides. */
function name(left: Database, right: Database, a: readonly Exchange[], b: readonly Exchange[]): void {
  let count = 0;
  const pair = (one: string, two: string, kind: string): void => {
    if (one === two || left.names.has(one) || right.names.has(two)) return;
    const shared = `<${kind} ${++count}>`;
    left.names.set(one, shared);
    right.names.set(two, shared);
  };
  const walk = (one: Json, two: Json): void => {
    if (typeof one === "string" && typeof two === "string") {
      const [words, others] = [wordsOf(one), wordsOf(two)];
      if (words.length === others.length)
        words.forEach((word, index) => isRandom(word) && isRandom(others[index]!) && pair(word, others[index]!, kindOf(word)));
    } else if (Array.isArray(one) && Array.isArray(two)) one.forEach((each, index) => walk(each, two[index]));
    else if (one !== null && two !== null && typeof one === "object" && typeof two === "object") for (const key of Object.keys(one)) walk(one[key], two[key]);
  };
  for (const [index, exchange] of a.entries()) {
    const other = b[index];
    if (other?.method !== exchange.method || other.status !== exchange.status) continue;
    // The ids that a client chose one by one; lists of a sync may come in another order.
    if (!exchange.path.endsWith("/sync")) walk(exchange.response, other.response);
  }
  const events = (side: Database): Map<string, Row[]> => {
    const rooms = new Map<string, Row[]>();
    for (const row of [...(side.tables.get("events") ?? [])].sort((x, y) => x["stream_ordering"] - y["stream_ordering"])) {
      const room = named(side, String(row["room_id"]));
      rooms.set(room, [...(rooms.get(room) ?? []), row]);
    }
    return rooms;
  };
  // Rooms that nobody was told of, such as those for server notices, in the order they were made.
  const unnamed = (side: Database): string[] => [...events(side).keys()].filter((room) => room.startsWith("!"));
  const strangers = unnamed(right);
  unnamed(left).forEach((room, index) => strangers[index] !== undefined && pair(room, strangers[index], "room"));
  const others = events(right);
  for (const [room, rows] of events(left)) {
    rows.forEach((row, index) => {
      const other = others.get(room)?.[index];
      if (other !== undefined && other["type"] === row["type"]) pair(row["event_id"], other["event_id"], "event");
    });
  }
  for (const side of [left, right])
    for (const row of side.tables.get("events") ?? []) side.orderings.set(Number(row["stream_ordering"]), named(side, row["event_id"]));
}

const WORD = /\$[A-Za-z0-9+/_-]{30,}|[!$#@]?[A-Za-z0-9_\-+=~.]{4,}(?::[a-z]+\.[a-z]+)?/g;

function wordsOf(text: string): string[] {
  return text.match(WORD) ?? [];
}

function isRandom(word: string): boolean {
  return /^[!$]|^sy[tr]_/.test(word) || (/^[A-Za-z]{8,}$/.test(word) && /[A-Z]/.test(word)) || /^[A-Za-z0-9+/_-]{20,}$/.test(word);
}

function kindOf(word: string): string {
  if (word.startsWith("!")) return "room";
  if (word.startsWith("$")) return "event";
  if (/^sy[tr]_/.test(word)) return "token";
  return "random";
}

function named(side: Database, text: string): string {
  return text.replaceAll(WORD, (word) => side.names.get(word) ?? word);
}

/** Columns that hold a place in the stream of events. */
const ORDERING =
  /^(stream_ordering|event_stream_ordering|bump_stamp|last_receipt_stream_ordering|completed_delta_stream_id|join_event_stream_ordering|unread_count_since|(un)?subscribed_at_stream_ordering)$/;
/** Columns that number the rows of a stream of their table. */
const STREAM_ID = /^(stream_id|max_stream_id|push_rules_stream_id|prev_stream_id|since_stream_id|connection_position)$/;
const TIME = /(^|_)(ts|at|timestamp|ms|time|seen|valid_until|expires|created)(_ms|_ts)?$/;
const SECRET = /^(password_hash|hashes|signatures|ciphertext)$/;

function normaliseRows(side: Database, table: string, exceptions: Exceptions): Row[] {
  const view = exceptions.views.get(table);
  const whole = side.tables.get(table)!;
  const rows = view === undefined ? whole : view.rows(whole, (other) => side.tables.get(other) ?? []);
  const ranks = new Map<string, Map<number, number>>();
  const rank = (column: string, value: number): string => {
    let map = ranks.get(column);
    if (map === undefined) {
      const values = [...new Set(rows.map((row) => Number(row[column])))].sort((x, y) => x - y);
      ranks.set(column, (map = new Map(values.map((each, index) => [each, index]))));
    }
    return `<rank ${map.get(value)}>`;
  };
  return rows.map((row) => {
    const out: Row = {};
    for (const [column, value] of Object.entries(row)) {
      if (exceptions.columns.has(`${table}.${column}`) || exceptions.columns.has(`*.${column}`)) continue;
      if (value === null) out[column] = null;
      else if (SECRET.test(column)) out[column] = "<secret>";
      else if (ORDERING.test(column) || (table === "current_state_delta_stream" && column === "stream_id"))
        out[column] = side.orderings.get(Number(value)) ?? "<no event>";
      else if (STREAM_ID.test(column) || (column === "id" && ["pushers"].includes(table))) out[column] = rank(column, Number(value));
      else if (typeof value === "number" && ((value > 1.6e12 && value < 2.5e12) || (TIME.test(column) && value > 1e9))) out[column] = "<time>";
      else out[column] = normaliseValue(side, value);
    }
    return out;
  });
}

function normaliseValue(side: Database, value: Json, key = ""): Json {
  if (typeof value === "number") return value > 1.6e12 && value < 2.5e12 ? "<time>" : value;
  if (typeof value === "string") {
    if (/^[[{]/.test(value)) {
      try {
        return { json: normaliseValue(side, parseExactly(value)) };
      } catch {
        // not JSON after all
      }
    }
    if (/^\\x[0-9a-f]*$/.test(value)) return normaliseValue(side, Buffer.from(value.slice(2), "hex").toString("utf8"), key);
    return named(side, value);
  }
  if (Array.isArray(value)) {
    // In the first room versions a reference goes with the hash of its event, which Synapse leaves empty for events of the same new room.
    const references = /^(prev_events|auth_events)$/.test(key) ? value.map((each) => (Array.isArray(each) ? each[0] : each)) : value;
    const items = references.map((each) => normaliseValue(side, each));
    return /^(prev_events|auth_events|invite_room_state|knock_room_state)$/.test(key)
      ? items.sort((x, y) => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1))
      : items;
  }
  if (value === null || typeof value !== "object") return value;
  const out: Row = {};
  for (const each of Object.keys(value).sort())
    out[named(side, each)] = SECRET.test(each) || each === "sha256" ? "<secret>" : normaliseValue(side, value[each], each);
  return Object.fromEntries(Object.entries(out).sort(([x], [y]) => (x < y ? -1 : 1)));
}

function compareTable(table: string, left: Database, right: Database, exceptions: Exceptions): TableDifference[] {
  const [rows, others] = [normaliseRows(left, table, exceptions), normaliseRows(right, table, exceptions)];
  const pool = new Map<string, Row[]>();
  for (const row of others) {
    const text = JSON.stringify(row);
    pool.set(text, [...(pool.get(text) ?? []), row]);
  }
  const onlyLeft: Row[] = [];
  for (const row of rows) {
    const same = pool.get(JSON.stringify(row));
    if (same !== undefined && same.length > 0) same.pop();
    else onlyLeft.push(row);
  }
  const onlyRight = [...pool.values()].flat();
  const key = exceptions.views.get(table)?.key ?? left.keys.get(table)!;
  const keyOf = (row: Row): string => JSON.stringify(key.filter((column) => column in row).map((column) => row[column]));
  const differences = new Map<string, TableDifference>();
  const note = (columns: string[], sample: string): void => {
    const id = columns.join();
    const known = differences.get(id);
    if (known) known.rows++;
    else differences.set(id, { table, columns, rows: 1, sample: sample.slice(0, 900) });
  };
  const unpaired = [...onlyRight];
  for (const row of onlyLeft) {
    const at = unpaired.findIndex((other) => keyOf(other) === keyOf(row));
    if (at < 0) {
      note(["(row only in the first)"], JSON.stringify(row));
      continue;
    }
    const [other] = unpaired.splice(at, 1) as [Row];
    const columns = [...new Set([...Object.keys(row), ...Object.keys(other)])].filter(
      (column) => JSON.stringify(row[column]) !== JSON.stringify(other[column]),
    );
    note(columns, `${keyOf(row)}: ${columns.map((column) => `${column} ${JSON.stringify(row[column])} / ${JSON.stringify(other[column])}`).join("; ")}`);
  }
  for (const row of unpaired) note(["(row only in the second)"], JSON.stringify(row));
  return [...differences.values()];
}

/** State groups are numbered and chained as each server likes; the state they give to each event must be one. */
function compareStates(left: Database, right: Database): TableDifference[] {
  const [one, two] = [statesOf(left), statesOf(right)];
  const wrong = [...one].filter(([event, state]) => two.has(event) && two.get(event) !== state).map(([event]) => event);
  return wrong.length === 0
    ? []
    : [
        {
          table: "(state at each event)",
          columns: ["state"],
          rows: wrong.length,
          sample: `${wrong[0]}: ${one.get(wrong[0]!)} / ${two.get(wrong[0]!)}`.slice(0, 900),
        },
      ];
}

function statesOf(side: Database): Map<string, string> {
  const previous = new Map((side.tables.get("state_group_edges") ?? []).map((row) => [row["state_group"] as number, row["prev_state_group"] as number]));
  const rows = new Map<number, Row[]>();
  for (const row of side.tables.get("state_groups_state") ?? []) rows.set(row["state_group"], [...(rows.get(row["state_group"]) ?? []), row]);
  const states = new Map<string, string>();
  for (const row of side.tables.get("event_to_state_groups") ?? []) {
    const chain: number[] = [];
    for (let group: number | undefined = row["state_group"]; group !== undefined; group = previous.get(group)) chain.push(group);
    const state = new Map<string, string>();
    for (const group of chain.reverse())
      for (const each of rows.get(group) ?? []) state.set(`${each["type"]} ${named(side, String(each["state_key"]))}`, named(side, each["event_id"]));
    states.set(named(side, row["event_id"]), JSON.stringify([...state].sort(([x], [y]) => (x < y ? -1 : 1))));
  }
  return states;
}

export function describeTables(differences: readonly TableDifference[]): string {
  return differences.map(({ table, columns, rows, sample }) => `- ${table} ${columns.join(", ")}: ${rows} rows\n    ${sample}`).join("\n");
}

/** The catalogue of a database as sorted lines: columns, indexes, constraints, sequences, triggers. */
export async function catalogue(postgres: PostgresServer, database: string): Promise<string[]> {
  const rows = await postgres.query<{ line: string }>(
    database,
    `SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || COALESCE(column_default, '') || ' ' || is_identity AS line FROM information_schema.columns WHERE table_schema = 'public'
     UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
     UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
     UNION ALL SELECT 'sequence ' || sequencename || ' ' || data_type || ' ' || start_value || ' ' || increment_by FROM pg_sequences WHERE schemaname = 'public'
     UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
     UNION ALL SELECT 'delta ' || version || ' ' || file FROM applied_schema_deltas
     UNION ALL SELECT 'version ' || version FROM schema_version UNION ALL SELECT 'compat ' || compat_version FROM schema_compat_version`,
  );
  return rows.map(({ line }) => line).sort();
}
