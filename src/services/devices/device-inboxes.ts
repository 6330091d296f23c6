import { lruCache } from "../../lib/lru-cache.ts";
import type { ChangeLog } from "../../lib/change-log.ts";

/** Up to which position each device's inbox is known to be empty: spares a DELETE with each sync. */
export class DeviceInboxes {
  private readonly emptyUpTo = lruCache<string, number>(20_000);

  constructor(private readonly changes: ChangeLog) {}

  /** False when nothing can have come since the inbox was emptied. */
  mayHold(userId: string, deviceId: string, position: number): boolean {
    const empty = this.emptyUpTo.get(key(userId, deviceId));
    return empty === undefined || (empty < position && this.changes.hasChanged(userId, empty));
  }

  emptied(userId: string, deviceId: string, position: number): void {
    const name = key(userId, deviceId);
    this.emptyUpTo.set(name, Math.max(position, this.emptyUpTo.get(name) ?? 0));
  }
}

const key = (userId: string, deviceId: string): string => `${userId}\0${deviceId}`;
