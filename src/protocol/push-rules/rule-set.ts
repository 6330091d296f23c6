import { isJsonObject, stringify, type Json, type JsonObject } from "../../lib/json.ts";
import { localpartOf } from "../ids.ts";
import {
  AFTER_CONTENT,
  AFTER_OVERRIDE,
  AFTER_UNDERRIDE,
  baseRule,
  BEFORE_OVERRIDE,
  isRuleOffered,
  LEGACY_MENTION_RULES,
  type PushFeatures,
} from "./base-rules.ts";
import { compileCondition, type Condition, type PushUser } from "./conditions.ts";
import type { PushEvent } from "./push-event.ts";
import { PRIORITY_CLASS, type PushAction, type PushRule, type RuleKind } from "./rules.ts";

/** A row of `push_rules`, its JSON columns parsed. */
export interface StoredRule {
  readonly rule_id: string;
  readonly priority_class: number;
  /** Higher first within a class. */
  readonly priority: number;
  readonly conditions: Json;
  readonly actions: Json;
}

export interface RuleState {
  readonly rule: PushRule;
  readonly enabled: boolean;
}

interface CompiledRule {
  readonly conditions: readonly Condition[];
  readonly actions: readonly PushAction[];
  readonly isLegacyMention: boolean;
  /** MSC3932: may act in rooms with extensible events. */
  readonly forExtensible: boolean;
}

/** Rules that MSC3932 leaves alone. */
const SAFE_FOR_EXTENSIBLE: ReadonlySet<string> = new Set([
  "global/override/.m.rule.master",
  "global/override/.m.rule.roomnotif",
  "global/content/.m.rule.contains_user_name",
]);

/** All rules of a user in the order in which they are tried, compiled at first use. Users with the same rows may share one. */
export class RuleSet {
  /** With the rules that are switched off. */
  readonly rules: readonly RuleState[];
  private compiled: readonly CompiledRule[] | undefined;

  /**
   * Merges a user's rows with the rules that everyone has. `enabled` holds `push_rules_enable` by full rule id. A row under the id
   * of a base rule changes its actions alone.
   */
  constructor(
    rows: readonly StoredRule[],
    enabled: ReadonlyMap<string, boolean>,
    private readonly features: PushFeatures,
  ) {
    const changed = new Map<string, PushRule>();
    const own = new Map<RuleKind, PushRule[]>();
    for (const row of [...rows].sort((a, b) => b.priority_class - a.priority_class || b.priority - a.priority)) {
      const actions = Array.isArray(row.actions) ? row.actions : [];
      const base = baseRule(row.rule_id);
      if (base !== undefined) {
        changed.set(base.ruleId, { ...base, actions });
        continue;
      }
      const kind = KIND_OF_CLASS.get(row.priority_class);
      if (kind === undefined || kind === "postcontent") continue;
      const rule: PushRule = {
        ruleId: row.rule_id,
        kind,
        conditions: Array.isArray(row.conditions) ? row.conditions : [NEVER_MATCHES],
        actions,
        isDefault: false,
        enabledByDefault: true,
      };
      own.set(kind, [...(own.get(kind) ?? []), rule]);
    }
    const of = (kind: RuleKind): readonly PushRule[] => own.get(kind) ?? [];
    const all = [
      ...BEFORE_OVERRIDE,
      ...of("override"),
      ...AFTER_OVERRIDE,
      ...of("content"),
      ...AFTER_CONTENT,
      ...of("room"),
      ...of("sender"),
      ...of("underride"),
      ...AFTER_UNDERRIDE,
    ];
    this.rules = all
      .filter((rule) => isRuleOffered(rule.ruleId, features))
      .map((rule) => changed.get(rule.ruleId) ?? rule)
      .map((rule) => ({ rule, enabled: enabled.get(rule.ruleId) ?? rule.enabledByDefault }));
  }

