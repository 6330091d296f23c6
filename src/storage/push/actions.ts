import type { Json } from "../../lib/json.ts";
import { actionsOfRow } from "../../protocol/push-rules/actions.ts";
import { type Writer, write } from "../events/persist/bulk.ts";

/** Whom an event notifies, and how: one row of `event_push_actions`. */
export interface PushAction {
  readonly userId: string;
  /** As the column has it: see `storedActions`. */
  readonly actions: string;
  readonly notif: boolean;
  readonly highlight: boolean;
  /** Counts as unread (MSC2654, experimental; else false). */
  readonly unread: boolean;
  /** `main`, or the root event of the thread. */
  readonly threadId: string;
}

/** The list that a stored text stands for. */
export function readActions(text: string, highlight: boolean): readonly Json[] {
  return actionsOfRow(text === "" ? undefined : (JSON.parse(text) as Json), highlight);
}

export interface NotifyingEvent {
  readonly roomId: string;
  readonly eventId: string;
  readonly streamOrdering: number;
  readonly depth: number | bigint;
  readonly actions: readonly PushAction[];
}

/**
 * Writes who is notified of these events. (Synapse goes through `event_push_actions_staging` because it evaluates the rules in other
 * processes than it persists in; here the rows are written once.) Texts that all rows of an event share are sent once.
 */
export async function insertPushActions(writer: Writer, events: readonly NotifyingEvent[]): Promise<void> {
  const notifying = events.filter(({ actions }) => actions.length > 0);
  if (notifying.length === 0) return;
  const kinds = new Map<string, number>();
  const kindRows: PushAction[] = [];
  const eventOf: number[] = [];
  const userOf: string[] = [];
  const kindOf: number[] = [];
  notifying.forEach(({ actions }, index) => {
    for (const action of actions) {
      const key = `${action.actions} ${action.notif} ${action.highlight} ${action.unread} ${action.threadId}`;
      let kind = kinds.get(key);
      if (kind === undefined) {
        kinds.set(key, (kind = kindRows.length));
        kindRows.push(action);
      }
      eventOf.push(index);
      userOf.push(action.userId);
      kindOf.push(kind);
    }
  });
  const bit = (flag: boolean): number => (flag ? 1 : 0);
  await write(
    writer,
    `INSERT INTO event_push_actions
       (room_id, event_id, user_id, actions, stream_ordering, topological_ordering, notif, highlight, unread, thread_id)
     SELECT e.room_id, e.event_id, u.user_id, k.actions, e.stream_ordering, e.depth, k.notif, k.highlight, k.unread, k.thread_id
     FROM unnest($1::integer[], $2::text[], $3::integer[]) AS u (event_no, user_id, kind_no)
     JOIN unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[]) WITH ORDINALITY AS e (room_id, event_id, stream_ordering, depth, no) ON e.no = u.event_no + 1
     JOIN unnest($8::text[], $9::smallint[], $10::smallint[], $11::smallint[], $12::text[]) WITH ORDINALITY AS k (actions, notif, highlight, unread, thread_id, no)
       ON k.no = u.kind_no + 1`,
    [
      eventOf,
      userOf,
      kindOf,
      notifying.map((event) => event.roomId),
      notifying.map((event) => event.eventId),
      notifying.map((event) => event.streamOrdering),
      notifying.map((event) => String(event.depth)),
      kindRows.map((kind) => kind.actions),
      kindRows.map((kind) => bit(kind.notif)),
      kindRows.map((kind) => bit(kind.highlight)),
      kindRows.map((kind) => bit(kind.unread)),
      kindRows.map((kind) => kind.threadId),
    ],
  );
}
