import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { LoadingCache } from "../../lib/loading-cache.ts";
import type { ReadHandle } from "../../storage/database.ts";
import { type KeyCounts, keyCounts } from "../../storage/devices/keys.ts";

/** How many one-time keys the devices have left, and which fallback keys are unused: each sync says so. Cached. */
export class DeviceKeyCounts {
  private readonly cache: LoadingCache<KeyCounts>;

  constructor(
    private readonly read: ReadHandle,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.cache = new LoadingCache(sizeOf("count_e2e_one_time_keys", 10_000));
  }

  async of(userId: string, deviceId: string): Promise<KeyCounts> {
    return await this.cache.get(key(userId, deviceId), () => keyCounts(this.read, userId, deviceId));
  }

  /** Keys of these devices were uploaded, given out or deleted. */
  invalidate(userId: string, deviceIds: Iterable<string>): void {
    for (const deviceId of deviceIds) this.cache.invalidate(key(userId, deviceId));
  }
}

const key = (userId: string, deviceId: string): string => `${userId}\0${deviceId}`;