  /**
   * Actions of the first rule that matches; empty when none does, or when it does nothing. `dont_notify` and `coalesce` are left
   * out. The sender's own events are the caller's matter.
   */
  evaluate(event: PushEvent, user: PushUser): readonly PushAction[] {
    this.compiled ??= this.rules.filter(({ enabled }) => enabled).map(({ rule }) => this.compile(rule));
    for (const rule of this.compiled) {
      // Events that say whom they mention are not searched for names (client-server API, "User and room mentions").
      if (rule.isLegacyMention && event.hasMentions) continue;
      if (event.isExtensibleRoom && !rule.forExtensible) continue;
      if (rule.conditions.every((condition) => condition(event, user))) return rule.actions;
    }
    return [];
  }

  private compile(rule: PushRule): CompiledRule {
    return {
      conditions: rule.conditions.map((condition) => compileCondition(condition, this.features)),
      actions: rule.actions.filter((action) => action !== "dont_notify" && action !== "coalesce"),
      isLegacyMention: LEGACY_MENTION_RULES.has(rule.ruleId),
      forExtensible:
        SAFE_FOR_EXTENSIBLE.has(rule.ruleId) ||
        rule.conditions.some((condition) => isJsonObject(condition) && condition.kind === "org.matrix.msc3931.room_version_supports"),
    };
  }

  /** As GET /pushrules/ shows them. */
  forClient(userId: string): JsonObject {
    const global: Record<string, Json[]> = {};
    for (const kind of Object.keys(PRIORITY_CLASS)) global[kind] = [];
    for (const { rule, enabled } of this.rules) {
      const shown = showRule(rule, userId);
      if (shown !== undefined) global[rule.kind]!.push({ ...shown, default: rule.isDefault, enabled });
    }
    return { global };
  }
}

/** Stands for conditions that cannot be read: a rule without conditions would match everything. */
const NEVER_MATCHES: JsonObject = { kind: "org.myelin.unreadable" };

const KIND_OF_CLASS: ReadonlyMap<number, RuleKind> = new Map((Object.entries(PRIORITY_CLASS) as [RuleKind, number][]).map(([kind, value]) => [value, kind]));

/** The same for all users whose rows say the same: what a cache of rule sets goes by. */
export function ruleSetKey(rows: readonly StoredRule[], enabled: ReadonlyMap<string, boolean>): string {
  if (rows.length === 0 && enabled.size === 0) return "";
  return stringify([
    rows.map((row) => [row.rule_id, row.priority_class, row.priority, row.conditions, row.actions]),
    [...enabled].sort(([a], [b]) => (a < b ? -1 : 1)),
  ]);
}

function showRule(rule: PushRule, userId: string): JsonObject | undefined {
  const actions = rule.actions as Json[];
  const rule_id = rule.ruleId.slice(rule.ruleId.lastIndexOf("/") + 1);
  const [first] = rule.conditions;
  const condition = isJsonObject(first) ? withUser(first, userId) : undefined;
  switch (rule.kind) {
    case "override":
    case "underride":
    case "postcontent":
      return { conditions: rule.conditions.map((each) => (isJsonObject(each) ? withUser(each, userId) : each)), actions, rule_id };
    case "room":
    case "sender":
      // A room id may hold a slash; the pattern is the whole of it.
      return { actions, rule_id: condition?.pattern ?? rule_id };
    case "content":
      return rule.conditions.length === 1 && condition?.pattern !== undefined ? { actions, pattern: condition.pattern, rule_id } : undefined;
  }
}

/** A condition with the user put where it stands for one. */
function withUser(condition: JsonObject, userId: string): JsonObject {
  const { pattern_type, value_type, ...out } = condition;
  const resolve = (type: Json): string => (type === "user_localpart" ? localpartOf(userId) : userId);
  if (pattern_type !== undefined) out.pattern = resolve(pattern_type);
  if (value_type !== undefined) out.value = resolve(value_type);
  return out;
}
