import { isJsonObject } from "../../lib/json.ts";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { isForeignKeyViolation } from "../../storage/database.ts";
import {
  endThreadSubscription,
  putThreadSubscription,
  type StoredSubscription,
  subscriptionUpdates,
  type SubscriptionUpdate,
  threadSubscription,
} from "../../storage/push/thread-subscriptions.ts";
import type { Context } from "../context.ts";
import { visibleEvent } from "../room-access/single-event.ts";

/** Subscriptions of threads (MSC4306). */
export type ThreadSubscriptionContext = Parameters<typeof visibleEvent>[0] & Pick<Context, "transaction" | "streams" | "changes" | "notifier">;

/** Whether the user's subscription of a thread is automatic. @throws MatrixError 404 when there is none, or no such thread for the user */
export async function isAutomaticSubscription(ctx: ThreadSubscriptionContext, userId: string, roomId: string, rootId: string): Promise<boolean> {
  await threadRoot(ctx, userId, roomId, rootId);
  const stored = await threadSubscription(ctx.read, userId, roomId, rootId);
  if (stored?.subscribed !== true) throw notFound("Not subscribed.");
  return stored.automatic;
}

/**
 * Subscribes the user; `cause` is the event that made the client do so by itself. An automatic subscription neither changes an existing one
 * nor undoes an unsubscription that was made after its cause.
 * @throws MatrixError 404; 400 when the cause is not in the thread; 409 when the user unsubscribed after it
 */
export async function subscribeToThread(
  ctx: ThreadSubscriptionContext,
  userId: string,
  roomId: string,
  rootId: string,
  cause: string | undefined,
): Promise<void> {
  await threadRoot(ctx, userId, roomId, rootId);
  const causing = cause === undefined ? undefined : await causeIn(ctx, userId, roomId, rootId, cause);
  const automatic = causing !== undefined;
  const subscribing = ctx.transaction("subscribe_user_to_thread", async (txn) => {
    const stored = await threadSubscription(txn, userId, roomId, rootId);
    if (stored?.subscribed === true && (!stored.automatic || automatic)) return;
    if (stored?.subscribed === false && causing !== undefined && cameBefore(causing, stored)) {
      throw new MatrixError(409, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION", "Automatic subscription obsoleted by an unsubscription request.");
    }
    const stream = ctx.streams.threadSubscriptions;
    const [streamId] = await stream.next(txn);
    await putThreadSubscription(txn, { userId, roomId, rootId, automatic, streamId: streamId!, instanceName: stream.instanceName });
    txn.afterCommit(() => announce(ctx, userId, streamId!));
  });
  await subscribing.catch((error: unknown) => {
    // Purged in the meantime.
    throw isForeignKeyViolation(error) ? notFound("No such thread root") : error;
  });
}

/** Ends the user's subscription; that there is none is no error. @throws MatrixError 404 when there is no such thread for the user */
export async function unsubscribeFromThread(ctx: ThreadSubscriptionContext, userId: string, roomId: string, rootId: string): Promise<void> {
  await threadRoot(ctx, userId, roomId, rootId);
  await ctx.transaction("unsubscribe_user_from_thread", async (txn) => {
    const stream = ctx.streams.threadSubscriptions;
    const [streamId] = await stream.next(txn);
    if (await endThreadSubscription(txn, userId, roomId, rootId, streamId!, stream.instanceName)) txn.afterCommit(() => announce(ctx, userId, streamId!));
  });
}

export interface SubscriptionChanges {
  /** Room id to thread root to state. */
  readonly subscribed: Record<string, Record<string, { automatic: boolean; bump_stamp: number }>>;
  readonly unsubscribed: Record<string, Record<string, { bump_stamp: number }>>;
  /** There are more before this position (exclusive); undefined when that was all. */
  readonly moreUpTo: number | undefined;
}

/** The newest changes of a user's subscriptions at positions in (`since`, `upTo`]: for sliding sync and MSC4308's pages. */
export async function threadSubscriptionChanges(
  ctx: Pick<Context, "read" | "changes">,
  userId: string,
  since: number,
  upTo: number,
  limit: number,
): Promise<SubscriptionChanges> {
  const nothing = since >= upTo || !ctx.changes.threadSubscriptions.hasChanged(userId, since);
  const updates: SubscriptionUpdate[] = nothing ? [] : await subscriptionUpdates(ctx.read, userId, since, upTo, limit);
  const changes: SubscriptionChanges = { subscribed: {}, unsubscribed: {}, moreUpTo: updates.length === limit ? updates[0]!.streamId - 1 : undefined };
  for (const { streamId, roomId, rootId, subscribed, automatic } of updates) {
    if (subscribed) (changes.subscribed[roomId] ??= {})[rootId] = { automatic, bump_stamp: streamId };
    else (changes.unsubscribed[roomId] ??= {})[rootId] = { bump_stamp: streamId };
  }
  return changes;
}

async function threadRoot(ctx: ThreadSubscriptionContext, userId: string, roomId: string, rootId: string): Promise<void> {
  const missing = notFound("No such thread root");
  try {
    if ((await visibleEvent(ctx, userId, roomId, rootId)) === undefined) throw missing;
  } catch (error) {
    // Who may not see the event does not learn that it exists.
    throw error instanceof MatrixError && error.status === 403 ? missing : error;
  }
}

async function causeIn(ctx: ThreadSubscriptionContext, userId: string, roomId: string, rootId: string, eventId: string): Promise<MatrixEvent> {
  const cause = (await visibleEvent(ctx, userId, roomId, eventId))?.event;
  if (cause === undefined) throw notFound("Automatic subscription event not found");
  const relation = cause.content["m.relates_to"];
  if (!isJsonObject(relation) || relation.rel_type !== "m.thread" || relation.event_id !== rootId) {
    throw new MatrixError(400, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "Automatic subscription must use an event in the thread");
  }
  return cause;
}

/** Whether the event was there when the user unsubscribed: by stream order for live events, by depth for backfilled ones. */
function cameBefore(event: MatrixEvent, stored: StoredSubscription): boolean {
  const stream = event.streamOrdering ?? 0;
  const [atStream, atDepth] = [stored.unsubscribedAtStream ?? 0, stored.unsubscribedAtDepth ?? 0];
  if (stream > 0) return atStream > 0 && atStream >= stream;
  return atDepth >= event.depth;
}

function announce(ctx: Pick<Context, "changes" | "notifier" | "streams">, userId: string, streamId: number): void {
  ctx.changes.threadSubscriptions.record(userId, streamId);
  ctx.streams.threadSubscriptions.whenVisible(streamId, () => {
    ctx.notifier.wakeUsers([userId], "thread_subscriptions_key");
    ctx.notifier.announce();
  });
}
