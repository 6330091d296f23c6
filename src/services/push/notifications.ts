import { type JsonText } from "../../lib/json.ts";
import { readActions } from "../../storage/push/actions.ts";
import { notificationsBefore } from "../../storage/push/notifications.ts";
import { eventPositionsAnywhere, readPositionsOfUser } from "../../storage/receipts/receipts.ts";
import type { Context } from "../context.ts";
import { presentEvents } from "../present.ts";
import type { Requester } from "../requester.ts";
import { tellInRows } from "./unread.ts";

/** `GET /notifications`: what notified the user, newest first (client-server API, "Listing Notifications"). */
export interface Notifications {
  readonly notifications: readonly NotificationView[];
  /** null when there is nothing. */
  readonly next_token: string | null;
}

interface NotificationView {
  readonly room_id: string;
  readonly profile_tag: string | null;
  readonly actions: readonly unknown[];
  readonly ts: number | null;
  readonly event: JsonText;
  readonly read: boolean;
}

/** At most `limit` notifications before a stream position. Those whose event has gone meanwhile are left out. */
export async function listNotifications(
  ctx: Pick<Context, "read" | "events" | "clock" | "config" | "crowds" | "isServerAdmin" | "modules" | "transaction">,
  requester: Requester,
  before: number | undefined,
  limit: number,
  onlyHighlights: boolean,
): Promise<Notifications> {
  const { userId } = requester;
  await tellInRows(ctx, userId);
  const rows = await notificationsBefore(ctx.read, userId, before, limit, onlyHighlights);
  if (rows.length === 0) return { notifications: [], next_token: null };
  const [events, receipts] = await Promise.all([
    ctx.events.get(rows.map((row) => row.eventId)),
    readPositionsOfUser(ctx.read, userId, ["m.read", "m.read.private"]),
  ]);
  const readUpTo = await eventPositionsAnywhere(
    ctx.read,
    [...new Set(rows.map((row) => row.roomId))].flatMap((roomId) => receipts.get(roomId)?.eventId ?? []),
  );
  const known = rows.filter((row) => events.has(row.eventId));
  const shown = await presentEvents(
    ctx,
    requester,
    known.map((row) => events.get(row.eventId)!),
    { format: "client-without-room" },
  );
  return {
    notifications: known.map((row, index) => {
      const receipt = receipts.get(row.roomId);
      const position = receipt && readUpTo.get(receipt.eventId);
      const read = position !== undefined && (position.depth > row.depth || (position.depth === row.depth && position.streamOrdering >= row.streamOrdering));
      return {
        room_id: row.roomId,
        profile_tag: row.profileTag,
        actions: readActions(row.actions, row.highlight),
        ts: row.receivedTs,
        event: shown[index]!,
        read,
      };
    }),
    next_token: String(rows.at(-1)!.streamOrdering),
  };
}
