import type { RateLimit, RatelimitConfig } from "../config/sections/ratelimiting.ts";
import { type CacheSize, defaultSize } from "../lib/cache-size.ts";
import type { Clock, Timer } from "../lib/clock.ts";
import { LoadingCache } from "../lib/loading-cache.ts";
import { limitExceeded } from "../protocol/errors.ts";
import { getRatelimitOverride, type RatelimitOverride } from "../storage/accounts/ratelimit-overrides.ts";
import type { ReadHandle } from "../storage/database.ts";
import type { AppserviceIdentities } from "./accounts/hooks.ts";
import type { RatelimitModules } from "./modules/callbacks/ratelimit.ts";
import type { Requester } from "./requester.ts";

/** Limits by the names of the config section, and some that have no option. */
export type RateLimitName = Exclude<keyof RatelimitConfig, "federation" | "federationRrTransactionsPerRoomPerSecond"> | keyof typeof FIXED_LIMITS;

const FIXED_LIMITS = {
  /** Tokens for another session (MSC3882): one a minute. */
  loginTokenRequest: { perSecond: 1 / 60, burstCount: 1 },
  /** Guesses at the code that was sent to a phone, by validation session. */
  smsCode: { perSecond: 1 / 60, burstCount: 5 },
  /** Questions whether a name is free, by address. */
  usernameAvailable: { perSecond: 1, burstCount: 2 },
  /** Pages of space hierarchies, by user. */
  roomHierarchy: { perSecond: 5, burstCount: 10 },
} as const;

type RateLimitSettings = Readonly<Record<RateLimitName, RateLimit | undefined>>;

export interface RateLimitOptions {
  /** Who acts: appservices that are not rate limited, and users whom an admin exempted, pass. */
  readonly requester?: Requester | undefined;
  /** Actions asked for at once; default 1. All or none are counted. */
  readonly cost?: number;
  /** False: only look whether it would pass, count nothing. */
  readonly count?: boolean;
}

interface Bucket {
  /** Actions since `since`. */
  count: number;
  /** Seconds; when the bucket was last empty. */
  since: number;
  rate: number;
}

/**
 * Synapse's `rc_*` limits: for each limit and key a bucket that leaks `per_second` and holds `burst_count`. A refused action is not
 * counted. In memory of one process.
 */
export class RateLimits {
  private readonly buckets = new Map<string, Bucket>();
  private readonly overrides: LoadingCache<RatelimitOverride | undefined>;
  private readonly settings: RateLimitSettings;
  private readonly sweeper: Timer;

  constructor(
    config: Omit<RateLimitSettings, keyof typeof FIXED_LIMITS>,
    private readonly read: ReadHandle,
    private readonly clock: Clock,
    private readonly appservices: AppserviceIdentities,
    private readonly modules?: RatelimitModules,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.overrides = new LoadingCache(sizeOf("get_ratelimit_for_user", 10_000));
    this.settings = { ...config, ...FIXED_LIMITS };
    this.sweeper = clock.every(60_000, () => this.sweep());
  }

  /**
   * Counts an action of `key` (a user id, an address, a room id...) against the limit `name`.
   * @throws MatrixError 429 M_LIMIT_EXCEEDED with `retry_after_ms` and the name of the limit
   */
  async check(name: RateLimitName, key: string, options: RateLimitOptions = {}): Promise<void> {
    const wait = await this.take(name, key, options);
    if (wait !== undefined) throw limitExceeded(wait, optionName(name));
  }

  /** As `check`, telling instead of throwing. */
  async allows(name: RateLimitName, key: string, options: RateLimitOptions = {}): Promise<boolean> {
    return (await this.take(name, key, options)) === undefined;
  }

  /** Counts actions that happened already, whatever the limit says (joins that other servers sent); negative ones are given back. */
  record(name: RateLimitName, key: string, actions = 1): void {
    const settings = this.settings[name];
    if (settings === undefined || settings.perSecond <= 0) return;
    const now = this.clock.now() / 1000;
    const id = `${name}\0${key}`;
    const bucket = this.buckets.get(id) ?? { count: 0, since: now, rate: settings.perSecond };
    this.keep(id, { ...bucket, count: bucket.count + actions }, now);
  }

