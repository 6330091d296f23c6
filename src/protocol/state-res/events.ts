import { stateKeyOf, type MatrixEvent, type StateKey } from "../event/event.ts";
import { compareCodePoints } from "../canonical-json.ts";

/** Key of a state event; undefined for others, which no state holds. */
export function keyOf(event: MatrixEvent): StateKey | undefined {
  return event.stateKey === undefined ? undefined : stateKeyOf(event.type, event.stateKey);
}

/** Order by time, then by id: how the algorithms break ties. */
export function compareTimeAndId(a: MatrixEvent, b: MatrixEvent): number {
  return a.originServerTs - b.originServerTs || compareCodePoints(a.eventId, b.eventId);
}
