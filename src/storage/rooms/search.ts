import { query, type ReadHandle } from "../database.ts";

/** Full-text search of messages, room names and topics (`event_search`, English configuration; the term in web-search syntax). */
export interface SearchHit {
  readonly event_id: string;
  readonly room_id: string;
  readonly rank: number;
  readonly origin_server_ts: number | null;
  readonly stream_ordering: number | null;
  /** Of all hits, those of other pages too. */
  readonly total: number;
}

/** What a text in a script without spaces must hold and must not; normalised. */
export interface UnspacedTerm {
  /** Characters and pairs, for the index. */
  readonly grams: readonly string[];
  readonly wanted: readonly string[];
  readonly unwanted: readonly string[];
}

export interface SearchQuery {
  readonly term: string;
  /** Those named, or all that the user is joined to. */
  readonly rooms: readonly string[] | { readonly joinedBy: string };
  /** Of `content.body`, `content.name`, `content.topic`. */
  readonly keys: readonly string[];
  /** Looks into Myelin's own index (`storage/search`), too. */
  readonly unspaced?: UnspacedTerm | undefined;
}

/** More rooms than these are looked up in a hash, below the index of the words; fewer may come by the index of rooms. */
const FEW_ROOMS = 20;
const RANK = `ts_rank_cd(event_search.vector, websearch_to_tsquery('english', $1))`;

/** SQL that a room is one of those that are searched, $2. IS TRUE keeps the planner from a join that begins with the rooms. */
function inRooms(column: string, rooms: SearchQuery["rooms"]): string {
  if ("joinedBy" in rooms)
    return `(${column} IN (SELECT own.room_id FROM local_current_membership AS own WHERE own.user_id = $2 AND own.membership = 'join')) IS TRUE`;
  return rooms.length > FEW_ROOMS ? `(${column} IN (SELECT unnest($2::text[]))) IS TRUE` : `${column} = ANY($2)`;
}

/** The SELECT of all hits, with its parameters. Those found by words have the rank that is given as SQL. */
function hitsOf({ term, rooms, keys, unspaced }: SearchQuery, rank: string): { sql: string; params: unknown[] } {
  const matching = `event_search.vector @@ websearch_to_tsquery('english', $1) AND ${inRooms("event_search.room_id", rooms)} AND event_search.key = ANY($3)`;
  const words = `SELECT event_search.event_id, event_search.room_id, ${rank} AS rank, event_search.origin_server_ts, event_search.stream_ordering
                   FROM event_search WHERE ${matching}`;
  const params = [term, "joinedBy" in rooms ? rooms.joinedBy : rooms, keys];
  if (unspaced === undefined) return { sql: words, params };
  // Short texts first: they are about little else.
  const characters = `SELECT m.event_id, m.room_id, (1 / (1 + ln(1 + char_length(m.text))))::real AS rank, m.origin_server_ts, m.stream_ordering
                        FROM myelin_search.message_search AS m
                       WHERE m.grams @> $4::text[] AND m.text LIKE ALL($5::text[]) AND NOT (m.text LIKE ANY($6::text[]))
                         AND ${inRooms("m.room_id", rooms)} AND m.key = ANY($3)
                         AND NOT EXISTS (SELECT FROM event_search WHERE event_search.event_id = m.event_id AND ${matching})`;
  const patterns = (pieces: readonly string[]): string[] => pieces.map((piece) => `%${piece.replace(/[\\%_]/g, "\\$&")}%`);
  return { sql: `${words} UNION ALL ${characters}`, params: [...params, unspaced.grams, patterns(unspaced.wanted), patterns(unspaced.unwanted)] };
}

/** The best matches, best first. */
export async function searchByRank(h: ReadHandle, search: SearchQuery, limit: number): Promise<SearchHit[]> {
  const { sql, params } = hitsOf(search, RANK);
  return await query<SearchHit>(h, `SELECT hit.*, count(*) OVER () AS total FROM (${sql}) AS hit ORDER BY hit.rank DESC LIMIT $${params.length + 1}`, [
    ...params,
    limit,
  ]);
}

/** The newest matches by the time that their senders gave, newest first, older than `before`. Only those of the page are ranked. */
export async function searchByTime(
  h: ReadHandle,
  search: SearchQuery,
  before: { time: number; stream: number } | undefined,
  limit: number,
): Promise<SearchHit[]> {
  const { sql, params } = hitsOf(search, "NULL::real");
  const at = (offset: number): string => `$${params.length + offset}::bigint`;
  return await query<SearchHit>(
    h,
    `SELECT page.event_id, page.room_id, page.origin_server_ts, page.stream_ordering, page.total,
            coalesce(page.rank, (SELECT ${RANK} FROM event_search WHERE event_search.event_id = page.event_id)) AS rank
       FROM (SELECT * FROM (SELECT hit.*, count(*) OVER () AS total FROM (${sql}) AS hit) AS counted
              WHERE ${at(1)} IS NULL OR (counted.origin_server_ts, counted.stream_ordering) < (${at(1)}, ${at(2)})
              ORDER BY counted.origin_server_ts DESC NULLS LAST, counted.stream_ordering DESC NULLS LAST LIMIT ${at(3)}) AS page
      ORDER BY page.origin_server_ts DESC NULLS LAST, page.stream_ordering DESC NULLS LAST`,
    [...params, before?.time ?? null, before?.stream ?? null, limit],
  );
}

export async function countSearchHits(h: ReadHandle, search: SearchQuery): Promise<number> {
  const { sql, params } = hitsOf(search, "NULL::real");
  const [row] = await query<{ count: number }>(h, `SELECT count(*) AS count FROM (${sql}) AS hit`, params);
  return row!.count;
}

const START = "\u0002";
const STOP = "\u0003";

/** Words of these texts that the term matches, in lower case. */
export async function highlightedWords(h: ReadHandle, term: string, texts: readonly string[]): Promise<Set<string>> {
  if (texts.length === 0) return new Set();
  const rows = await query<{ headline: string }>(
    h,
    `SELECT ts_headline('english', given.text, websearch_to_tsquery('english', $1), $3) AS headline FROM unnest($2::text[]) AS given (text)`,
    [term, texts.map((text) => text.replace(/[\u0000\u0002\u0003]/g, " ")), `StartSel=${START}, StopSel=${STOP}, MaxFragments=50`],
  );
  const words = new Set<string>();
  for (const { headline } of rows) for (const match of headline.matchAll(/\u0002(.*?)\u0003/gs)) words.add(match[1]!.toLowerCase());
  return words;
}