  /** An admin changed or removed the user's exemption. */
  forgetOverride(userId: string): void {
    this.overrides.invalidate(userId);
  }

  close(): void {
    this.sweeper.cancel();
  }

  /** undefined when the action passes; else milliseconds to wait. */
  private async take(name: RateLimitName, key: string, { requester, cost = 1, count = true }: RateLimitOptions): Promise<number | undefined> {
    let settings: RateLimit | undefined = this.settings[name];
    if (requester !== undefined) {
      if (requester.appserviceId !== undefined && this.appservices.byId(requester.appserviceId)?.rateLimited === false) return undefined;
      const override = await this.override(requester.authenticatedEntity);
      if (override !== undefined && !override.perSecond) return undefined;
      if (name === "invitesPerRoom" || name === "invitesPerUser" || name === "invitesPerIssuer") {
        const own = await this.modules?.overrideFor(requester.userId, optionName(name));
        if (own?.per_second === 0) return undefined;
        if (own !== undefined) settings = { perSecond: own.per_second, burstCount: own.burst_count };
      }
      if (name === "message" || name === "adminRedaction") {
        if (this.appservices.all().some(({ sender }) => sender === requester.userId)) return undefined;
        if (name === "adminRedaction" && settings === undefined) return await this.take("message", key, { requester, cost, count });
        const own = requester.userId === requester.authenticatedEntity ? override : await this.override(requester.userId);
        if (own !== undefined && name === "message") {
          if (!own.perSecond) return undefined;
          settings = { perSecond: own.perSecond, burstCount: own.burst ?? 0 };
        }
      }
    }
    if (settings === undefined) return undefined;
    return this.leak(`${name}\0${key}`, settings, cost, count);
  }

  private leak(id: string, { perSecond, burstCount }: RateLimit, cost: number, count: boolean): number | undefined {
    const now = this.clock.now() / 1000;
    const bucket = this.buckets.get(id);
    let taken = bucket?.count ?? 0;
    let since = bucket?.since ?? now;
    if (taken - (now - since) * perSecond < 0) {
      taken = 0;
      since = now;
    }
    if (taken - (now - since) * perSecond > burstCount - cost) {
      if (perSecond <= 0) return 3_600_000; // never again by itself: some number that keeps clients from asking at once
      return Math.max(0, Math.floor(1000 * (since + (taken - burstCount + cost) / perSecond - now)));
    }
    if (count) this.keep(id, { count: taken + cost, since, rate: perSecond }, now);
    return undefined;
  }

  private keep(id: string, bucket: Bucket, now: number): void {
    if (bucket.rate > 0 && bucket.since + bucket.count / bucket.rate <= now) this.buckets.delete(id);
    else this.buckets.set(id, bucket);
  }

  private async override(userId: string): Promise<RatelimitOverride | undefined> {
    return await this.overrides.get(userId, () => getRatelimitOverride(this.read, userId));
  }

  private sweep(): void {
    const now = this.clock.now() / 1000;
    for (const [id, { count, since, rate }] of this.buckets) if (rate > 0 && since + count / rate <= now) this.buckets.delete(id);
  }
}

/** The option that sets a limit: "loginFailedAttempts" -> "rc_login.failed_attempts" is what an admin looks for. */
function optionName(name: RateLimitName): string {
  return OPTION_NAMES[name] ?? `rc_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
}

const OPTION_NAMES: Partial<Record<RateLimitName, string>> = {
  loginAddress: "rc_login.address",
  loginAccount: "rc_login.account",
  loginFailedAttempts: "rc_login.failed_attempts",
  joinsLocal: "rc_joins.local",
  joinsRemote: "rc_joins.remote",
  invitesPerRoom: "rc_invites.per_room",
  invitesPerUser: "rc_invites.per_user",
  invitesPerIssuer: "rc_invites.per_issuer",
  presencePerUser: "rc_presence.per_user",
  threepidValidation: "rc_3pid_validation",
  remoteMediaDownloads: "remote_media_download_per_second",
  loginTokenRequest: "login_token_request",
  roomHierarchy: "room_hierarchy",
  usernameAvailable: "username_available",
};
