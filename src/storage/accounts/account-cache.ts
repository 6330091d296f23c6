import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { LoadingCache } from "../../lib/loading-cache.ts";
import type { CacheReading } from "../../lib/metrics.ts";
import type { ReadHandle } from "../database.ts";
import { findAccessToken, type AccessToken } from "./access-tokens.ts";
import { getAccountExpiry } from "./deactivations.ts";
import { getUser, type User } from "./users.ts";

/**
 * Access tokens, accounts and when they expire, as last read, so that a request with a known token asks nothing of the database. Whoever writes a row
 * forgets its entry after the commit. What does not exist is not remembered: strangers could fill the cache with it.
 */
export class AccountCache {
  private readonly tokens: LoadingCache<AccessToken | undefined>;
  private readonly users: LoadingCache<User | undefined>;
  private readonly expiries: LoadingCache<number | undefined>;

  constructor(
    private readonly read: ReadHandle,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.tokens = new LoadingCache(sizeOf("get_user_by_access_token", 20_000));
    this.users = new LoadingCache(sizeOf("get_user_by_id", 20_000));
    this.expiries = new LoadingCache(sizeOf("get_expiration_ts_for_user", 20_000));
  }

  /** Readings of the caches under Synapse's names, for the metrics. */
  get caches(): Readonly<Record<string, () => CacheReading>> {
    return {
      get_user_by_access_token: () => this.tokens.reading,
      get_user_by_id: () => this.users.reading,
      get_expiration_ts_for_user: () => this.expiries.reading,
    };
  }

  /** The row of an access token, undefined when unknown. */
  async token(token: string): Promise<AccessToken | undefined> {
    const found = await this.tokens.get(token, () => findAccessToken(this.read, token));
    if (found === undefined) this.tokens.invalidate(token);
    return found;
  }

  /** The account of a local user, undefined when unknown. */
  async user(userId: string): Promise<User | undefined> {
    const found = await this.users.get(userId, () => getUser(this.read, userId));
    if (found === undefined) this.users.invalidate(userId);
    return found;
  }

  /** When the account expires (milliseconds); undefined for accounts without an expiry. */
  async expiry(userId: string): Promise<number | undefined> {
    const found = await this.expiries.get(userId, () => getAccountExpiry(this.read, userId));
    if (found === undefined) this.expiries.invalidate(userId);
    return found;
  }

  forgetTokens(tokens: Iterable<string>): void {
    for (const token of tokens) this.tokens.invalidate(token);
  }

  forgetUser(userId: string): void {
    this.users.invalidate(userId);
  }

  forgetExpiry(userId: string): void {
    this.expiries.invalidate(userId);
  }

  /** Drops everything (another process changed rows that it does not name). */
  clear(): void {
    this.tokens.clear();
    this.users.clear();
    this.expiries.clear();
  }
}
