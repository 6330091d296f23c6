import { isJsonObject, type Json } from "../../../lib/json.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { stickyUntil } from "../../../protocol/event/serialise.ts";
import { topicText } from "../../../protocol/topic.ts";
import type { Batch, PlannedEvent, RoomPlan } from "./batch.ts";
import { bulk, type ColumnType, derivedText, insertAll, type Value, type Writer } from "./bulk.ts";

/** A table that gets rows for events, all by one INSERT. */
export interface EventTable {
  readonly table: string;
  /** Which events: `new` were not stored before; `accepted` are those of them that the auth rules allow; `stateful` have (also now first) a state. */
  readonly of: "new" | "accepted" | "stateful";
  readonly columns: Readonly<Record<string, ColumnType>>;
  readonly conflict?: string;
  rows(planned: PlannedEvent, batch: Batch): readonly (readonly Value[])[];
}

const ID = { event_id: "text" } as const;
const ID_AND_ROOM = { event_id: "text", room_id: "text" } as const;

export const eventJson: EventTable = {
  table: "event_json",
  of: "new",
  columns: { ...ID_AND_ROOM, internal_metadata: "text", json: "text", format_version: "integer" },
  rows: ({ event, metadata, json }) => [[event.eventId, event.roomId, metadata, json, event.roomVersion.eventFormat]],
};

export const events: EventTable = {
  table: "events",
  of: "new",
  columns: {
    ...ID_AND_ROOM,
    stream_ordering: "bigint",
    instance_name: "text",
    topological_ordering: "bigint",
    depth: "bigint",
    type: "text",
    state_key: "text",
    sender: "text",
    processed: "boolean",
    outlier: "boolean",
    origin_server_ts: "bigint",
    received_ts: "bigint",
    contains_url: "boolean",
    rejection_reason: "text",
  },
  rows: ({ event, streamOrdering }, { instance, now }) => [
    [
      event.eventId,
      event.roomId,
      streamOrdering,
      instance,
      event.depth,
      event.depth,
      event.type,
      event.stateKey,
      event.sender,
      true,
      event.outlier,
      Math.trunc(event.originServerTs),
      now,
      typeof event.content.url === "string",
      event.rejectedReason,
    ],
  ],
};

export const stateEvents: EventTable = {
  table: "state_events",
  of: "new",
  columns: { ...ID_AND_ROOM, type: "text", state_key: "text" },
  rows: ({ event }) => (event.stateKey === undefined ? [] : [[event.eventId, event.roomId, event.type, event.stateKey]]),
};

export const eventAuth: EventTable = {
  table: "event_auth",
  of: "new",
  columns: { ...ID_AND_ROOM, auth_id: "text" },
  rows: ({ event }) => (event.stateKey === undefined ? [] : event.authEventIds.map((id) => [event.eventId, event.roomId, id])),
};

export const rejections: EventTable = {
  table: "rejections",
  of: "new",
  columns: { ...ID, reason: "text", last_check: "text" },
  rows: ({ event }, { now }) => (event.rejectedReason === undefined ? [] : [[event.eventId, event.rejectedReason, String(now)]]),
};

export const eventToStateGroups: EventTable = {
  table: "event_to_state_groups",
  of: "stateful",
  columns: { ...ID, state_group: "bigint" },
  conflict: "ON CONFLICT (event_id) DO UPDATE SET state_group = EXCLUDED.state_group",
  rows: ({ event, before, after }) => [[event.eventId, (event.rejectedReason === undefined ? after : before)!.id]],
};

/** A trigger and foreign keys see to it that the room still has partial state. */
export const partialStateEvents: EventTable = {
  table: "partial_state_events",
  of: "stateful",
  columns: { room_id: "text", ...ID },
  rows: ({ event, partialState }) => (partialState ? [[event.roomId, event.eventId]] : []),
};

export const eventEdges: EventTable = {
  table: "event_edges",
  of: "accepted",
  columns: { ...ID, prev_event_id: "text" },
  rows: ({ event }) => [...new Set(event.prevEventIds)].map((id) => [event.eventId, id]),
};

