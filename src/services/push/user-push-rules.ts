import { type CacheSize, defaultSize } from "../../lib/cache-size.ts";
import { lruCache } from "../../lib/lru-cache.ts";
import type { Config } from "../../config/config.ts";
import type { Json, JsonObject } from "../../lib/json.ts";
import { LoadingCache } from "../../lib/loading-cache.ts";
import type { CacheReading } from "../../lib/metrics.ts";
import type { PushFeatures } from "../../protocol/push-rules/base-rules.ts";
import { RuleSet, ruleSetKey, type StoredRule } from "../../protocol/push-rules/rule-set.ts";
import type { ReadHandle } from "../../storage/database.ts";
import { type RuleRow, type StoredRules, storedRulesOf } from "../../storage/push/rules.ts";

/**
 * The push rules of users, compiled and cached. Users whose rows say the same share one compiled set: most have changed nothing, and then
 * there is a single one for all of them.
 */
export class UserPushRules {
  private readonly users: LoadingCache<RuleSet>;
  private readonly sets = lruCache<string, RuleSet>(5_000);
  private readonly features: PushFeatures;

  /** Reading of the cache under Synapse's name, for the metrics. */
  get caches(): Readonly<Record<string, () => CacheReading>> {
    return { get_push_rules_for_user: () => this.users.reading };
  }

  constructor(
    private readonly read: ReadHandle,
    config: Pick<Config, "experimental">,
    sizeOf: CacheSize = defaultSize,
  ) {
    this.users = new LoadingCache(sizeOf("get_push_rules_for_user", 20_000));
    const { experimental } = config;
    this.features = {
      msc1767: experimental.msc1767Enabled,
      msc3381Polls: experimental.msc3381PollsEnabled,
      msc3664: experimental.msc3664Enabled,
      msc4028: experimental.msc4028PushEncryptedEvents,
      msc4210: experimental.msc4210Enabled,
      msc4306: experimental.msc4306Enabled,
    };
  }

  /** Compiled rules of each user: one query for those that are not cached. */
  async forUsers(userIds: readonly string[]): Promise<Map<string, RuleSet>> {
    return await this.users.getMany(userIds, async (missing) => {
      const stored = await storedRulesOf(this.read, missing);
      return new Map([...stored].map(([userId, rules]) => [userId, this.ruleSet(rules)]));
    });
  }

  async of(userId: string): Promise<RuleSet> {
    return (await this.forUsers([userId])).get(userId)!;
  }

  /** As `GET /pushrules/` and `m.push_rules` show them. */
  async forClient(userId: string): Promise<JsonObject> {
    return (await this.of(userId)).forClient(userId);
  }

  /** The user's rules changed. */
  invalidate(userId: string): void {
    this.users.invalidate(userId);
  }

  private ruleSet({ rules, enabled }: StoredRules): RuleSet {
    const rows = rules.map(parseRow);
    const key = ruleSetKey(rows, enabled);
    let set = this.sets.get(key);
    if (set === undefined) this.sets.set(key, (set = new RuleSet(rows, enabled, this.features)));
    return set;
  }
}

/** A row whose JSON cannot be read becomes a rule that never matches, instead of one that breaks all of the user's rules. */
function parseRow(row: RuleRow): StoredRule {
  return { ...row, conditions: parseOr(row.conditions), actions: parseOr(row.actions) };
}

function parseOr(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return null;
  }
}
