import { LoadingCache } from "../../lib/loading-cache.ts";
import { ignoredUsers, ignorersOf } from "../../storage/accounts/account-data.ts";
import type { ReadHandle } from "../../storage/database.ts";

/** Who ignores whom (`m.ignored_user_list`), cached in both directions. */
export class IgnoredUsers {
  private readonly ignored = new LoadingCache<ReadonlySet<string>>(5000);
  private readonly ignorers = new LoadingCache<ReadonlySet<string>>(5000);

  constructor(private readonly read: ReadHandle) {}

  /** Whom `userId` ignores. */
  async ignoredBy(userId: string): Promise<ReadonlySet<string>> {
    return await this.ignored.get(userId, async () => (await ignoredUsers(this.read, [userId])).get(userId)!);
  }

  /** Who ignores `userId`. */
  async ignorersOf(userId: string): Promise<ReadonlySet<string>> {
    return await this.ignorers.get(userId, async () => (await ignorersOf(this.read, [userId])).get(userId)!);
  }

  /** Who ignores each of `userIds`: one query for those that are not cached. */
  async ignorersOfMany(userIds: readonly string[]): Promise<Map<string, ReadonlySet<string>>> {
    return await this.ignorers.getMany(userIds, (missing) => ignorersOf(this.read, missing));
  }

  /** `ignorer` changed the list; `changed` are the users added to it or removed from it. */
  invalidate(ignorer: string, changed: Iterable<string>): void {
    this.ignored.invalidate(ignorer);
    for (const userId of changed) this.ignorers.invalidate(userId);
  }
}
