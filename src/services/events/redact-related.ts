import type { JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { relatedEventIds } from "../../storage/events/relation-lookups.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { sendEvent, ShadowBanned } from "./send.ts";

/**
 * Redacts what relates to an event that was just redacted (MSC3912), by relation types, "*" for all. What the requester may not redact stays.
 * @param content of the redactions, such as their reason
 */
export async function redactRelated(
  ctx: Context,
  requester: Requester,
  target: { readonly roomId: string; readonly eventId: string },
  types: readonly string[],
  content: JsonObject,
): Promise<void> {
  const { roomId, eventId } = target;
  for (const redacts of await relatedEventIds(ctx.read, roomId, eventId, types.includes("*") ? undefined : types)) {
    try {
      await sendEvent(ctx, requester, { roomId, type: "m.room.redaction", content, redacts }, { rateLimit: false });
    } catch (error) {
      if (!(error instanceof MatrixError) && !(error instanceof ShadowBanned)) throw error;
      ctx.log.named("synapse.handlers.relations").warn(`Failed to redact event ${redacts} (related to event ${eventId}): ${error.message}`);
    }
  }
}
