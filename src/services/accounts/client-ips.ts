import { lruCache } from "../../lib/lru-cache.ts";
import type { Timer } from "../../lib/clock.ts";
import { getSightingsOfUser, type Sighting, writeSightings } from "../../storage/accounts/client-ips.ts";
import type { Context } from "../context.ts";

type SightingContext = Pick<Context, "clock" | "log" | "read" | "transaction">;

const FLUSH_MS = 5000;
/** A token at an address is written at most this often. */
const GRANULARITY_MS = 120_000;
/** The sliding-sync proxy polls for its users: it is not them. */
const IGNORED_AGENT = "sync-v3-proxy-";

/**
 * Where tokens are used from: collected in memory and written together every five seconds, to `user_ips` and to the devices'
 * last-seen columns.
 */
export class ClientIps {
  private pending = new Map<string, Sighting>();
  private readonly recent = lruCache<string, number>(50_000);
  private timer: Timer | undefined;

  constructor(private readonly ctx: SightingContext) {}

  start(): void {
    this.timer = this.ctx.clock.every(FLUSH_MS, () => {
      this.flush().catch((error: unknown) =>
        this.ctx.log.named("synapse.storage.databases.main.client_ips").warn("Could not write where clients were seen", { error }),
      );
    });
  }

  /** Notes a use of a token; false when it is too soon after the last. */
  note(sighting: Omit<Sighting, "lastSeen">): boolean {
    if (sighting.userAgent === IGNORED_AGENT || sighting.ip === "") return false;
    const lastSeen = this.ctx.clock.now();
    const key = `${sighting.userId}\0${sighting.accessToken}\0${sighting.ip}`;
    const last = this.recent.get(key);
    if (last !== undefined && lastSeen - last < GRANULARITY_MS) return false;
    this.recent.set(key, lastSeen);
    this.pending.set(key, { ...sighting, userAgent: sighting.userAgent.replaceAll("\u0000", ""), lastSeen });
    return true;
  }

  /** Writes what was noted. */
  async flush(): Promise<void> {
    if (this.pending.size === 0) return;
    const batch = this.pending;
    this.pending = new Map();
    try {
      await this.ctx.transaction("update_client_ips", (txn) => writeSightings(txn, [...batch.values()]));
    } catch (error) {
      for (const [key, sighting] of batch) if (!this.pending.has(key)) this.pending.set(key, sighting);
      throw error;
    }
  }

  /** Sightings of a user since `since`, with those not yet written. */
  async ofUser(userId: string, since = 0): Promise<Sighting[]> {
    const merged = new Map<string, Sighting>();
    for (const seen of [...(await getSightingsOfUser(this.ctx.read, userId, since)), ...this.pendingOf(userId)]) {
      if (seen.lastSeen >= since) merged.set(`${seen.accessToken}\0${seen.ip}`, seen);
    }
    return [...merged.values()];
  }

  /** What is noted of a user but not yet written, oldest first. */
  pendingOf(userId: string): Sighting[] {
    return [...this.pending.values()].filter((sighting) => sighting.userId === userId);
  }

  async close(): Promise<void> {
    this.timer?.cancel();
    await this.flush();
  }
}
