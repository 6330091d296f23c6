import { query, type ReadHandle } from "../database.ts";

/**
 * The auth chains of state events by the chain cover index, in one statement: ids of all that authorised one of them, directly or not; the
 * events themselves only where they authorised another. undefined when one of them has no place in the index.
 */
export async function authChainByCover(read: ReadHandle, eventIds: readonly string[]): Promise<Set<string> | undefined> {
  if (eventIds.length === 0) return new Set();
  const rows = await query<{ event_id: string | null; placed: number }>(
    read,
    `WITH RECURSIVE given AS (
       SELECT c.event_id, c.chain_id, c.sequence_number FROM event_auth_chains AS c WHERE c.event_id = ANY($1)
     ), heights AS (
       SELECT g.chain_id, max(g.sequence_number) AS sequence_number FROM given AS g GROUP BY g.chain_id
     ), reached (chain_id, sequence_number) AS (
       (
         SELECT h.chain_id, h.sequence_number - 1 FROM heights AS h
         UNION
         SELECT l.target_chain_id, l.target_sequence_number
         FROM heights AS h JOIN event_auth_chain_links AS l ON l.origin_chain_id = h.chain_id AND l.origin_sequence_number <= h.sequence_number
       )
       UNION
       SELECT l.target_chain_id, l.target_sequence_number
       FROM reached AS r JOIN event_auth_chain_links AS l ON l.origin_chain_id = r.chain_id AND l.origin_sequence_number <= r.sequence_number
     ), tops AS (
       SELECT r.chain_id, max(r.sequence_number) AS sequence_number FROM reached AS r GROUP BY r.chain_id
     )
     SELECT c.event_id, (SELECT count(*)::int FROM given) AS placed
     FROM (SELECT 1) AS one
     LEFT JOIN tops AS t ON true
     LEFT JOIN event_auth_chains AS c ON c.chain_id = t.chain_id AND c.sequence_number <= t.sequence_number`,
    [eventIds],
  );
  if (rows[0]!.placed < new Set(eventIds).size) return undefined;
  return new Set(rows.flatMap((row) => row.event_id ?? []));
}
