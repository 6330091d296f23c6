import { MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { storedRelation } from "../../storage/events/persist/event-tables.ts";
import { hasAnnotated, hasRelation, isRelationTarget } from "../../storage/events/relation-lookups.ts";
import type { Context } from "../context.ts";

export type RelationContext = Pick<Context, "events" | "read">;

const MAX_KEY_LENGTH = 500;
const bad = (message: string): MatrixError => new MatrixError(400, "M_UNKNOWN", message);

/**
 * Whether what a new event of a local user relates to makes sense (client-server API, "Forming relationships between events").
 * @throws MatrixError 400
 */
export async function checkRelation(ctx: RelationContext, event: MatrixEvent, atHand: (eventId: string) => MatrixEvent | undefined): Promise<void> {
  const relation = storedRelation(event);
  if (relation === undefined) return;
  const parent = atHand(relation.relatesTo) ?? (await ctx.events.one(relation.relatesTo));
  if (parent !== undefined) {
    if (parent.roomId !== event.roomId) throw bad("Relations must be in the same room");
  } else if (!(await isRelationTarget(ctx.read, relation.relatesTo))) {
    // Others relate to it, so clients may know it although this server does not.
    throw bad("Can't send relation to unknown event");
  }
  if (relation.type === "m.annotation") {
    if (relation.key === undefined) throw bad("Missing aggregation key");
    if ([...relation.key].length > MAX_KEY_LENGTH) throw bad("Aggregation key is too long");
    if (await hasAnnotated(ctx.read, relation.relatesTo, event.type, relation.key, event.sender)) {
      throw new MatrixError(400, "M_DUPLICATE_ANNOTATION", "Can't send same reaction twice");
    }
  } else if (relation.type === "m.thread") {
    const parentRelates = parent === undefined ? await hasRelation(ctx.read, relation.relatesTo) : storedRelation(parent) !== undefined;
    if (parentRelates) throw bad("Cannot start threads from an event with a relation");
  }
}
