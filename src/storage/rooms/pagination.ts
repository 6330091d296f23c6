import { query, queryOne, type ReadHandle } from "../database.ts";

/**
 * Pages of a room's timeline, in topological order. Positions come from tokens: historical ones hold a depth, live ones only a stream
 * position, with those of single writers that are ahead of it by `instance_map` number.
 */
export interface TimelinePosition {
  readonly stream: number;
  readonly topological?: number | bigint;
  readonly instances?: ReadonlyMap<number, number>;
}

/** The part of a client's filter that the database applies. Types may hold `*` wildcards. */
export interface TimelineFilter {
  readonly types?: readonly string[] | undefined;
  readonly notTypes?: readonly string[] | undefined;
  readonly senders?: readonly string[] | undefined;
  readonly notSenders?: readonly string[] | undefined;
  readonly rooms?: readonly string[] | undefined;
  readonly notRooms?: readonly string[] | undefined;
  readonly containsUrl?: boolean | undefined;
  readonly labels?: readonly string[] | undefined;
  readonly notLabels?: readonly string[] | undefined;
  readonly relatedBySenders?: readonly string[] | undefined;
  readonly relatedByRelTypes?: readonly string[] | undefined;
  readonly relTypes?: readonly string[] | undefined;
  readonly notRelTypes?: readonly string[] | undefined;
}

export interface TimelineRow {
  readonly event_id: string;
  readonly topological_ordering: number | bigint;
  readonly stream_ordering: number;
}

/** SQL (beginning with AND) that keeps the events after `from` up to and including `to`, or, backwards, from `from` down to after `to`. */
export function positionConditions(backwards: boolean, from: TimelinePosition | undefined, to: TimelinePosition | undefined, params: unknown[]): string {
  let sql = "";
  if (from !== undefined) sql += positionCondition(backwards ? "<=" : ">", from, params);
  if (to !== undefined) sql += positionCondition(backwards ? ">" : "<=", to, params);
  return sql;
}

function positionCondition(operator: "<=" | ">", position: TimelinePosition, params: unknown[]): string {
  const stream = `$${params.push(position.stream)}::bigint`;
  if (position.topological !== undefined) {
    const topological = `$${params.push(position.topological)}::bigint`;
    return ` AND (events.topological_ordering, events.stream_ordering) ${operator} (${topological}, ${stream})`;
  }
  if (position.instances === undefined || position.instances.size === 0) return ` AND events.stream_ordering ${operator} ${stream}`;
  const writers = `$${params.push([...position.instances.keys()])}::int[]`;
  const positions = `$${params.push([...position.instances.values()])}::bigint[]`;
  return ` AND events.stream_ordering ${operator} COALESCE(
             (SELECT writer.position FROM unnest(${writers}, ${positions}) AS writer (instance_id, position)
                JOIN instance_map ON instance_map.instance_id = writer.instance_id
               WHERE instance_map.instance_name = COALESCE(events.instance_name, 'master')), ${stream})`;
}

const escapeLike = (type: string): string => type.replaceAll("\\", "\\\\").replaceAll("%", "\\%").replaceAll("_", "\\_").replaceAll("*", "%");

