import { notFound } from "../../protocol/errors.ts";
import { badRequest } from "../../services/admin/targets.ts";
import { type Destination, DESTINATION_ORDERS, getDestination, listDestinations, roomsOfDestination } from "../../storage/admin/destinations.ts";
import type { Context } from "../../services/context.ts";
import { endpoint } from "../http/endpoint.ts";
import { nextToken, parseDescending, parsePage } from "./paging.ts";

const DESTINATIONS = "/_synapse/admin/v1/federation/destinations";

const view = (row: Destination): Destination => ({ ...row, retry_last_ts: row.retry_last_ts ?? 0, retry_interval: row.retry_interval ?? 0 });

async function known(ctx: Pick<Context, "read">, destination: string): Promise<Destination> {
  const row = await getDestination(ctx.read, destination);
  if (row === undefined) throw notFound("Unknown destination");
  return row;
}

const text = (token: number | undefined): { next_token?: string } => (token === undefined ? {} : { next_token: String(token) });

export const destinations = endpoint({
  servlet: "ListDestinationsRestServlet",
  method: "GET",
  path: DESTINATIONS,
  auth: "admin",
  async handle(ctx, { query }) {
    const page = parsePage(query);
    const order = { by: query.oneOf("order_by", DESTINATION_ORDERS, "destination"), descending: parseDescending(query) };
    const { rows, total } = await listDestinations(ctx.read, query.string("destination"), order, page);
    return { destinations: rows.map(view), total, ...text(nextToken(page, rows.length, total)) };
  },
});

export const destination = endpoint({
  servlet: "DestinationRestServlet",
  method: "GET",
  path: `${DESTINATIONS}/:destination`,
  auth: "admin",
  handle: async (ctx, { params }) => view(await known(ctx, params.destination)),
});

export const destinationRooms = endpoint({
  servlet: "DestinationMembershipRestServlet",
  method: "GET",
  path: `${DESTINATIONS}/:destination/rooms`,
  auth: "admin",
  async handle(ctx, { params, query }) {
    await known(ctx, params.destination);
    const page = parsePage(query);
    const { rows, total } = await roomsOfDestination(ctx.read, params.destination, parseDescending(query), page);
    return { rooms: rows, total, ...text(nextToken(page, rows.length, total)) };
  },
});

/** The server is tried again at once. */
export const resetConnection = endpoint({
  servlet: "DestinationResetConnectionRestServlet",
  method: "POST",
  path: `${DESTINATIONS}/:destination/reset_connection`,
  auth: "admin",
  bodyType: "none",
  async handle(ctx, { params }) {
    const { retry_last_ts: last } = await known(ctx, params.destination);
    if (!last) throw badRequest("The retry timing does not need to be reset for this destination.");
    await ctx.backoff.reset(params.destination);
    return {};
  },
});

export const federationRoutes = [destinations, destination, destinationRooms, resetConnection];
