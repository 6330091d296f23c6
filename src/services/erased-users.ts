import { type CacheSize, defaultSize } from "../lib/cache-size.ts";
import { LoadingCache } from "../lib/loading-cache.ts";
import { getErasedUsers } from "../storage/accounts/deactivations.ts";
import type { ReadHandle } from "../storage/database.ts";

/** Local users who left and asked that their messages be hidden from those who had not seen them, cached. */
export class ErasedUsers {
  private readonly erased: LoadingCache<boolean>;

  constructor(
    private readonly read: ReadHandle,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.erased = new LoadingCache(sizeOf("is_user_erased", 20_000));
  }

  /** Those of `userIds` that are erased. */
  async among(userIds: readonly string[]): Promise<Set<string>> {
    const known = await this.erased.getMany(userIds, async (missing) => {
      const found = await getErasedUsers(this.read, missing);
      return new Map(missing.map((userId) => [userId, found.has(userId)]));
    });
    return new Set(userIds.filter((userId) => known.get(userId)));
  }

  /** A user was erased, or is so no longer. */
  forget(userId: string): void {
    this.erased.invalidate(userId);
  }
}
