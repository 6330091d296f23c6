import type { MatrixEvent } from "../event/event.ts";
import { getDomain } from "../ids.ts";
import type { PowerLevels } from "../power-levels.ts";

/**
 * What a redaction's sender may redact: `any` event; events of their `own` server alone, which is checked when the redaction is
 * applied (`internal.recheck_redaction`); `none`. The auth rules refuse the event for `none`, which only room versions 1 and 2 know
 * (rule 11 there; from version 3 on "Handling redactions").
 */
export function redactionRight(event: MatrixEvent, levels: PowerLevels): "any" | "own" | "none" {
  if (levels.user(event.sender) >= levels.level("redact")) return "any"; // v1 rule 11.1
  if (event.roomVersion.redactionAuthBySender) return "own";
  if (event.redacts === undefined) return "any"; // redacts nothing
  // v1 rule 11.2
  return getDomain(event.eventId) === getDomain(event.redacts) ? "any" : "none";
}

/** True when an accepted redaction takes effect on that event: same room, no create event, and the right to it. */
export function redactionApplies(redaction: MatrixEvent, target: MatrixEvent): boolean {
  if (redaction.redacts !== target.eventId || redaction.roomId !== target.roomId || redaction.rejectedReason !== undefined) return false;
  if (target.type === "m.room.create") return false;
  return redaction.internal.recheck_redaction !== true || getDomain(redaction.sender) === getDomain(target.sender);
}
