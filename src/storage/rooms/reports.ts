import { execute, queryOne, type ReadHandle, type Txn } from "../database.ts";
import { from, type Page, pageOf, type PageRequest } from "../query-builder.ts";

/** Reports of events, rooms and users. Their ids are counted by the writing process: see `storage/local-ids.ts`. */

/** `content` is the request's body as JSON text. */
export async function insertEventReport(
  txn: Txn,
  report: { id: number; receivedTs: number; roomId: string; eventId: string; userId: string; reason: string | undefined; content: string },
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO event_reports (id, received_ts, room_id, event_id, user_id, reason, content)
     VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [report.id, report.receivedTs, report.roomId, report.eventId, report.userId, report.reason ?? null, report.content],
  );
}

export async function insertRoomReport(txn: Txn, report: { id: number; receivedTs: number; roomId: string; userId: string; reason: string }): Promise<void> {
  await execute(
    txn,
    `INSERT INTO room_reports (id, received_ts, room_id, user_id, reason)
     VALUES ($1, $2, $3, $4, $5)`,
    [report.id, report.receivedTs, report.roomId, report.userId, report.reason],
  );
}

export async function insertUserReport(
  txn: Txn,
  report: { id: number; receivedTs: number; targetUserId: string; userId: string; reason: string },
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO user_reports (id, received_ts, target_user_id, user_id, reason)
     VALUES ($1, $2, $3, $4, $5)`,
    [report.id, report.receivedTs, report.targetUserId, report.userId, report.reason],
  );
}

/** A report of an event, with what is known of the event and its room. `content` is the reporting request's body as JSON text. */
export interface EventReport {
  readonly id: number;
  readonly received_ts: number;
  readonly room_id: string;
  readonly event_id: string;
  readonly user_id: string;
  readonly content: string | null;
  /** Null when the event is gone. */
  readonly sender: string | null;
  readonly canonical_alias: string | null;
  readonly name: string | null;
}

const EVENT_REPORT_COLUMNS = ["er.id", "er.received_ts", "er.room_id", "er.event_id", "er.user_id", "er.content", "e.sender", "s.canonical_alias", "s.name"];

/** Reports of events in rooms with statistics (as in Synapse), by the time they came in. Users and rooms are matched in part. */
export async function listEventReports(
  h: ReadHandle,
  filter: { readonly userId: string | undefined; readonly roomId: string | undefined; readonly sender: string | undefined },
  descending: boolean,
  page: PageRequest,
): Promise<Page<EventReport>> {
  const base = from("event_reports as er").leftJoin("events as e", "e.event_id", "er.event_id").innerJoin("room_stats_state as s", "s.room_id", "er.room_id");
  if (filter.userId) base.whereRaw("er.user_id LIKE ?", [`%${filter.userId}%`]);
  if (filter.roomId) base.whereRaw("er.room_id LIKE ?", [`%${filter.roomId}%`]);
  if (filter.sender) base.whereRaw("e.sender = ?", [filter.sender]);
  return await pageOf(h, base, EVENT_REPORT_COLUMNS, `er.received_ts ${descending ? "DESC" : "ASC"}`, page);
}

/** A report with the event as it is stored (JSON text); undefined also when the event is not here any more. */
export async function getEventReport(h: ReadHandle, id: number): Promise<(EventReport & { readonly event_json: string }) | undefined> {
  return await queryOne(
    h,
    `SELECT ${EVENT_REPORT_COLUMNS.join(", ")}, j.json AS event_json
       FROM event_reports AS er
       LEFT JOIN events AS e ON e.event_id = er.event_id
       JOIN event_json AS j ON j.event_id = er.event_id
       JOIN room_stats_state AS s ON s.room_id = er.room_id
      WHERE er.id = $1`,
    [id],
  );
}

/** False when there is no such report. */
export async function deleteEventReport(txn: Txn, id: number): Promise<boolean> {
  return (await execute(txn, "DELETE FROM event_reports WHERE id = $1", [id])) > 0;
}

export interface UserReport {
  readonly id: number;
  readonly received_ts: number;
  readonly target_user_id: string;
  readonly user_id: string;
  readonly reason: string;
}

const USER_REPORT_COLUMNS = ["r.id", "r.received_ts", "r.target_user_id", "r.user_id", "r.reason"];

/** Reports of users, by the time they came in. Users are matched in part. */
export async function listUserReports(
  h: ReadHandle,
  filter: { readonly userId: string | undefined; readonly targetUserId: string | undefined },
  descending: boolean,
  page: PageRequest,
): Promise<Page<UserReport>> {
  const base = from("user_reports as r");
  if (filter.userId) base.whereRaw("r.user_id LIKE ?", [`%${filter.userId}%`]);
  if (filter.targetUserId) base.whereRaw("r.target_user_id LIKE ?", [`%${filter.targetUserId}%`]);
  return await pageOf(h, base, USER_REPORT_COLUMNS, `r.received_ts ${descending ? "DESC" : "ASC"}`, page);
}

export async function getUserReport(h: ReadHandle, id: number): Promise<UserReport | undefined> {
  return await queryOne(h, `SELECT ${USER_REPORT_COLUMNS.join(", ")} FROM user_reports AS r WHERE r.id = $1`, [id]);
}

/** False when there is no such report. */
export async function deleteUserReport(txn: Txn, id: number): Promise<boolean> {
  return (await execute(txn, "DELETE FROM user_reports WHERE id = $1", [id])) > 0;
}
