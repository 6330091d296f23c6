import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";

/** `thread_subscriptions` (MSC4306). An unsubscription keeps its row, with where the room was then. */
export interface StoredSubscription {
  readonly subscribed: boolean;
  readonly automatic: boolean;
  /** Newest positions of the room when the user unsubscribed. */
  readonly unsubscribedAtStream: number | null;
  readonly unsubscribedAtDepth: number | bigint | null;
}

export async function threadSubscription(read: ReadHandle, userId: string, roomId: string, rootId: string): Promise<StoredSubscription | undefined> {
  const row = await queryOne<{ subscribed: boolean; automatic: boolean; stream: number | null; depth: number | bigint | null }>(
    read,
    `SELECT subscribed, automatic, unsubscribed_at_stream_ordering AS stream, unsubscribed_at_topological_ordering AS depth
     FROM thread_subscriptions WHERE user_id = $1 AND room_id = $2 AND event_id = $3`,
    [userId, roomId, rootId],
  );
  return row && { subscribed: row.subscribed, automatic: row.automatic, unsubscribedAtStream: row.stream, unsubscribedAtDepth: row.depth };
}

export async function putThreadSubscription(
  txn: Txn,
  subscription: { userId: string; roomId: string; rootId: string; automatic: boolean; streamId: number; instanceName: string },
): Promise<void> {
  const { userId, roomId, rootId, automatic, streamId, instanceName } = subscription;
  await execute(
    txn,
    `INSERT INTO thread_subscriptions (user_id, room_id, event_id, subscribed, automatic, stream_id, instance_name) VALUES ($1, $2, $3, true, $4, $5, $6)
     ON CONFLICT (room_id, event_id, user_id) DO UPDATE SET subscribed = true, automatic = EXCLUDED.automatic, stream_id = EXCLUDED.stream_id,
       instance_name = EXCLUDED.instance_name, unsubscribed_at_stream_ordering = NULL, unsubscribed_at_topological_ordering = NULL`,
    [userId, roomId, rootId, automatic, streamId, instanceName],
  );
}

/** Ends a subscription, noting where the room is. False when there was none. */
export async function endThreadSubscription(
  txn: Txn,
  userId: string,
  roomId: string,
  rootId: string,
  streamId: number,
  instanceName: string,
): Promise<boolean> {
  const touched = await execute(
    txn,
    `UPDATE thread_subscriptions SET subscribed = false, stream_id = $4, instance_name = $5,
       unsubscribed_at_stream_ordering = (SELECT max(stream_ordering) FROM events WHERE room_id = $2),
       unsubscribed_at_topological_ordering = (SELECT max(topological_ordering) FROM events WHERE room_id = $2)
     WHERE user_id = $1 AND room_id = $2 AND event_id = $3 AND subscribed`,
    [userId, roomId, rootId, streamId, instanceName],
  );
  return touched > 0;
}

/** Local users who are subscribed to a thread. */
export async function threadSubscribers(read: ReadHandle, roomId: string, rootId: string): Promise<Set<string>> {
  const rows = await query<{ user_id: string }>(read, `SELECT user_id FROM thread_subscriptions WHERE room_id = $1 AND event_id = $2 AND subscribed`, [
    roomId,
    rootId,
  ]);
  return new Set(rows.map((row) => row.user_id));
}

export interface SubscriptionUpdate {
  readonly streamId: number;
  readonly roomId: string;
  readonly rootId: string;
  readonly subscribed: boolean;
  readonly automatic: boolean;
}

/** The newest `limit` changes of a user's subscriptions at positions in (`after`, `upTo`], oldest first. */
export async function subscriptionUpdates(read: ReadHandle, userId: string, after: number, upTo: number, limit: number): Promise<SubscriptionUpdate[]> {
  const rows = await query<SubscriptionUpdate>(
    read,
    `SELECT stream_id AS "streamId", room_id AS "roomId", event_id AS "rootId", subscribed, automatic FROM thread_subscriptions
     WHERE user_id = $1 AND stream_id > $2 AND stream_id <= $3 ORDER BY stream_id DESC LIMIT $4`,
    [userId, after, upTo, limit],
  );
  return rows.reverse();
}

/** Removes all subscriptions of a user (deactivation). */
export async function purgeThreadSubscriptions(txn: Txn, userId: string): Promise<void> {
  await execute(txn, `DELETE FROM thread_subscriptions WHERE user_id = $1`, [userId]);
}
