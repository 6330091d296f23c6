import { query, type ReadHandle } from "../database.ts";
import { positionConditions, type TimelinePosition } from "./pagination.ts";

/** Readers of `event_relations` and `threads`. A relation counts only when both events are in the same room. */
export interface RelatedEvent {
  readonly event_id: string;
  readonly relation_type: string;
  readonly sender: string;
  readonly topological_ordering: number | bigint;
  readonly stream_ordering: number;
}

export interface RelationsQuery {
  readonly roomId: string;
  readonly parentId: string;
  readonly relationType: string | undefined;
  readonly eventType: string | undefined;
  readonly backwards: boolean;
  readonly from: TimelinePosition | undefined;
  readonly to: TimelinePosition | undefined;
  /** Also relations of related events, down to four steps from the parent. */
  readonly recurse: boolean;
  readonly limit: number;
}

/** Events that relate to the parent, in the order asked for. */
export async function relationsOf(h: ReadHandle, wanted: RelationsQuery): Promise<RelatedEvent[]> {
  const params: unknown[] = [wanted.parentId, wanted.roomId, wanted.limit];
  let where = "";
  if (wanted.relationType !== undefined) where += ` AND related.relation_type = $${params.push(wanted.relationType)}`;
  if (wanted.eventType !== undefined) where += ` AND events.type = $${params.push(wanted.eventType)}`;
  where += positionConditions(wanted.backwards, wanted.from, wanted.to, params);
  const order = wanted.backwards ? "DESC" : "ASC";
  const related = wanted.recurse
    ? `WITH RECURSIVE related AS (
         SELECT event_relations.event_id, event_relations.relation_type, 0 AS steps FROM event_relations WHERE event_relations.relates_to_id = $1
          UNION
         SELECT next.event_id, next.relation_type, related.steps + 1 FROM related JOIN event_relations AS next ON next.relates_to_id = related.event_id
          WHERE related.steps <= 3
       )`
    : "WITH related AS (SELECT event_relations.event_id, event_relations.relation_type FROM event_relations WHERE event_relations.relates_to_id = $1)";
  return await query<RelatedEvent>(
    h,
    `${related}
     SELECT DISTINCT events.event_id, related.relation_type, events.sender, events.topological_ordering, events.stream_ordering
       FROM related JOIN events ON events.event_id = related.event_id
      WHERE events.room_id = $2${where}
      ORDER BY events.topological_ordering ${order}, events.stream_ordering ${order}
      LIMIT $3`,
    params,
  );
}

/** Those of these events that other events refer to, replace or answer in a thread. */
export async function eventsWithBundles(h: ReadHandle, eventIds: readonly string[]): Promise<Set<string>> {
  const rows = await query<{ event_id: string }>(
    h,
    `SELECT wanted.event_id FROM unnest($1::text[]) AS wanted (event_id)
      WHERE EXISTS (SELECT FROM event_relations
                     WHERE event_relations.relates_to_id = wanted.event_id AND event_relations.relation_type IN ('m.reference', 'm.replace', 'm.thread'))`,
    [eventIds],
  );
  return new Set(rows.map((row) => row.event_id));
}

/** Events that refer to these by `m.reference`: by parent, oldest first. */
export async function referencesTo(h: ReadHandle, parentIds: readonly string[]): Promise<Map<string, { eventId: string; sender: string }[]>> {
  if (parentIds.length === 0) return new Map();
  const rows = await query<{ relates_to_id: string; event_id: string; sender: string }>(
    h,
    `SELECT event_relations.relates_to_id, child.event_id, child.sender
       FROM event_relations
       JOIN events AS child ON child.event_id = event_relations.event_id
       JOIN events AS parent ON parent.event_id = event_relations.relates_to_id AND parent.room_id = child.room_id
      WHERE event_relations.relates_to_id = ANY($1) AND event_relations.relation_type = 'm.reference'
      ORDER BY child.topological_ordering, child.stream_ordering`,
    [parentIds],
  );
  const references = new Map<string, { eventId: string; sender: string }[]>();
  for (const row of rows) {
    const list = references.get(row.relates_to_id);
    const reference = { eventId: row.event_id, sender: row.sender };
    if (list === undefined) references.set(row.relates_to_id, [reference]);
    else list.push(reference);
  }
  return references;
}

