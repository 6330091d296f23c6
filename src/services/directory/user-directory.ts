import type { Config } from "../../config/config.ts";
import { getDomain, localpartOf } from "../../protocol/ids.ts";
import type { Txn } from "../../storage/database.ts";
import {
  deleteDirectoryUsers,
  type DirectoryEntry,
  type DirectoryProfile,
  findableLocalUsers,
  localProfiles,
  searchUserDirectory,
  upsertDirectoryEntries,
} from "../../storage/rooms/user-directory.ts";
import type { Context } from "../context.ts";
import { directoryQueries, indexText } from "./words.ts";

/** The user directory: searching it, and what changes of accounts mean for it. How rooms change it: `user-directory-job.ts`. */
const MAX_RESULTS = 50;

/** Users that match and that `userId` may find (client-server API, "User Directory"). */
export async function searchUsers(
  ctx: Pick<Context, "config" | "modules" | "read">,
  userId: string,
  searchTerm: string,
  wanted: number,
): Promise<{ limited: boolean; results: { user_id: string; display_name: string | null; avatar_url: string | null }[] }> {
  const settings = ctx.config.userDirectory;
  const limit = Math.max(0, Math.min(wanted, MAX_RESULTS));
  const queries = directoryQueries(searchTerm.replaceAll("\0", ""));
  if (!settings.enabled || queries.full === "") return { limited: false, results: [] };
  const found = await searchUserDirectory(ctx.read, {
    userId,
    ...queries,
    limit: limit + 1,
    allUsers: settings.searchAllUsers,
    showLocked: settings.showLockedUsers,
    excludeRemote: settings.excludeRemoteUsers,
    preferServer: settings.preferLocalUsers ? ctx.config.server.serverName : undefined,
  });
  const results = found.slice(0, limit).map((user) => ({ user_id: user.userId, display_name: user.displayName, avatar_url: user.avatarUrl }));
  return { limited: found.length > limit, results: await ctx.modules.spamChecker.withoutSpammers(results, userId) };
}

/** A row of the directory; names that a text column cannot hold are left out. */
export function directoryEntry(profile: DirectoryProfile): DirectoryEntry {
  const displayName = storable(profile.displayName);
  return {
    userId: profile.userId,
    displayName,
    avatarUrl: storable(profile.avatarUrl),
    localpart: localpartOf(profile.userId),
    serverName: getDomain(profile.userId),
    indexName: displayName === null ? "" : indexText(displayName),
  };
}

const storable = (value: string | null): string | null => (value === null || value.includes("\0") ? null : value);

/** Of these users, those who may be in the directory: remote ones, and local ones that are people (no appservice, support or closed accounts). */
export async function findable(
  ctx: Pick<Context, "read" | "appservices"> & { readonly config: Pick<Config, "server"> },
  userIds: Iterable<string>,
): Promise<Set<string>> {
  const allowed = new Set<string>();
  const local: string[] = [];
  const services = ctx.appservices.all();
  for (const userId of userIds) {
    if (getDomain(userId) !== ctx.config.server.serverName) allowed.add(userId);
    else if (!services.some((service) => service.interestedInUser(userId))) local.push(userId);
  }
  for (const userId of await findableLocalUsers(ctx.read, local)) allowed.add(userId);
  return allowed;
}

/** A local profile changed, or an account came into being: the directory shows it as it stands in `profiles` now. */
export async function localProfileChanged(ctx: Pick<Context, "appservices">, txn: Txn, userId: string): Promise<void> {
  if (ctx.appservices.all().some((service) => service.interestedInUser(userId))) return;
  if (!(await findableLocalUsers(txn, [userId])).has(userId)) return;
  const profile = (await localProfiles(txn, [userId])).get(userId) ?? { userId, displayName: null, avatarUrl: null };
  await upsertDirectoryEntries(txn, [directoryEntry(profile)]);
}

/** A local account was closed. */
export async function localUserDeactivated(txn: Txn, userId: string): Promise<void> {
  await deleteDirectoryUsers(txn, [userId]);
}
