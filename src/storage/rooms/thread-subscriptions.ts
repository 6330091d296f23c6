import { execute, type Txn } from "../database.ts";

/** Forgets what a user said about which threads to follow (deactivation). */
export async function purgeThreadSubscriptions(txn: Txn, userId: string): Promise<void> {
  await execute(txn, "DELETE FROM thread_subscriptions WHERE user_id = $1", [userId]);
}