/** The edit that applies to each of these events: the latest of the same sender and type. Events without an edit are left out. */
export async function latestEdits(h: ReadHandle, eventIds: readonly string[]): Promise<Map<string, string>> {
  if (eventIds.length === 0) return new Map();
  const rows = await query<{ original_id: string; edit_id: string }>(
    h,
    `SELECT DISTINCT ON (original.event_id) original.event_id AS original_id, edit.event_id AS edit_id
       FROM event_relations
       JOIN events AS edit ON edit.event_id = event_relations.event_id
       JOIN events AS original ON original.event_id = event_relations.relates_to_id
        AND original.room_id = edit.room_id AND original.sender = edit.sender AND original.type = edit.type
      WHERE event_relations.relates_to_id = ANY($1) AND event_relations.relation_type = 'm.replace'
      ORDER BY original.event_id, edit.origin_server_ts DESC, edit.event_id DESC`,
    [eventIds],
  );
  return new Map(rows.map((row) => [row.original_id, row.edit_id]));
}

export interface ThreadSummary {
  /** Replies by users that are not ignored. */
  readonly count: number;
  /** The last reply by a user that is not ignored. */
  readonly latestEventId: string;
  /** The user has replied. */
  readonly participated: boolean;
}

/** What is known of the threads below these events, without the replies of ignored users; events without a thread are left out. */
export async function threadSummaries(
  h: ReadHandle,
  rootIds: readonly string[],
  userId: string,
  ignored: readonly string[],
): Promise<Map<string, ThreadSummary>> {
  if (rootIds.length === 0) return new Map();
  const rows = await query<{ relates_to_id: string; count: number; latest: string; participated: boolean }>(
    h,
    `SELECT event_relations.relates_to_id, count(*) AS count,
            (array_agg(child.event_id ORDER BY child.topological_ordering DESC, child.stream_ordering DESC))[1] AS latest,
            bool_or(child.sender = $2) AS participated
       FROM event_relations
       JOIN events AS child ON child.event_id = event_relations.event_id
       JOIN events AS root ON root.event_id = event_relations.relates_to_id AND root.room_id = child.room_id
      WHERE event_relations.relates_to_id = ANY($1) AND event_relations.relation_type = 'm.thread' AND child.sender <> ALL($3::text[])
      GROUP BY event_relations.relates_to_id`,
    [rootIds, userId, ignored],
  );
  return new Map(rows.map((row) => [row.relates_to_id, { count: row.count, latestEventId: row.latest, participated: row.participated }]));
}

/** Of these thread roots, those whose thread the user has replied in. */
export async function threadsParticipated(h: ReadHandle, rootIds: readonly string[], userId: string): Promise<Set<string>> {
  if (rootIds.length === 0) return new Set();
  const rows = await query<{ relates_to_id: string }>(
    h,
    `SELECT DISTINCT event_relations.relates_to_id
       FROM event_relations
       JOIN events AS child ON child.event_id = event_relations.event_id AND child.sender = $2
       JOIN events AS root ON root.event_id = event_relations.relates_to_id AND root.room_id = child.room_id
      WHERE event_relations.relates_to_id = ANY($1) AND event_relations.relation_type = 'm.thread'`,
    [rootIds, userId],
  );
  return new Set(rows.map((row) => row.relates_to_id));
}

export interface ThreadRow {
  readonly thread_id: string;
  readonly topological_ordering: number | bigint;
  readonly stream_ordering: number;
}

/** Threads of a room, the one with the latest reply first, below the position `before`. */
export async function threadsOfRoom(
  h: ReadHandle,
  roomId: string,
  before: { readonly topological: number | bigint; readonly stream: number } | undefined,
  limit: number,
): Promise<ThreadRow[]> {
  const params: unknown[] = [roomId, limit];
  let where = "";
  if (before !== undefined) {
    params.push(before.topological, before.stream);
    where = " AND (threads.topological_ordering, threads.stream_ordering) < ($3, $4)";
  }
  return await query<ThreadRow>(
    h,
    `SELECT threads.thread_id, threads.topological_ordering, threads.stream_ordering FROM threads
      WHERE threads.room_id = $1${where}
      ORDER BY threads.topological_ordering DESC, threads.stream_ordering DESC LIMIT $2`,
    params,
  );
}
