import { query, type ReadHandle } from "../database.ts";

/** Full-text search of messages, room names and topics (`event_search`, English configuration; the term in web-search syntax). */
export interface SearchHit {
  readonly event_id: string;
  readonly room_id: string;
  readonly rank: number;
  readonly origin_server_ts: number | null;
  readonly stream_ordering: number | null;
}

export interface SearchQuery {
  readonly term: string;
  readonly roomIds: readonly string[];
  /** Of `content.body`, `content.name`, `content.topic`. */
  readonly keys: readonly string[];
}

const MATCHING = `event_search.vector @@ websearch_to_tsquery('english', $1) AND event_search.room_id = ANY($2) AND event_search.key = ANY($3)`;

/** The best matches, best first. */
export async function searchByRank(h: ReadHandle, search: SearchQuery, limit: number): Promise<SearchHit[]> {
  return await query<SearchHit>(
    h,
    `SELECT event_search.event_id, event_search.room_id, ts_rank_cd(event_search.vector, websearch_to_tsquery('english', $1)) AS rank,
            event_search.origin_server_ts, event_search.stream_ordering
       FROM event_search WHERE ${MATCHING}
      ORDER BY rank DESC LIMIT $4`,
    [search.term, search.roomIds, search.keys, limit],
  );
}

/** The newest matches by the time that their senders gave, newest first, older than `before`. */
export async function searchByTime(
  h: ReadHandle,
  search: SearchQuery,
  before: { time: number; stream: number } | undefined,
  limit: number,
): Promise<SearchHit[]> {
  return await query<SearchHit>(
    h,
    `SELECT event_search.event_id, event_search.room_id, ts_rank_cd(event_search.vector, websearch_to_tsquery('english', $1)) AS rank,
            event_search.origin_server_ts, event_search.stream_ordering
       FROM event_search
      WHERE ${MATCHING}
        AND ($5::bigint IS NULL OR (event_search.origin_server_ts, event_search.stream_ordering) < ($5, $6::bigint))
      ORDER BY event_search.origin_server_ts DESC NULLS LAST, event_search.stream_ordering DESC NULLS LAST LIMIT $4`,
    [search.term, search.roomIds, search.keys, limit, before?.time ?? null, before?.stream ?? null],
  );
}

export async function countSearchHits(h: ReadHandle, search: SearchQuery): Promise<number> {
  const [row] = await query<{ count: number }>(h, `SELECT count(*) AS count FROM event_search WHERE ${MATCHING}`, [search.term, search.roomIds, search.keys]);
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
