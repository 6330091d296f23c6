import { stateKeyOf, type StateKey } from "../../protocol/event/event.ts";
import { query, type ReadHandle } from "../database.ts";
import type { StateFilter } from "./snapshot.ts";

/** State group of each event that has one: outliers and unknown events have none. */
export async function stateGroupsOfEvents(read: ReadHandle, eventIds: readonly string[]): Promise<Map<string, number>> {
  if (eventIds.length === 0) return new Map();
  const rows = await query<{ event_id: string; state_group: number }>(
    read,
    `SELECT e.event_id, e.state_group FROM event_to_state_groups AS e WHERE e.event_id = ANY($1)`,
    [eventIds],
  );
  return new Map(rows.map((row) => [row.event_id, row.state_group]));
}

export interface GroupChain {
  readonly group: number;
  readonly roomId: string;
  /** The group this one is a delta on. */
  readonly base: number | undefined;
}

/** Looked up group by group: the planner expects far more groups than there are, and would read the whole tables. */
const BASE = `(SELECT min(e.prev_state_group) FROM state_group_edges AS e WHERE e.state_group = wanted.id)`;

/** The groups asked for and all below them, deepest first: each with its base. Missing groups are left out. */
export async function groupChains(read: ReadHandle, groups: readonly number[]): Promise<GroupChain[]> {
  const rows = await query<{ id: number; room_id: string; prev_state_group: number | null }>(
    read,
    `WITH RECURSIVE reached (id, prev_state_group) AS (
       SELECT wanted.id, ${BASE} FROM unnest($1::bigint[]) AS wanted (id)
       UNION
       SELECT wanted.id, ${BASE} FROM (SELECT prev_state_group AS id FROM reached WHERE prev_state_group IS NOT NULL) AS wanted
     )
     SELECT g.id, g.room_id, r.prev_state_group
     FROM reached AS r CROSS JOIN LATERAL (SELECT s.id, s.room_id FROM state_groups AS s WHERE s.id = r.id OFFSET 0) AS g
     ORDER BY g.id`,
    [groups],
  );
  return rows.map((row) => ({ group: row.id, roomId: row.room_id, base: row.prev_state_group ?? undefined }));
}

export interface GroupRows {
  /** Deltas or full states, by group. */
  readonly rows: Map<number, [StateKey, string][]>;
  /** The groups that they are deltas on, as of the same moment. */
  readonly bases: ReadonlyMap<number, number>;
}

/** The rows of these groups, as far as the filter asks for them, with what they build on: state compression may store groups anew at any time. */
export async function groupRows(read: ReadHandle, groups: readonly number[], filter: StateFilter | undefined): Promise<GroupRows> {
  const found: { rows: Map<number, [StateKey, string][]>; bases: Map<number, number> } = { rows: new Map(), bases: new Map() };
  if (groups.length === 0) return found;
  const { sql, params } = filterSql(filter);
  const rows = await query<{ state_group: number; type: string; state_key: string; event_id: string; base: number | null }>(
    read,
    `SELECT f.state_group, f.type, f.state_key, f.event_id, NULL::bigint AS base FROM (${sql}) AS f
     UNION ALL SELECT e.state_group, NULL, NULL, NULL, e.prev_state_group FROM state_group_edges AS e WHERE e.state_group = ANY($1::bigint[])`,
    [groups, ...params],
  );
  for (const row of rows) {
    if (row.base !== null) {
      found.bases.set(row.state_group, row.base);
      continue;
    }
    let list = found.rows.get(row.state_group);
    if (list === undefined) found.rows.set(row.state_group, (list = []));
    list.push([stateKeyOf(row.type, row.state_key), row.event_id]);
  }
  return found;
}

/** True when the groups still build on what they did when the chains were read. */
export function chainsHold(chains: readonly GroupChain[], { bases }: GroupRows, groups: ReadonlySet<number>): boolean {
  return chains.every(({ group, base }) => !groups.has(group) || bases.get(group) === base);
}

const COLUMNS = `SELECT s.state_group, s.type, s.state_key, s.event_id FROM state_groups_state AS s WHERE s.state_group = ANY($1::bigint[])`;

function filterSql(filter: StateFilter | undefined): { sql: string; params: unknown[] } {
  if (filter === undefined) return { sql: COLUMNS, params: [] };
  const pairs = "allBut" in filter ? (filter.plus ?? []) : filter;
  const whole = pairs.filter(([, stateKey]) => stateKey === undefined).map(([type]) => type);
  const exact = pairs.filter(([, stateKey]) => stateKey !== undefined);
  const types = exact.map(([type]) => type);
  const keys = exact.map(([, stateKey]) => stateKey);
  if ("allBut" in filter) {
    return {
      sql: `${COLUMNS} AND (s.type <> ALL($2::text[]) OR s.type = ANY($3::text[]) OR (s.type, s.state_key) IN (SELECT t, k FROM unnest($4::text[], $5::text[]) AS f (t, k)))`,
      params: [filter.allBut, whole, types, keys],
    };
  }
  if (whole.length === 0) {
    return {
      sql: `SELECT s.state_group, s.type, s.state_key, s.event_id
            FROM unnest($2::text[], $3::text[]) AS f (t, k)
            JOIN state_groups_state AS s ON s.state_group = ANY($1::bigint[]) AND s.type = f.t AND s.state_key = f.k`,
      params: [types, keys],
    };
  }
  return {
    sql: `${COLUMNS} AND s.type = ANY($2::text[])
          UNION
          SELECT s.state_group, s.type, s.state_key, s.event_id
          FROM unnest($3::text[], $4::text[]) AS f (t, k)
          JOIN state_groups_state AS s ON s.state_group = ANY($1::bigint[]) AND s.type = f.t AND s.state_key = f.k`,
    params: [whole, types, keys],
  };
}

/** Number of deltas between each group and the full one below it. */
export async function deltaHops(read: ReadHandle, groups: readonly number[]): Promise<Map<number, number>> {
  const rows = await query<{ root: number; hops: number }>(
    read,
    `WITH RECURSIVE chain (root, id, hops) AS (
       SELECT g, g, 0 FROM unnest($1::bigint[]) AS g
       UNION ALL
       SELECT c.root, e.prev_state_group, c.hops + 1 FROM chain AS c JOIN state_group_edges AS e ON e.state_group = c.id
     )
     SELECT c.root, max(c.hops) AS hops FROM chain AS c GROUP BY c.root`,
    [groups],
  );
  return new Map(rows.map((row) => [row.root, row.hops]));
}
