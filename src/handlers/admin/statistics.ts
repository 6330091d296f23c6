import { invalidParam } from "../../protocol/errors.ts";
import { largestRooms, MEDIA_USAGE_ORDERS, mediaUsage } from "../../storage/admin/statistics.ts";
import { endpoint } from "../http/endpoint.ts";
import { nextToken, parseDescending, parsePage } from "./paging.ts";

/** Uploads by user. */
export const userMediaStatistics = endpoint({
  servlet: "UserMediaStatisticsRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/statistics/users/media",
  auth: "admin",
  async handle(ctx, { query }) {
    const by = query.oneOf("order_by", MEDIA_USAGE_ORDERS, "user_id");
    const page = parsePage(query);
    const since = query.natural("from_ts", 0);
    const until = query.natural("until_ts");
    if (until !== undefined && until <= since) throw invalidParam("Query parameter until_ts must be greater than from_ts.");
    const searchTerm = query.string("search_term");
    if (searchTerm === "") throw invalidParam("Query parameter search_term cannot be an empty string.");
    const { rows, total } = await mediaUsage(ctx.read, { since, until: until || undefined, searchTerm }, { by, descending: parseDescending(query) }, page);
    return { users: rows, total, next_token: nextToken(page, rows.length, total) };
  },
});

/** The rooms that take most space; before Postgres has statistics of its tables (and Synapse fails), none. */
export const roomSizes = endpoint({
  servlet: "LargestRoomsStatistics",
  method: "GET",
  path: "/_synapse/admin/v1/statistics/database/rooms",
  auth: "admin",
  handle: async (ctx) => ({ rooms: await largestRooms(ctx.read) }),
});

export const statisticsRoutes = [userMediaStatistics, roomSizes];
