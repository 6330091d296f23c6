import { execute, type Txn } from "../database.ts";

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

export async function insertUserReport(txn: Txn, report: { id: number; receivedTs: number; targetUserId: string; userId: string; reason: string }): Promise<void> {
  await execute(
    txn,
    `INSERT INTO user_reports (id, received_ts, target_user_id, user_id, reason)
     VALUES ($1, $2, $3, $4, $5)`,
    [report.id, report.receivedTs, report.targetUserId, report.userId, report.reason],
  );
}
