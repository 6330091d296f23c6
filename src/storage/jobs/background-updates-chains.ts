import type { JsonObject } from "../../lib/json.ts";
import { execute, query, type Txn } from "../database.ts";
import type { Batch } from "./background-updates-batches.ts";

/**
 * The chain cover index of rooms that have none, room by room, each from its beginning. A state event takes the next place in the chain
 * of one of its auth events, or begins a chain; links lead to the chains of the others. Rooms are marked when they are through: from then
 * on readers rely on it, and writers go on with it.
 */
interface Row {
  event_id: string;
  room_id: string;
  type: string;
  state_key: string;
  depth: number | bigint;
  stream_ordering: number;
  auth: string[];
}

interface Place {
  chain: number;
  sequence: number;
  /** Type and state key, where known: chains of one state run on where they can. */
  key: string | undefined;
}

interface Link {
  from: number;
  target: number;
  to: number;
}

export async function coverRooms(txn: Txn, progress: JsonObject, size: number): Promise<Batch> {
  const room = typeof progress.current_room_id === "string" ? progress.current_room_id : "";
  const number = (key: string): number => (typeof progress[key] === "number" ? progress[key] : -1);
  const rows = await query<Row>(
    txn,
    `SELECT e.event_id, e.room_id, s.type, s.state_key, e.topological_ordering AS depth, e.stream_ordering,
            ARRAY(SELECT DISTINCT a.auth_id FROM event_auth AS a WHERE a.event_id = e.event_id) AS auth
     FROM events AS e JOIN state_events AS s ON s.event_id = e.event_id
     WHERE (e.room_id, e.topological_ordering, e.stream_ordering) > ($1, $2, $3)
       AND NOT EXISTS (SELECT FROM event_auth_chains AS c WHERE c.event_id = e.event_id)
       AND NOT EXISTS (SELECT FROM event_auth_chain_to_calculate AS w WHERE w.event_id = e.event_id)
     ORDER BY e.room_id, e.topological_ordering, e.stream_ordering LIMIT $4`,
    [room, number("last_depth"), number("last_stream"), size],
  );
  await place(txn, rows);
  const last = rows.length === size ? rows.at(-1) : undefined;
  await execute(txn, "UPDATE rooms SET has_auth_chain_index = TRUE WHERE NOT has_auth_chain_index AND ($1::text IS NULL OR room_id < $1)", [
    last?.room_id ?? null,
  ]);
  return { items: rows.length, progress: last && { current_room_id: last.room_id, last_depth: Number(last.depth), last_stream: last.stream_ordering } };
}

async function place(txn: Txn, rows: readonly Row[]): Promise<void> {
  const places = await knownPlaces(txn, [...new Set(rows.flatMap((row) => row.auth))]);
  const { highest, links } = await knownChains(txn, [...new Set([...places.values()].map(({ chain }) => chain))]);
  const byId = new Map(rows.map((row) => [row.event_id, row]));
  const placed: { id: string; place: Place }[] = [];
  const added: (Link & { chain: number })[] = [];
  const waiting: Row[] = [];
  const begun = new Set<string>();
  let fresh = 0; // chains that begin here have negative numbers until they are allocated

  const visit = (row: Row): void => {
    if (begun.has(row.event_id)) return;
    begun.add(row.event_id);
    // Depths can lie: auth events that are in this batch go first, whatever their depth.
    for (const id of row.auth) if (byId.has(id)) visit(byId.get(id)!);
    const auth = row.auth.map((id) => places.get(id));
    if (auth.some((known) => known === undefined)) {
      waiting.push(row);
      return;
    }
    const of = auth as Place[];
    const key = `${row.type}\u0000${row.state_key}`;
    const ends = of.filter(({ chain, sequence }) => highest.get(chain) === sequence);
    const before = ends.find((end) => end.key === key) ?? ends[0];
    const mine: Place = before === undefined ? { chain: --fresh, sequence: 1, key } : { chain: before.chain, sequence: before.sequence + 1, key };
    highest.set(mine.chain, mine.sequence);
    places.set(row.event_id, mine);
    placed.push({ id: row.event_id, place: mine });
    let out = links.get(mine.chain);
    if (out === undefined) links.set(mine.chain, (out = []));
    for (const { chain, sequence } of of) {
      if (chain === mine.chain || out.some((link) => link.from <= mine.sequence && link.target === chain && link.to >= sequence)) continue;
      const link = { from: mine.sequence, target: chain, to: sequence };
      out.push(link);
      added.push({ ...link, chain: mine.chain });
    }
  };
  for (const row of rows) visit(row);

  const allocated = fresh === 0 ? [] : await query<{ id: number }>(txn, "SELECT nextval('event_auth_chain_id') AS id FROM generate_series(1, $1)", [-fresh]);
  const real = (chain: number): number => (chain < 0 ? allocated[-chain - 1]!.id : chain);
  await execute(txn, "INSERT INTO event_auth_chains (event_id, chain_id, sequence_number) SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])", [
    placed.map(({ id }) => id),
    placed.map((one) => real(one.place.chain)),
    placed.map((one) => one.place.sequence),
  ]);
  await execute(
    txn,
    `INSERT INTO event_auth_chain_links (origin_chain_id, origin_sequence_number, target_chain_id, target_sequence_number)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])`,
    [added.map(({ chain }) => real(chain)), added.map(({ from }) => from), added.map(({ target }) => real(target)), added.map(({ to }) => to)],
  );
  await execute(
    txn,
    "INSERT INTO event_auth_chain_to_calculate (event_id, room_id, type, state_key) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])",
    [waiting.map((row) => row.event_id), waiting.map((row) => row.room_id), waiting.map((row) => row.type), waiting.map((row) => row.state_key)],
  );
}

async function knownPlaces(txn: Txn, ids: readonly string[]): Promise<Map<string, Place>> {
  const rows = await query<{ event_id: string; chain_id: number; sequence_number: number; type: string | null; state_key: string | null }>(
    txn,
    `SELECT c.event_id, c.chain_id, c.sequence_number, s.type, s.state_key
     FROM event_auth_chains AS c LEFT JOIN state_events AS s ON s.event_id = c.event_id WHERE c.event_id = ANY($1)`,
    [ids],
  );
  return new Map(
    rows.map((row) => [
      row.event_id,
      { chain: row.chain_id, sequence: row.sequence_number, key: row.type === null ? undefined : `${row.type}\u0000${row.state_key}` },
    ]),
  );
}

async function knownChains(txn: Txn, chains: readonly number[]): Promise<{ highest: Map<number, number>; links: Map<number, Link[]> }> {
  const ends = await query<{ chain_id: number; sequence: number }>(
    txn,
    "SELECT chain_id, max(sequence_number) AS sequence FROM event_auth_chains WHERE chain_id = ANY($1) GROUP BY chain_id",
    [chains],
  );
  const rows = await query<{ origin_chain_id: number; origin_sequence_number: number; target_chain_id: number; target_sequence_number: number }>(
    txn,
    "SELECT origin_chain_id, origin_sequence_number, target_chain_id, target_sequence_number FROM event_auth_chain_links WHERE origin_chain_id = ANY($1)",
    [chains],
  );
  const links = new Map<number, Link[]>();
  for (const row of rows)
    links.set(row.origin_chain_id, [
      ...(links.get(row.origin_chain_id) ?? []),
      { from: row.origin_sequence_number, target: row.target_chain_id, to: row.target_sequence_number },
    ]);
  return { highest: new Map(ends.map((row) => [row.chain_id, row.sequence])), links };
}
