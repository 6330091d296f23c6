import { query, type ReadHandle } from "../database.ts";

/** An event of a timeline: where it stands, before it is loaded. */
export interface TimelineRow {
  readonly room_id: string;
  readonly event_id: string;
  readonly stream_ordering: number;
  readonly topological_ordering: number | bigint;
}

/** A stretch of a room's timeline to read backwards. */
export interface Stretch {
  readonly roomId: string;
  /** Stream position after which events count; undefined: from the beginning of the room. */
  readonly after: number | undefined;
  /** Stream position up to which events count. */
  readonly upTo: number;
  /** Where the page before ended: events older than that one follow. */
  readonly before?: TimelineRow | undefined;
}

/**
 * The newest events of each stretch by stream position, at most `limit` each; newest first. Outliers and rejected events are left out.
 */
export function latestByStream(read: ReadHandle, stretches: readonly Stretch[], limit: number): Promise<TimelineRow[]> {
  return query<TimelineRow>(
    read,
    `SELECT wanted.room_id, e.event_id, e.stream_ordering, e.topological_ordering
     FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS wanted (room_id, after, up_to)
     CROSS JOIN LATERAL (
       SELECT events.event_id, events.stream_ordering, events.topological_ordering
       FROM events
       WHERE events.room_id = wanted.room_id AND events.stream_ordering > wanted.after AND events.stream_ordering <= wanted.up_to
         AND NOT events.outlier AND events.rejection_reason IS NULL
       ORDER BY events.stream_ordering DESC
       LIMIT $4
     ) AS e
     ORDER BY wanted.room_id, e.stream_ordering DESC`,
    [
      stretches.map((stretch) => stretch.roomId),
      stretches.map((stretch) => stretch.after ?? Number.MIN_SAFE_INTEGER),
      stretches.map((stretch) => (stretch.before === undefined ? stretch.upTo : stretch.before.stream_ordering - 1)),
      limit,
    ],
  );
}

/** As `latestByStream`, in the order in which history is paginated: by depth, then by stream position. */
export function latestByDepth(read: ReadHandle, stretches: readonly Stretch[], limit: number): Promise<TimelineRow[]> {
  return query<TimelineRow>(
    read,
    `SELECT wanted.room_id, e.event_id, e.stream_ordering, e.topological_ordering
     FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) AS wanted (room_id, up_to, depth, position)
     CROSS JOIN LATERAL (
       SELECT events.event_id, events.stream_ordering, events.topological_ordering
       FROM events
       WHERE events.room_id = wanted.room_id AND events.stream_ordering <= wanted.up_to
         AND (events.topological_ordering, events.stream_ordering) < (wanted.depth, wanted.position)
         AND NOT events.outlier AND events.rejection_reason IS NULL
       ORDER BY events.topological_ordering DESC, events.stream_ordering DESC
       LIMIT $5
     ) AS e
     ORDER BY wanted.room_id, e.topological_ordering DESC, e.stream_ordering DESC`,
    [
      stretches.map((stretch) => stretch.roomId),
      stretches.map((stretch) => stretch.upTo),
      stretches.map((stretch) => String(stretch.before?.topological_ordering ?? "9223372036854775807")),
      stretches.map((stretch) => stretch.before?.stream_ordering ?? Number.MAX_SAFE_INTEGER),
      limit,
    ],
  );
}

/** Which of the events others relate to, by senders and relation types where those are given (`related_by_...` of filters). */
export async function eventsRelatedTo(
  read: ReadHandle,
  eventIds: readonly string[],
  senders: readonly string[],
  relTypes: readonly string[],
): Promise<Set<string>> {
  const rows = await query<{ event_id: string }>(
    read,
    `SELECT DISTINCT r.relates_to_id AS event_id
     FROM event_relations AS r
     JOIN events AS e ON e.event_id = r.event_id
     WHERE r.relates_to_id = ANY($1) AND (cardinality($2::text[]) = 0 OR e.sender = ANY($2)) AND (cardinality($3::text[]) = 0 OR r.relation_type = ANY($3))`,
    [eventIds, senders, relTypes],
  );
  return new Set(rows.map((row) => row.event_id));
}