export const roomMemberships: EventTable = {
  table: "room_memberships",
  of: "accepted",
  columns: {
    ...ID_AND_ROOM,
    event_stream_ordering: "bigint",
    user_id: "text",
    sender: "text",
    membership: "text",
    display_name: "text",
    avatar_url: "text",
  },
  rows: ({ event, streamOrdering }) =>
    event.type !== "m.room.member" || event.stateKey === undefined
      ? []
      : [
          [
            event.eventId,
            event.roomId,
            streamOrdering,
            event.stateKey,
            event.sender,
            event.membership ?? "",
            derivedText(event.content.displayname),
            derivedText(event.content.avatar_url),
          ],
        ],
};

export const redactions: EventTable = {
  table: "redactions",
  of: "accepted",
  columns: { ...ID, redacts: "text", received_ts: "bigint", recheck: "boolean" },
  conflict: "ON CONFLICT (event_id) DO UPDATE SET redacts = EXCLUDED.redacts, received_ts = EXCLUDED.received_ts, recheck = EXCLUDED.recheck",
  rows: ({ event }, { now }) =>
    event.redacts === undefined || event.redacts.includes("\u0000") ? [] : [[event.eventId, event.redacts, now, event.internal.recheck_redaction === true]],
};

export const eventRelations: EventTable = {
  table: "event_relations",
  of: "accepted",
  columns: { ...ID, relates_to_id: "text", relation_type: "text", aggregation_key: "text" },
  rows: ({ event }) => {
    const relation = storedRelation(event);
    return relation === undefined ? [] : [[event.eventId, relation.relatesTo, relation.type, relation.key]];
  },
};

export const eventLabels: EventTable = {
  table: "event_labels",
  of: "accepted",
  columns: { ...ID_AND_ROOM, label: "text", topological_ordering: "bigint" },
  rows: ({ event }) => {
    const labels = event.content["org.matrix.labels"];
    if (!Array.isArray(labels)) return [];
    const texts = new Set(labels.filter((label): label is string => derivedText(label) !== null));
    return [...texts].map((label) => [event.eventId, event.roomId, label, event.depth]);
  },
};

export const eventExpiry: EventTable = {
  table: "event_expiry",
  of: "accepted",
  columns: { ...ID, expiry_ts: "bigint" },
  rows: ({ event }, { options }) => {
    const expiry = event.content["org.matrix.self_destruct_after"];
    return options.ephemeralMessages && event.stateKey === undefined && Number.isSafeInteger(expiry) ? [[event.eventId, expiry as number]] : [];
  },
};

export const roomRetention: EventTable = {
  table: "room_retention",
  of: "accepted",
  columns: { ...ID_AND_ROOM, min_lifetime: "bigint", max_lifetime: "bigint" },
  rows: ({ event }) => {
    if (event.type !== "m.room.retention" || event.stateKey === undefined) return [];
    const { min_lifetime: min, max_lifetime: max } = event.content;
    if ((min === undefined && max === undefined) || !isLifetime(min) || !isLifetime(max)) return [];
    return [[event.eventId, event.roomId, min, max]];
  },
};

export const stickyEvents: EventTable = {
  table: "sticky_events",
  of: "stateful",
  columns: { stream_id: "bigint", instance_name: "text", ...ID_AND_ROOM, event_stream_ordering: "bigint", sender: "text", expires_at: "bigint" },
  rows: ({ event, stickyId, streamOrdering }, { instance, now }) =>
    stickyId === 0 ? [] : [[stickyId, instance, event.eventId, event.roomId, streamOrdering, event.sender, stickyUntil(event, now)]],
};

/** Events that clients are to be sent until a time (MSC4354), unless somebody called them spam. */
export const stickyOnes = ({ rooms, now }: Batch): PlannedEvent[] =>
  rooms.flatMap((room) =>
    [...room.events, ...room.deoutliered].filter(
      ({ event }) =>
        event.rejectedReason === undefined &&
        !event.outlier &&
        !event.internal.policy_server_spammy &&
        !event.internal.spam_checker_spammy &&
        stickyUntil(event, now) > now,
    ),
  );

const isLifetime = (value: Json | undefined): value is number | bigint | undefined =>
  value === undefined || typeof value === "bigint" || Number.isSafeInteger(value);

/** The relation of an event as `event_relations` has it: the keys must be strings that Postgres can hold. */
export function storedRelation(event: MatrixEvent): { relatesTo: string; type: string; key: string | undefined } | undefined {
  const relation = event.content["m.relates_to"];
  if (!isJsonObject(relation)) return undefined;
  const type = derivedText(relation.rel_type);
  const relatesTo = derivedText(relation.event_id);
  if (type === null || relatesTo === null) return undefined;
  return { relatesTo, type, key: type === "m.annotation" ? (derivedText(relation.key) ?? undefined) : undefined };
}