function filterConditions(filter: TimelineFilter, params: unknown[]): string {
  let sql = "";
  const list = (values: readonly string[]): string => `$${params.push(values)}::text[]`;
  const wildcard = (types: readonly string[]): boolean => types.some((type) => type.includes("*"));
  if (filter.types?.length) {
    sql += wildcard(filter.types) ? ` AND events.type LIKE ANY(${list(filter.types.map(escapeLike))})` : ` AND events.type = ANY(${list(filter.types)})`;
  }
  if (filter.notTypes?.length) {
    sql += wildcard(filter.notTypes)
      ? ` AND NOT events.type LIKE ANY(${list(filter.notTypes.map(escapeLike))})`
      : ` AND events.type <> ALL(${list(filter.notTypes)})`;
  }
  if (filter.senders?.length) sql += ` AND events.sender = ANY(${list(filter.senders)})`;
  if (filter.notSenders?.length) sql += ` AND events.sender <> ALL(${list(filter.notSenders)})`;
  if (filter.rooms?.length) sql += ` AND events.room_id = ANY(${list(filter.rooms)})`;
  if (filter.notRooms?.length) sql += ` AND events.room_id <> ALL(${list(filter.notRooms)})`;
  if (filter.containsUrl === true) sql += " AND events.contains_url";
  if (filter.labels?.length) {
    sql += ` AND EXISTS (SELECT FROM event_labels WHERE event_labels.event_id = events.event_id AND event_labels.label = ANY(${list(filter.labels)}))`;
  }
  if (filter.notLabels?.length) {
    sql += ` AND NOT EXISTS (SELECT FROM event_labels WHERE event_labels.event_id = events.event_id AND event_labels.label = ANY(${list(filter.notLabels)}))`;
  }
  if (filter.relatedBySenders?.length || filter.relatedByRelTypes?.length) {
    sql +=
      " AND EXISTS (SELECT FROM event_relations JOIN events AS related ON related.event_id = event_relations.event_id WHERE event_relations.relates_to_id = events.event_id";
    if (filter.relatedBySenders?.length) sql += ` AND related.sender = ANY(${list(filter.relatedBySenders)})`;
    if (filter.relatedByRelTypes?.length) sql += ` AND event_relations.relation_type = ANY(${list(filter.relatedByRelTypes)})`;
    sql += ")";
  }
  const ownRelation = (types: readonly string[]): string =>
    `EXISTS (SELECT FROM event_relations WHERE event_relations.event_id = events.event_id AND event_relations.relation_type = ANY(${list(types)}))`;
  if (filter.relTypes?.length) sql += ` AND ${ownRelation(filter.relTypes)}`;
  if (filter.notRelTypes?.length) sql += ` AND NOT ${ownRelation(filter.notRelTypes)}`;
  return sql;
}

/**
 * One page: at most `limit` events of the room's timeline (no outliers, no rejected events) in the direction asked for, starting after
 * `from` (backwards: at `from`), not going beyond `to`.
 */
export async function timelinePage(
  h: ReadHandle,
  page: {
    readonly roomId: string;
    readonly backwards: boolean;
    readonly from: TimelinePosition | undefined;
    readonly to: TimelinePosition | undefined;
    readonly filter: TimelineFilter | undefined;
    readonly limit: number;
  },
): Promise<TimelineRow[]> {
  const params: unknown[] = [page.roomId, page.limit];
  const where = positionConditions(page.backwards, page.from, page.to, params) + (page.filter === undefined ? "" : filterConditions(page.filter, params));
  const order = page.backwards ? "DESC" : "ASC";
  return await query<TimelineRow>(
    h,
    `SELECT events.event_id, events.topological_ordering, events.stream_ordering
       FROM events
      WHERE events.room_id = $1 AND NOT events.outlier AND events.rejection_reason IS NULL${where}
      ORDER BY events.topological_ordering ${order}, events.stream_ordering ${order}
      LIMIT $2`,
    params,
  );
}

/** Where an event stands in its room's timeline; undefined for an event that the server does not have. */
export async function positionOfEvent(h: ReadHandle, eventId: string): Promise<{ roomId: string; topological: number | bigint; stream: number } | undefined> {
  const row = await queryOne<{ room_id: string; topological_ordering: number | bigint; stream_ordering: number }>(
    h,
    "SELECT room_id, topological_ordering, stream_ordering FROM events WHERE event_id = $1",
    [eventId],
  );
  return row === undefined ? undefined : { roomId: row.room_id, topological: row.topological_ordering, stream: row.stream_ordering };
}

export interface NeighbourRow {
  /** The event that was asked about, and where it stands. */
  readonly around: string;
  readonly room_id: string;
  readonly topological: number | bigint;
  readonly stream: number;
  /** One beside it, nearest first on each side; null where there is none on that side. */
  readonly is_before: boolean;
  readonly event_id: string | null;
  readonly topological_ordering: number | bigint | null;
  readonly stream_ordering: number | null;
}

/** The events next to each of these in their rooms' timelines: at most so many before and after, in one statement. */
export async function timelineNeighbours(
  h: ReadHandle,
  eventIds: readonly string[],
  limits: { readonly before: number; readonly after: number },
): Promise<NeighbourRow[]> {
  const side = (isBefore: boolean): string => {
    const order = isBefore ? "DESC" : "ASC";
    return `SELECT at.event_id AS around, at.room_id, at.topological_ordering AS topological, at.stream_ordering AS stream, ${isBefore} AS is_before,
                   e.event_id, e.topological_ordering, e.stream_ordering
              FROM events AS at LEFT JOIN LATERAL (
                SELECT events.event_id, events.topological_ordering, events.stream_ordering FROM events
                 WHERE events.room_id = at.room_id AND NOT events.outlier AND events.rejection_reason IS NULL
                   AND (events.topological_ordering, events.stream_ordering) ${isBefore ? "<" : ">"} (at.topological_ordering, at.stream_ordering)
                 ORDER BY events.topological_ordering ${order}, events.stream_ordering ${order}
                 LIMIT ${isBefore ? "$2" : "$3"}
              ) AS e ON TRUE
             WHERE at.event_id = ANY($1)`;
  };
  const rows = await query<NeighbourRow>(h, `${side(true)} UNION ALL ${side(false)}`, [eventIds, limits.before, limits.after]);
  return rows;
}