/** The first gap of each room's timeline in (`after`, `upTo`]: the stream position before which events are missing. */
export async function timelineGaps(read: ReadHandle, roomIds: readonly string[], after: number, upTo: number): Promise<Map<string, number>> {
  const rows = await query<{ room_id: string; stream_ordering: number }>(
    read,
    `SELECT room_id, max(stream_ordering) AS stream_ordering FROM timeline_gaps
     WHERE room_id = ANY($1) AND stream_ordering > $2 AND stream_ordering <= $3
     GROUP BY room_id`,
    [roomIds, after, upTo],
  );
  return new Map(rows.map((row) => [row.room_id, row.stream_ordering]));
}

export interface StateDelta {
  readonly room_id: string;
  readonly type: string;
  readonly state_key: string;
  /** null: the entry was removed (state reset). */
  readonly event_id: string | null;
  readonly prev_event_id: string | null;
  readonly stream_id: number;
}

/** Changes of the rooms' current state after each room's own position, in stream order. */
export function currentStateDeltas(read: ReadHandle, rooms: readonly { roomId: string; after: number }[]): Promise<StateDelta[]> {
  return query<StateDelta>(
    read,
    `SELECT delta.room_id, delta.type, delta.state_key, delta.event_id, delta.prev_event_id, delta.stream_id
     FROM unnest($1::text[], $2::bigint[]) AS wanted (room_id, after)
     JOIN current_state_delta_stream AS delta ON delta.room_id = wanted.room_id AND delta.stream_id > wanted.after
     ORDER BY delta.stream_id`,
    [rooms.map((room) => room.roomId), rooms.map((room) => room.after)],
  );
}

export interface MembershipChange {
  readonly room_id: string;
  readonly event_id: string;
  readonly membership: string;
  readonly sender: string;
  readonly stream_ordering: number;
}

/** All membership events of a user with stream positions in (`after`, `upTo`], oldest first. */
export function membershipChanges(read: ReadHandle, userId: string, after: number, upTo: number): Promise<MembershipChange[]> {
  return query<MembershipChange>(
    read,
    `SELECT m.room_id, m.event_id, m.membership, m.sender, m.event_stream_ordering AS stream_ordering
     FROM room_memberships AS m
     JOIN events AS e ON e.event_id = m.event_id
     WHERE m.user_id = $1 AND m.event_stream_ordering > $2 AND m.event_stream_ordering <= $3 AND e.rejection_reason IS NULL
     ORDER BY m.event_stream_ordering`,
    [userId, after, upTo],
  );
}

/** In which of the rooms the user's newest membership at or before a stream position was a join. */
export async function roomsJoinedAt(read: ReadHandle, userId: string, roomIds: readonly string[], position: number): Promise<Set<string>> {
  const rows = await query<{ room_id: string }>(
    read,
    `SELECT latest.room_id FROM (
       SELECT DISTINCT ON (m.room_id) m.room_id, m.membership
       FROM room_memberships AS m
       JOIN events AS e ON e.event_id = m.event_id
       WHERE m.user_id = $1 AND m.room_id = ANY($2) AND m.event_stream_ordering <= $3 AND e.rejection_reason IS NULL AND NOT e.outlier
       ORDER BY m.room_id, m.event_stream_ordering DESC
     ) AS latest
     WHERE latest.membership = 'join'`,
    [userId, roomIds, position],
  );
  return new Set(rows.map((row) => row.room_id));
}

export interface HeroRow {
  readonly room_id: string;
  readonly user_id: string;
  readonly event_id: string;
  readonly membership: string;
}

/**
 * Candidates for the heroes of rooms without a name: the first six members of each room, joined ones first, then invited, left and banned,
 * in the order in which they came.
 */
export function heroCandidates(read: ReadHandle, roomIds: readonly string[]): Promise<HeroRow[]> {
  return query<HeroRow>(
    read,
    `SELECT wanted.room_id, member.state_key AS user_id, member.event_id, member.membership
     FROM unnest($1::text[]) AS wanted (room_id)
     CROSS JOIN LATERAL (
       SELECT c.state_key, c.event_id, c.membership
       FROM current_state_events AS c
       WHERE c.type = 'm.room.member' AND c.room_id = wanted.room_id AND c.membership IS NOT NULL
       ORDER BY coalesce(array_position(ARRAY['join', 'invite', 'leave'], c.membership), 4), c.event_stream_ordering
       LIMIT 6
     ) AS member`,
    [roomIds],
  );
}