/** Text that message search finds an event by. */
export function searchText(event: MatrixEvent): { key: string; value: string } | undefined {
  const { body, name } = event.content;
  let found: { key: string; value: string } | undefined;
  if (event.type === "m.room.message" && typeof body === "string") found = { key: "content.body", value: body };
  else if (event.type === "m.room.name" && typeof name === "string") found = { key: "content.name", value: name };
  else if (event.type === "m.room.topic" && typeof event.content.topic === "string") found = { key: "content.topic", value: topicText(event.content) ?? "" };
  return found === undefined ? undefined : { key: found.key, value: found.value.replaceAll("\u0000", " ") };
}

const SEARCH_COLUMNS = { ...ID_AND_ROOM, key: "text", value: "text", stream_ordering: "bigint", origin_server_ts: "bigint" } as const;

export async function insertEventSearch(txn: Writer, batch: Batch): Promise<unknown> {
  if (!batch.options.search) return;
  const rows = accepted(batch).flatMap(({ event, streamOrdering }) => {
    const text = searchText(event);
    return text === undefined ? [] : [[event.eventId, event.roomId, text.key, text.value, streamOrdering, Math.trunc(event.originServerTs)]];
  });
  return await bulk(
    txn,
    SEARCH_COLUMNS,
    `INSERT INTO event_search (event_id, room_id, key, vector, stream_ordering, origin_server_ts)
     SELECT row.event_id, row.room_id, row.key, to_tsvector('english', row.value), row.stream_ordering, row.origin_server_ts FROM ROWS`,
    rows,
  );
}

const TXN_COLUMNS = { ...ID_AND_ROOM, user_id: "text", device_id: "text", txn_id: "text" } as const;

/** Transaction ids by device; a device that was deleted meanwhile has none (foreign key). */
export async function insertTransactionIds(txn: Writer, batch: Batch): Promise<unknown> {
  const rows = batch.rooms.flatMap((room) =>
    room.events.flatMap(({ event }) => {
      const { txn_id: txnId, device_id: deviceId } = event.internal;
      return txnId === undefined || deviceId === undefined ? [] : [[event.eventId, event.roomId, event.sender, deviceId, txnId]];
    }),
  );
  return await bulk(
    txn,
    TXN_COLUMNS,
    `INSERT INTO event_txn_id_device_id (event_id, room_id, user_id, device_id, txn_id, inserted_ts)
     SELECT row.event_id, row.room_id, row.user_id, row.device_id, row.txn_id, $6::bigint
     FROM ROWS JOIN devices AS d ON d.user_id = row.user_id AND d.device_id = row.device_id`,
    rows,
    [batch.now],
  );
}

/** A redacted event that arrives (again) unredacted must be censored once more. */
export async function markForCensoring(txn: Writer, batch: Batch): Promise<unknown> {
  const rows = batch.rooms.flatMap((room) => room.events.flatMap(({ event, mayBeRedacted }) => (mayBeRedacted ? [[event.eventId]] : [])));
  return await bulk(txn, ID, `UPDATE redactions AS d SET have_censored = FALSE FROM ROWS WHERE d.redacts = row.event_id AND d.have_censored`, rows);
}

/** All rows of one table. */
export async function insertEvents(txn: Writer, batch: Batch, spec: EventTable): Promise<unknown> {
  const rows: (readonly Value[])[] = [];
  for (const room of batch.rooms) {
    for (const planned of eventsFor(room, spec.of)) rows.push(...spec.rows(planned, batch));
  }
  return await insertAll(txn, spec.table, spec.columns, rows, spec.conflict);
}

function eventsFor(room: RoomPlan, of: EventTable["of"]): readonly PlannedEvent[] {
  if (of === "new") return room.events;
  if (of === "accepted") return room.events.filter(isAccepted);
  return [...room.events, ...room.deoutliered].filter(({ event, before, after }) => (event.rejectedReason === undefined ? after : before) !== undefined);
}

export const isAccepted = ({ event }: PlannedEvent): boolean => event.rejectedReason === undefined;
export const accepted = (batch: Batch): PlannedEvent[] => batch.rooms.flatMap((room) => room.events.filter(isAccepted));