/** The largest depth among the room's events; 0 for an unknown room. */
export async function highestDepth(h: ReadHandle, roomId: string): Promise<number | bigint> {
  const row = await queryOne<{ depth: number | bigint }>(
    h,
    "SELECT events.topological_ordering AS depth FROM events WHERE events.room_id = $1 AND NOT events.outlier ORDER BY events.topological_ordering DESC LIMIT 1",
    [roomId],
  );
  return row?.depth ?? 0;
}

/** The smallest depth among the room's events at or after a stream position (at least the latest event); 0 for an unknown room. */
export async function depthAtStream(h: ReadHandle, roomId: string, stream: number): Promise<number | bigint> {
  const row = await queryOne<{ depth: number | bigint | null }>(
    h,
    `SELECT min(events.topological_ordering) AS depth FROM events
      WHERE events.room_id = $1
        AND events.stream_ordering >= LEAST($2::bigint, (SELECT max(latest.stream_ordering) FROM events AS latest WHERE latest.room_id = $1))`,
    [roomId, stream],
  );
  return row?.depth ?? 0;
}

/** The last event of the room's timeline at or before a position of the stream. */
export async function lastEventBefore(h: ReadHandle, roomId: string, position: TimelinePosition): Promise<string | undefined> {
  const params: unknown[] = [roomId];
  const where = positionConditions(
    true,
    { stream: position.stream, ...(position.instances === undefined ? {} : { instances: position.instances }) },
    undefined,
    params,
  );
  const row = await queryOne<{ event_id: string }>(
    h,
    `SELECT events.event_id FROM events
      WHERE events.room_id = $1 AND NOT events.outlier AND events.rejection_reason IS NULL${where}
      ORDER BY events.stream_ordering DESC LIMIT 1`,
    params,
  );
  return row?.event_id;
}

/** The event closest to a time (milliseconds) in the direction given; among equals the one that comes first in that direction. */
export async function eventNearTime(
  h: ReadHandle,
  roomId: string,
  timestamp: number,
  backwards: boolean,
): Promise<{ event_id: string; origin_server_ts: number } | undefined> {
  const order = backwards ? "DESC" : "ASC";
  return await queryOne(
    h,
    `SELECT events.event_id, events.origin_server_ts FROM events
      WHERE events.room_id = $1 AND events.origin_server_ts ${backwards ? "<=" : ">="} $2 AND NOT events.outlier
        AND NOT EXISTS (SELECT FROM rejections WHERE rejections.event_id = events.event_id)
      ORDER BY events.origin_server_ts ${order}, events.depth ${order}, events.stream_ordering ${order}
      LIMIT 1`,
    [roomId, timestamp],
  );
}

/** True when events before this one may be missing: it or one of its previous events is a backward extremity. */
export async function isBesideBackwardGap(h: ReadHandle, roomId: string, eventIds: readonly string[]): Promise<boolean> {
  const rows = await query(h, "SELECT FROM event_backward_extremities WHERE room_id = $1 AND event_id = ANY($2) LIMIT 1", [roomId, eventIds]);
  return rows.length > 0;
}

/** True when events after this one may be missing: it is no forward extremity, yet no accepted event follows it. */
export async function isBesideForwardGap(h: ReadHandle, roomId: string, eventId: string): Promise<boolean> {
  const row = await queryOne<{ gap: boolean }>(
    h,
    `SELECT NOT EXISTS (SELECT FROM event_forward_extremities WHERE event_forward_extremities.room_id = $1 AND event_forward_extremities.event_id = $2)
        AND NOT EXISTS (SELECT FROM event_edges WHERE event_edges.prev_event_id = $2
                           AND NOT EXISTS (SELECT FROM rejections WHERE rejections.event_id = event_edges.event_id)) AS gap`,
    [roomId, eventId],
  );
  return row!.gap;
}
