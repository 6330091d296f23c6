import type { Json } from "../../../lib/json.ts";
import { RemoteError } from "../../../outbound/federation/client.ts";
import { clearStaleRemoteProfile, dueStaleProfiles, markRemoteProfilesStale, upsertDirectoryEntries } from "../../../storage/rooms/user-directory.ts";
import type { Context } from "../../context.ts";
import { directoryEntry } from "../../directory/user-directory.ts";

type Needs = Pick<Context, "backoff" | "clock" | "federationClient" | "log" | "read" | "transaction">;

const SERVERS_AT_ONCE = 5;
const USERS_AT_ONCE = 10;
const PROFILE_BYTES = 256 * 1024;
const TIMEOUT_MS = 10_000;
const MINUTE_MS = 60_000;
const MOST_RETRIES = 7;

/**
 * Asks other servers for the profiles of users whom the directory has from private rooms alone, where they may go by another name. Who does not
 * answer is asked again after 5, 25, ... minutes, as Synapse does.
 */
export async function refreshRemoteProfiles(ctx: Needs, signal?: AbortSignal): Promise<void> {
  while (!signal?.aborted) {
    const due = await dueStaleProfiles(ctx.read, ctx.clock.now(), SERVERS_AT_ONCE, USERS_AT_ONCE);
    if (due.length === 0) return;
    const servers = new Map<string, typeof due>();
    for (const user of due) servers.set(user.serverName, [...(servers.get(user.serverName) ?? []), user]);
    await Promise.all([...servers].map(([serverName, users]) => refreshOf(ctx, serverName, users, signal)));
  }
}

async function refreshOf(ctx: Needs, serverName: string, users: readonly { userId: string; retryCounter: number }[], signal?: AbortSignal): Promise<void> {
  for (const { userId, retryCounter } of users) {
    if (signal?.aborted) return;
    const later = async (waitMs: number): Promise<void> =>
      await ctx.transaction("set_remote_user_profile_in_user_dir_stale", (txn) =>
        markRemoteProfilesStale(txn, [{ userId, serverName }], ctx.clock.now() + waitMs, retryCounter + 1),
      );
    if (!(await ctx.backoff.mayTry(serverName))) {
      await later(Math.max(await ctx.backoff.interval(serverName), MINUTE_MS));
      continue;
    }
    try {
      const profile = await ctx.federationClient.requestObject({
        method: "GET",
        destination: serverName,
        path: "/_matrix/federation/v1/query/profile",
        query: { user_id: userId },
        maxBytes: PROFILE_BYTES,
        timeoutMs: TIMEOUT_MS,
        ...(signal && { signal }),
      });
      const entry = directoryEntry({ userId, displayName: textOf(profile.displayname), avatarUrl: textOf(profile.avatar_url) });
      await ctx.transaction("update_profile_in_user_dir", (txn) => upsertDirectoryEntries(txn, [entry]));
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof RemoteError && error.status === 404 && error.errcode === "M_NOT_FOUND") {
        await ctx.transaction("clear_remote_user_profile_in_user_dir_stale", (txn) => clearStaleRemoteProfile(txn, userId));
        continue;
      }
      ctx.log.named("synapse.handlers.user_directory").info(`The profile of ${userId} could not be refreshed`, { error });
      await later(MINUTE_MS * 5 ** Math.min(retryCounter + 1, MOST_RETRIES));
    }
  }
}

const textOf = (value: Json | undefined): string | null => (typeof value === "string" ? value : null);
