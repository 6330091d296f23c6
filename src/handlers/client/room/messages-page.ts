import type { Context } from "../../../services/context.ts";
import { presentEvents } from "../../../services/present.ts";
import type { Requester } from "../../../services/requester.ts";
import { parseRoomEventFilter } from "../../../services/rooms/event-filter.ts";
import { roomMessages } from "../../../services/rooms/messages.ts";
import type { Query } from "../../http/query.ts";
import { parsePagination } from "./pagination.ts";

/** Answers `/messages`, for a member or for an admin (who sees all). @throws MatrixError 400, 403 */
export async function messagesPage(
  ctx: Context,
  { requester, params, query }: { requester: Requester; params: { roomId: string }; query: Query },
  options: { asAdmin?: boolean } = {},
): Promise<object> {
  const pagination = parsePagination(query, { limit: 10 });
  const filter = parseRoomEventFilter(ctx, query.string("filter"));
  const page = await roomMessages(ctx, requester, params.roomId, pagination, filter, options);
  const format = query.has("raw") || filter?.federationFormat ? "federation" : "client-v1";
  return {
    chunk: await presentEvents(ctx, requester, page.events, { format, bundles: page.bundles, previous: true }),
    start: page.start,
    end: page.end,
    state: page.state === undefined ? undefined : await presentEvents(ctx, requester, page.state, { format }),
  };
}
