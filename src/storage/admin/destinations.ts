import { queryOne, type ReadHandle } from "../database.ts";
import { from, type Page, pageOf, type PageRequest } from "../query-builder.ts";

export const DESTINATION_ORDERS = ["destination", "retry_last_ts", "retry_interval", "failure_ts", "last_successful_stream_ordering"] as const;
export type DestinationOrder = (typeof DESTINATION_ORDERS)[number];

/** A server that this one sends to; times in milliseconds. */
export interface Destination {
  readonly destination: string;
  readonly retry_last_ts: number | null;
  readonly retry_interval: number | null;
  readonly failure_ts: number | null;
  readonly last_successful_stream_ordering: number | null;
}

/** Servers whose name holds the text, or all. */
export async function listDestinations(
  h: ReadHandle,
  part: string | undefined,
  order: { readonly by: DestinationOrder; readonly descending: boolean },
  page: PageRequest,
): Promise<Page<Destination>> {
  const base = from("destinations as d");
  if (part) base.whereRaw("lower(d.destination) LIKE ?", [`%${part.toLowerCase()}%`]);
  const columns = DESTINATION_ORDERS.map((column) => `d.${column}`);
  return await pageOf(h, base, columns, `d.${order.by} ${order.descending ? "DESC" : "ASC"}, d.destination ASC`, page);
}

export async function getDestination(h: ReadHandle, destination: string): Promise<Destination | undefined> {
  return await queryOne(h, `SELECT ${DESTINATION_ORDERS.join(", ")} FROM destinations WHERE destination = $1`, [destination]);
}

/** Rooms that have something for the server, with the position of the newest. */
export async function roomsOfDestination(
  h: ReadHandle,
  destination: string,
  descending: boolean,
  page: PageRequest,
): Promise<Page<{ room_id: string; stream_ordering: number }>> {
  const base = from("destination_rooms as r").whereRaw("r.destination = ?", [destination]);
  return await pageOf(h, base, ["r.room_id", "r.stream_ordering"], `r.room_id ${descending ? "DESC" : "ASC"}`, page);
}
