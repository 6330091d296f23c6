import { queryOne, type ReadHandle } from "../database.ts";

/** True when a redaction of the event has been carried out in the database: its content is gone for good. */
export async function isCensored(h: ReadHandle, eventId: string): Promise<boolean> {
  return (await queryOne(h, "SELECT 1 AS found FROM redactions WHERE redacts = $1 AND have_censored LIMIT 1", [eventId])) !== undefined;
}
