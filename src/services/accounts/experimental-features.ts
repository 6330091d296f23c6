import type { Config } from "../../config/config.ts";
import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { LoadingCache } from "../../lib/loading-cache.ts";
import { getEnabledFeatures } from "../../storage/accounts/experimental-features.ts";
import type { ReadHandle } from "../../storage/database.ts";

/** Features that are on for everybody by the configuration, or for single users by an admin. */
export const USER_FEATURES = ["msc3881", "msc3575", "msc4222"] as const;
export type UserFeature = (typeof USER_FEATURES)[number];

export class ExperimentalFeatures {
  private readonly byUser: LoadingCache<ReadonlySet<UserFeature>>;
  private readonly forAll: ReadonlySet<UserFeature>;

  constructor(
    { experimental }: Pick<Config, "experimental">,
    private readonly read: ReadHandle,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.byUser = new LoadingCache(sizeOf("is_feature_enabled", 10_000));
    const on = { msc3881: experimental.msc3881Enabled, msc3575: experimental.msc3575Enabled, msc4222: experimental.msc4222Enabled };
    this.forAll = new Set(USER_FEATURES.filter((feature) => on[feature]));
  }

  /** Whether the feature is on for the user. */
  async has(userId: string, feature: UserFeature): Promise<boolean> {
    return this.forAll.has(feature) || (await this.ofUser(userId)).has(feature);
  }

  /** Those that an admin turned on for the user. */
  async ofUser(userId: string): Promise<ReadonlySet<UserFeature>> {
    return await this.byUser.get(userId, async () => {
      const enabled = await getEnabledFeatures(this.read, userId);
      return new Set(USER_FEATURES.filter((feature) => enabled.has(feature)));
    });
  }

  /** An admin turned something on or off. */
  forget(userId: string): void {
    this.byUser.invalidate(userId);
  }
}
