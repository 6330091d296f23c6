import { lruCache } from "../../lib/lru-cache.ts";
import type { Backoff } from "../../outbound/federation/client.ts";
import { destinationRows, storeRetryTimings } from "../../storage/federation/destinations.ts";
import type { Context } from "../context.ts";

interface Timing {
  readonly retryLastTs: number;
  readonly retryInterval: number;
  readonly failureTs: number | undefined;
}

const HEALTHY: Timing = { retryLastTs: 0, retryInterval: 0, failureTs: undefined };

/**
 * Servers that do not answer are left in peace for a while that grows with each failure (`destinations`, options `federation.destination_...`),
 * as Synapse does.
 */
export class DestinationBackoff implements Backoff {
  private readonly timings = lruCache<string, Timing>(50_000);
  private readonly recovered = new Set<(destination: string) => void>();

  constructor(private readonly ctx: Pick<Context, "read" | "transaction" | "clock" | "config" | "random" | "log">) {}

  mayTry(destination: string): boolean | Promise<boolean> {
    const known = this.timings.get(destination);
    return known === undefined ? this.timing(destination).then((timing) => this.isTriable(timing)) : this.isTriable(known);
  }

  /** The servers of these that may be tried now. */
  async triable(destinations: readonly string[]): Promise<string[]> {
    await this.load(destinations.filter((destination) => this.timings.peek(destination) === undefined));
    return destinations.filter((destination) => this.isTriable(this.timings.get(destination) ?? HEALTHY));
  }

  /** The servers of these that may be tried now or within `ms` milliseconds: what is queued for the others would only pile up. */
  async triableWithin(destinations: readonly string[], ms: number): Promise<string[]> {
    await this.load(destinations.filter((destination) => this.timings.peek(destination) === undefined));
    return destinations.filter((destination) => this.isTriable(this.timings.get(destination) ?? HEALTHY, ms));
  }

  /** How long the server is left in peace after its last failure, milliseconds; 0: not at all. */
  async interval(destination: string): Promise<number> {
    return (await this.timing(destination)).retryInterval;
  }

  succeeded(destination: string): void {
    const timing = this.timings.get(destination);
    if (timing === undefined || timing.retryInterval === 0) return;
    this.set(destination, HEALTHY);
    for (const listener of this.recovered) listener(destination);
  }

  failed(destination: string): void {
    const { destinationMinRetryIntervalMs: shortest, destinationMaxRetryIntervalMs: longest, destinationRetryMultiplier: factor } = this.ctx.config.federation;
    const now = this.ctx.clock.now();
    const old = this.timings.get(destination) ?? HEALTHY;
    // Several requests that fail at the same time count once.
    if (old.retryInterval > 0 && now < old.retryLastTs + old.retryInterval) return;
    const jitter = 0.8 + this.ctx.random.below(600) / 1000;
    const interval = old.retryInterval === 0 ? shortest : Math.min(Math.floor(old.retryInterval * factor * jitter), longest);
    this.set(destination, { retryLastTs: now, retryInterval: interval, failureTs: old.failureTs ?? now });
  }

  /** Forgets that the server did not answer (an admin says so); what waits for it is sent. */
  async reset(destination: string): Promise<void> {
    await this.ctx.transaction("set_destination_retry_timings", (txn) => storeRetryTimings(txn, [{ destination, ...HEALTHY }]), {
      isolation: "read committed",
    });
    this.timings.set(destination, HEALTHY);
    for (const listener of this.recovered) listener(destination);
  }

  /** A sign of life from the server itself: it may be tried at once. */
  sawAlive(destination: string): void {
    this.timing(destination)
      .then(() => this.succeeded(destination))
      .catch((error: unknown) => this.ctx.log.named("synapse.util.retryutils").warn("Could not read how a server is doing", { error }));
  }

  /** Calls `fn` when a server answers again; returns the function that stops it. */
  onRecovered(fn: (destination: string) => void): () => void {
    this.recovered.add(fn);
    return () => this.recovered.delete(fn);
  }

  /** Whether a server may be tried now, or within `ms` milliseconds. */
  private isTriable({ retryInterval, retryLastTs }: Timing, ms = 0): boolean {
    return retryInterval === 0 || this.ctx.clock.now() + ms >= retryLastTs + retryInterval;
  }

  private set(destination: string, timing: Timing): void {
    this.timings.set(destination, timing);
    this.ctx
      .transaction("set_destination_retry_timings", (txn) => storeRetryTimings(txn, [{ destination, ...timing }]), { isolation: "read committed" })
      .catch((error: unknown) => this.ctx.log.named("synapse.util.retryutils").warn("Could not store how a server is doing", { error }));
  }

  private async timing(destination: string): Promise<Timing> {
    if (this.timings.peek(destination) === undefined) await this.load([destination]);
    return this.timings.get(destination) ?? HEALTHY;
  }

  private async load(destinations: readonly string[]): Promise<void> {
    if (destinations.length === 0) return;
    const rows = new Map((await destinationRows(this.ctx.read, destinations)).map((row) => [row.destination, row]));
    for (const destination of destinations) {
      if (this.timings.peek(destination) !== undefined) continue;
      const row = rows.get(destination);
      this.timings.set(
        destination,
        row === undefined ? HEALTHY : { retryLastTs: row.retry_last_ts ?? 0, retryInterval: row.retry_interval ?? 0, failureTs: row.failure_ts ?? undefined },
      );
    }
  }
}
