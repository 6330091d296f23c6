import type { ConfigReader } from "../reader.ts";

/** Bounds of users' push rules (`push_rules`). */
export type PushRulesConfig = ReturnType<typeof parsePushRules>;

export function parsePushRules(root: ConfigReader) {
  const limits = root.object("push_rules").object("limits");
  return {
    ruleCount: limits.integer("rule_count", 10_000, { min: 0 }),
    ruleIdLength: limits.integer("rule_id_length", 300, { min: 1 }),
    /** Bytes. */
    ruleSize: limits.size("rule_size", 1024, { min: 1 }),
  };
}
