import { JsonText } from "../../lib/json.ts";
import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/**
 * To-device messages: `device_inbox` (waiting for local devices), `device_federation_outbox` (waiting for other servers),
 * `device_federation_inbox` (ids of EDUs that have been received). Rows stay until the receiver has acknowledged them.
 */
export interface LocalMessage {
  readonly userId: string;
  /** A device id, or `*` for all devices of the user. */
  readonly deviceId: string;
  /** JSON text: `{"content", "type", "sender"}`. */
  readonly json: string;
}

/** Puts messages into the inboxes of the devices that exist; returns the users who got some. All have the same position. */
export async function addToInbox(txn: Txn, messages: readonly LocalMessage[], streamId: number, instanceName: string): Promise<string[]> {
  const rows = await query<{ user_id: string }>(
    txn,
    `INSERT INTO device_inbox (user_id, device_id, stream_id, message_json, instance_name)
     SELECT devices.user_id, devices.device_id, $4, message.json, $5
     FROM unnest($1::text[], $2::text[], $3::text[]) AS message (user_id, device_id, json)
     JOIN devices ON devices.user_id = message.user_id AND (devices.device_id = message.device_id OR message.device_id = '*')
     WHERE NOT coalesce(devices.hidden, false)
     RETURNING user_id`,
    [messages.map((m) => m.userId), messages.map((m) => m.deviceId), messages.map((m) => m.json), streamId, instanceName],
  );
  return [...new Set(rows.map((row) => row.user_id))];
}

/** Messages of a device at positions in (`after`, `upTo`], oldest first, at most `limit`. */
export async function inboxMessages(
  read: ReadHandle,
  userId: string,
  deviceId: string,
  after: number,
  upTo: number,
  limit: number,
): Promise<{ streamId: number; message: JsonText }[]> {
  const rows = await query<{ stream_id: number; message_json: string }>(
    read,
    `SELECT stream_id, message_json FROM device_inbox
     WHERE user_id = $1 AND device_id = $2 AND stream_id > $3 AND stream_id <= $4 ORDER BY stream_id LIMIT $5`,
    [userId, deviceId, after, upTo, limit],
  );
  return rows.map((row) => ({ streamId: row.stream_id, message: new JsonText(row.message_json) }));
}

/** Messages for all devices of users in (`after`, `upTo`], oldest first: at least `limit` of them, and all with the position of the last one (appservices). */
export async function inboxMessagesOfUsers(
  read: ReadHandle,
  userIds: readonly string[],
  after: number,
  upTo: number,
  limit: number,
): Promise<{ streamId: number; userId: string; deviceId: string; message: JsonText }[]> {
  const rows = await query<{ streamId: number; userId: string; deviceId: string; message_json: string }>(
    read,
    `SELECT inbox.stream_id AS "streamId", inbox.user_id AS "userId", inbox.device_id AS "deviceId", inbox.message_json FROM device_inbox AS inbox
     JOIN devices ON devices.user_id = inbox.user_id AND devices.device_id = inbox.device_id AND NOT coalesce(devices.hidden, false)
     WHERE inbox.user_id = ANY($1::text[]) AND inbox.stream_id > $2 AND inbox.stream_id <= $3
     ORDER BY inbox.stream_id FETCH FIRST $4 ROWS WITH TIES`,
    [userIds, after, upTo, limit],
  );
  return rows.map(({ message_json, ...row }) => ({ ...row, message: new JsonText(message_json) }));
}

/** Users with messages in (`after`, `upTo`]. */
export async function usersWithMessages(read: ReadHandle, after: number, upTo: number): Promise<string[]> {
  const rows = await query<{ user_id: string }>(read, `SELECT DISTINCT user_id FROM device_inbox WHERE stream_id > $1 AND stream_id <= $2`, [after, upTo]);
  return rows.map((row) => row.user_id);
}

/** Deletes up to `limit` messages of a device at positions up to `upTo`, oldest first; returns how many. */
export async function deleteInboxMessages(txn: Txn, userId: string, deviceId: string, upTo: number, limit: number): Promise<number> {
  return await execute(
    txn,
    `DELETE FROM device_inbox WHERE ctid = ANY(ARRAY(
       SELECT ctid FROM device_inbox WHERE user_id = $1 AND device_id = $2 AND stream_id <= $3 ORDER BY stream_id LIMIT $4))`,
    [userId, deviceId, upTo, limit],
  );
}

export interface OutboxMessage {
  readonly destination: string;
  /** JSON text: content of the `m.direct_to_device` EDU. */
  readonly json: string;
}

export async function addToOutbox(
  txn: Txn,
  messages: readonly OutboxMessage[],
  streamIds: readonly number[],
  now: number,
  instanceName: string,
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO device_federation_outbox (destination, stream_id, queued_ts, messages_json, instance_name)
     SELECT new.destination, new.stream_id, $4, new.json, $5 FROM unnest($1::text[], $2::bigint[], $3::text[]) AS new (destination, stream_id, json)`,
    [messages.map((m) => m.destination), streamIds, messages.map((m) => m.json), now, instanceName],
  );
}

/** EDU contents waiting for a server at positions in (`after`, `upTo`], oldest first, at most `limit`. */
export async function outboxMessages(
  read: ReadHandle,
  destination: string,
  after: number,
  upTo: number,
  limit: number,
): Promise<{ streamId: number; json: string }[]> {
  return await query(
    read,
    `SELECT stream_id AS "streamId", messages_json AS json FROM device_federation_outbox
     WHERE destination = $1 AND stream_id > $2 AND stream_id <= $3 ORDER BY stream_id LIMIT $4`,
    [destination, after, upTo, limit],
  );
}

/** The server has received everything up to that position. */
export async function deleteOutboxMessages(txn: Txn, destination: string, upTo: number): Promise<void> {
  await execute(txn, `DELETE FROM device_federation_outbox WHERE destination = $1 AND stream_id <= $2`, [destination, upTo]);
}

/** Notes that an EDU came in. False when it had come before. */
export async function noteReceivedMessage(txn: Txn, origin: string, messageId: string, now: number): Promise<boolean> {
  // The table has no unique index: the lock makes two copies that arrive together wait for each other.
  await query(txn, `SELECT pg_advisory_xact_lock(hashtext('device_federation_inbox'), hashtext($1))`, [JSON.stringify([origin, messageId])]);
  const known = await queryOne(txn, `SELECT FROM device_federation_inbox WHERE origin = $1 AND message_id = $2 LIMIT 1`, [origin, messageId]);
  if (known !== undefined) return false;
  await execute(txn, `INSERT INTO device_federation_inbox (origin, message_id, received_ts) VALUES ($1, $2, $3)`, [origin, messageId, now]);
  return true;
}

/** Forgets ids received before that time (milliseconds), at most `limit`; returns how many. */
export async function forgetReceivedMessages(txn: Txn, before: number, limit: number): Promise<number> {
  return await execute(
    txn,
    `DELETE FROM device_federation_inbox WHERE ctid = ANY(ARRAY(SELECT ctid FROM device_federation_inbox WHERE received_ts < $1 ORDER BY received_ts LIMIT $2))`,
    [before, limit],
  );
}
