import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { LoadingCache } from "../../lib/loading-cache.ts";
import { ignoredUsers, ignorersOf } from "../../storage/accounts/account-data.ts";
import type { ReadHandle } from "../../storage/database.ts";

/** Who ignores whom (`m.ignored_user_list`), cached in both directions. */
export class IgnoredUsers {
  private readonly ignored: LoadingCache<ReadonlySet<string>>;
  private readonly ignorers: LoadingCache<ReadonlySet<string>>;

  constructor(
    private readonly read: ReadHandle,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.ignored = new LoadingCache(sizeOf("ignored_users", 5_000));
    this.ignorers = new LoadingCache(sizeOf("ignored_by", 5_000));
  }

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
