import { stringifyAscii } from "../../lib/json.ts";
import { redactJson } from "../../protocol/event/redact.ts";
import { membershipEventIds, pruneStoredEvents } from "../../storage/events/censor.ts";
import type { Context } from "../context.ts";
import { forget } from "../room-access/forget.ts";
import { updateMembership } from "./membership.ts";
import { requesterFor } from "../requester.ts";

const ROOMS_AT_ONCE = 50;
const OPTIONS = { rateLimit: false, requireConsent: false };

/** Rejects the invites and takes back the knocks of a user whose account is being closed. */
export async function rejectInvites(ctx: Context, userId: string): Promise<void> {
  await leaveRooms(ctx, userId, ["invite", "knock"], () => Promise.resolve());
}

/**
 * Leaves and forgets the rooms of a user whose account was closed. Of one who asked for erasure, the membership events, which hold the
 * name, are pruned where they are stored. What fails is logged and passed over, as in Synapse.
 */
export async function leaveAllRooms(ctx: Context, user: { userId: string; erased: boolean }): Promise<void> {
  const { userId, erased } = user;
  await leaveRooms(ctx, userId, ["join"], async (roomId) => {
    await forget(ctx, userId, roomId);
    if (erased) await pruneMemberships(ctx, userId, roomId);
  });
}

async function pruneMemberships(ctx: Context, userId: string, roomId: string): Promise<void> {
  const events = await ctx.events.get(await membershipEventIds(ctx.read, userId, roomId), { raw: true, rejected: true });
  if (events.size === 0) return;
  const pruned = new Map([...events].map(([id, event]) => [id, stringifyAscii(redactJson(event.json, event.roomVersion))]));
  await ctx.transaction("delete_expired_event", async (txn) => {
    await pruneStoredEvents(txn, pruned);
    txn.afterCommit(() => [...pruned.keys()].forEach((id) => ctx.events.forget(id)));
  });
}

async function leaveRooms(ctx: Context, userId: string, memberships: readonly string[], afterwards: (roomId: string) => Promise<void>): Promise<void> {
  const requester = requesterFor(userId, { authenticatedEntity: ctx.config.server.serverName });
  const rooms = [...(await ctx.members.roomsOf(userId))].filter(([, { membership }]) => memberships.includes(membership)).map(([roomId]) => roomId);
  for (let at = 0; at < rooms.length; at += ROOMS_AT_ONCE) {
    const batch = rooms.slice(at, at + ROOMS_AT_ONCE);
    const results = await Promise.allSettled(
      batch.map(async (roomId) => {
        await updateMembership(ctx, requester, { roomId, target: userId, action: "leave" }, OPTIONS);
        await afterwards(roomId);
      }),
    );
    results.forEach((result, index) => {
      if (result.status === "rejected")
        ctx.log
          .named("synapse.handlers.deactivate_account")
          .warn(`Failed to part user ${userId} from room ${batch[index]!}: ignoring and continuing`, { error: result.reason });
    });
  }
}
