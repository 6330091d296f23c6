import { query, type ReadHandle } from "../database.ts";

/** Full-text search of messages, room names and topics (`event_search`, English configuration; the term in web-search syntax). */
export interface SearchHit {
  readonly event_id: string;
  readonly room_id: string;
  readonly rank: number;
  readonly origin_server_ts: number | null;
  readonly stream_ordering: number | null;
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
  readonly roomIds: readonly string[];
  /** Of `content.body`, `content.name`, `content.topic`. */
  readonly keys: readonly string[];
  /** Looks into Myelin's own index (`storage/search`), too. */
  readonly unspaced?: UnspacedTerm | undefined;
}

const MATCHING = `event_search.vector @@ websearch_to_tsquery('english', $1) AND event_search.room_id = ANY($2) AND event_search.key = ANY($3)`;
const WORDS = `SELECT event_search.event_id, event_search.room_id, ts_rank_cd(event_search.vector, websearch_to_tsquery('english', $1)) AS rank,
                      event_search.origin_server_ts, event_search.stream_ordering
                 FROM event_search WHERE ${MATCHING}`;
/** Short texts first: they are about little else. */
const CHARACTERS = `SELECT m.event_id, m.room_id, (1 / (1 + ln(1 + char_length(m.text))))::real AS rank, m.origin_server_ts, m.stream_ordering
                      FROM myelin_search.message_search AS m
                     WHERE m.grams @> $4::text[] AND m.text LIKE ALL($5::text[]) AND NOT (m.text LIKE ANY($6::text[]))
                       AND m.room_id = ANY($2) AND m.key = ANY($3)
                       AND NOT EXISTS (SELECT FROM event_search WHERE event_search.event_id = m.event_id AND ${MATCHING})`;

/** The SELECT of all hits, with its parameters. */
function hitsOf({ term, roomIds, keys, unspaced }: SearchQuery): { sql: string; params: unknown[] } {
  if (unspaced === undefined) return { sql: WORDS, params: [term, roomIds, keys] };
  const patterns = (pieces: readonly string[]): string[] => pieces.map((piece) => `%${piece.replace(/[\\%_]/g, "\\$&")}%`);
  return {
    sql: `${WORDS} UNION ALL ${CHARACTERS}`,
    params: [term, roomIds, keys, unspaced.grams, patterns(unspaced.wanted), patterns(unspaced.unwanted)],
  };
}

/** The best matches, best first. */
export async function searchByRank(h: ReadHandle, search: SearchQuery, limit: number): Promise<SearchHit[]> {
  const { sql, params } = hitsOf(search);
  return await query<SearchHit>(h, `SELECT hit.* FROM (${sql}) AS hit ORDER BY hit.rank DESC LIMIT $${params.length + 1}`, [...params, limit]);
}

/** The newest matches by the time that their senders gave, newest first, older than `before`. */
export async function searchByTime(
  h: ReadHandle,
  search: SearchQuery,
  before: { time: number; stream: number } | undefined,
  limit: number,
): Promise<SearchHit[]> {
  const { sql, params } = hitsOf(search);
  const at = (offset: number): string => `$${params.length + offset}::bigint`;
  return await query<SearchHit>(
    h,
    `SELECT hit.* FROM (${sql}) AS hit
      WHERE ${at(1)} IS NULL OR (hit.origin_server_ts, hit.stream_ordering) < (${at(1)}, ${at(2)})
      ORDER BY hit.origin_server_ts DESC NULLS LAST, hit.stream_ordering DESC NULLS LAST LIMIT ${at(3)}`,
    [...params, before?.time ?? null, before?.stream ?? null, limit],
  );
}

export async function countSearchHits(h: ReadHandle, search: SearchQuery): Promise<number> {
  const { sql, params } = hitsOf(search);
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
