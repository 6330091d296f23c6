import { execute, query, queryOne, type ReadHandle, type Txn } from "../database.ts";
import type { LocalIdCounters } from "../local-ids.ts";
import type { PushRulesRow } from "../tables.ts";

/**
 * `push_rules`, `push_rules_enable`, `push_rules_stream`. Built-in rules are not stored: a row of theirs (priority class -1) holds
 * changed actions. Writers work under READ COMMITTED after `lockPushRules`, because the priorities of a user's rules move together.
 */
export type RuleRow = Omit<PushRulesRow, "id" | "user_name">;

export interface StoredRules {
  /** Highest priority class first, in it highest priority first. */
  readonly rules: RuleRow[];
  /** Whether a rule is on, by rule id, built-in ones too; rules that are not named are on or off by default. */
  readonly enabled: Map<string, boolean>;
}

/** Where a change of the rules stands in the streams; ids of the rows that it may have to add. */
export interface RulesChange {
  readonly ids: Pick<LocalIdCounters, "pushRules" | "pushRulesEnable">;
  readonly userId: string;
  readonly ruleId: string;
  readonly streamId: number;
  /** Present position of the events stream. */
  readonly eventPosition: number;
  readonly instanceName: string;
}

export interface NewRule extends RulesChange {
  readonly priorityClass: number;
  readonly conditions: string;
  readonly actions: string;
  /** Rule ids in the form `global/<kind>/<rule id>`; `before` wins. */
  readonly before?: string | undefined;
  readonly after?: string | undefined;
  /** Largest number of rows that a user may have. */
  readonly maxRules: number;
}

export type AddRuleOutcome =
  { added: true } | { added: false; reason: "no such relative" | "other class" } | { added: false; reason: "too many"; count: number };

/** The stored rules of users; every user has an entry. */
export async function storedRulesOf(read: ReadHandle, userIds: readonly string[]): Promise<Map<string, StoredRules>> {
  const rows = query<RuleRow & { user_name: string }>(
    read,
    `SELECT user_name, rule_id, priority_class, priority, conditions, actions FROM push_rules WHERE user_name = ANY($1::text[])
     ORDER BY priority_class DESC, priority DESC, id`,
    [userIds],
  );
  const enabled = query<{ user_name: string; rule_id: string; enabled: number | null }>(
    read,
    `SELECT user_name, rule_id, enabled FROM push_rules_enable WHERE user_name = ANY($1::text[])`,
    [userIds],
  );
  const result = new Map(userIds.map((userId) => [userId, { rules: [], enabled: new Map() } as StoredRules]));
  for (const { user_name, ...rule } of await rows) result.get(user_name)!.rules.push(rule);
  for (const row of await enabled) result.get(row.user_name)!.enabled.set(row.rule_id, row.enabled !== null && row.enabled !== 0);
  return result;
}

/** True when the user's rules changed at a position in (`after`, `upTo`]. */
export async function pushRulesChangedBetween(read: ReadHandle, userId: string, after: number, upTo: number): Promise<boolean> {
  const row = await queryOne(read, `SELECT FROM push_rules_stream WHERE user_id = $1 AND stream_id > $2 AND stream_id <= $3 LIMIT 1`, [userId, after, upTo]);
  return row !== undefined;
}

/** Makes this transaction the only one that changes push rules of the user, until it ends. To be its first statement. */
export async function lockPushRules(txn: Txn, userId: string): Promise<void> {
  await query(txn, `SELECT pg_advisory_xact_lock(hashtext('push_rules'), hashtext($1))`, [userId]);
}

/** Adds or replaces a rule: before or after another one of its class, else before all of them. */
export async function addPushRule(txn: Txn, rule: NewRule): Promise<AddRuleOutcome> {
  const { userId, priorityClass } = rule;
  const relative = rule.before ?? rule.after;
  let priority: number;
  if (relative !== undefined) {
    const base = await queryOne<{ priority: number; priority_class: number }>(
      txn,
      `SELECT priority, priority_class FROM push_rules WHERE user_name = $1 AND rule_id = $2`,
      [userId, relative],
    );
    if (base === undefined) return { added: false, reason: "no such relative" };
    if (base.priority_class !== priorityClass) return { added: false, reason: "other class" };
    priority = rule.before === undefined ? base.priority : base.priority + 1;
    await execute(txn, `UPDATE push_rules SET priority = priority + 1 WHERE user_name = $1 AND priority_class = $2 AND priority >= $3`, [
      userId,
      priorityClass,
      priority,
    ]);
  } else {
    const highest = await queryOne<{ priority: number | null }>(
      txn,
      `SELECT max(priority) AS priority FROM push_rules WHERE user_name = $1 AND priority_class = $2`,
      [userId, priorityClass],
    );
    priority = (highest?.priority ?? -1) + 1;
  }
  const count = await upsertRule(txn, { ...rule, priority });
  if (count !== undefined) return { added: false, reason: "too many", count };
  await insertChange(txn, rule, "ADD", { priorityClass, priority, conditions: rule.conditions, actions: rule.actions });
  return { added: true };
}

/** Removes a rule and its on/off switch. False when there is no such rule. */
export async function deletePushRule(txn: Txn, change: RulesChange): Promise<boolean> {
  const removed = await execute(txn, `DELETE FROM push_rules WHERE user_name = $1 AND rule_id = $2`, [change.userId, change.ruleId]);
  if (removed === 0) return false;
  await execute(txn, `DELETE FROM push_rules_enable WHERE user_name = $1 AND rule_id = $2`, [change.userId, change.ruleId]);
  await insertChange(txn, change, "DELETE");
  return true;
}

/** Switches a rule on or off. False when it is no built-in rule and does not exist. */
export async function setPushRuleEnabled(txn: Txn, change: RulesChange, enabled: boolean, builtIn: boolean): Promise<boolean> {
  if (!builtIn && (await storedRule(txn, change.userId, change.ruleId)) === undefined) return false;
  await execute(
    txn,
    `INSERT INTO push_rules_enable (id, user_name, rule_id, enabled)
     VALUES ($1, $2, $3, $4) ON CONFLICT (user_name, rule_id) DO UPDATE SET enabled = EXCLUDED.enabled`,
    [change.ids.pushRulesEnable.next(), change.userId, change.ruleId, enabled ? 1 : 0],
  );
  await insertChange(txn, change, enabled ? "ENABLE" : "DISABLE");
  return true;
}

/** The stored rule of that id (for a built-in one: its changed actions); undefined when there is none. */
export async function storedRule(read: ReadHandle, userId: string, ruleId: string): Promise<RuleRow | undefined> {
  return await queryOne<RuleRow>(read, `SELECT rule_id, priority_class, priority, conditions, actions FROM push_rules WHERE user_name = $1 AND rule_id = $2`, [
    userId,
    ruleId,
  ]);
}

/** Replaces the actions of the user's own rule, which exists. */
export async function setPushRuleActions(txn: Txn, change: RulesChange, actions: string): Promise<void> {
  await execute(txn, `UPDATE push_rules SET actions = $3 WHERE user_name = $1 AND rule_id = $2`, [change.userId, change.ruleId, actions]);
  await insertChange(txn, change, "ACTIONS", { actions });
}

/** Overrides the actions of a built-in rule. Returns the number of the user's rules when there are too many, else undefined. */
export async function overrideBuiltInActions(txn: Txn, change: RulesChange, actions: string, maxRules: number): Promise<number | undefined> {
  const tooMany = await upsertRule(txn, { ...change, priorityClass: -1, priority: 1, conditions: "[]", actions, maxRules });
  if (tooMany === undefined) await insertChange(txn, change, "ACTIONS", { actions });
  return tooMany;
}

/** Removes all push rules of a user and their history (deactivation). */
export async function purgePushRules(txn: Txn, userId: string): Promise<void> {
  await execute(txn, `DELETE FROM push_rules WHERE user_name = $1`, [userId]);
  await execute(txn, `DELETE FROM push_rules_enable WHERE user_name = $1`, [userId]);
  await execute(txn, `DELETE FROM push_rules_stream WHERE user_id = $1`, [userId]);
}

interface RuleValues {
  ids: RulesChange["ids"];
  userId: string;
  ruleId: string;
  priorityClass: number;
  priority: number;
  conditions: string;
  actions: string;
  maxRules: number;
}

/** Writes the rule and, where there is none, its switch (on). Returns the number of rules when one more would be too many. */
async function upsertRule(txn: Txn, rule: RuleValues): Promise<number | undefined> {
  const { userId, ruleId, priorityClass, priority, conditions, actions } = rule;
  const updated = await execute(
    txn,
    `UPDATE push_rules SET priority_class = $3, priority = $4, conditions = $5, actions = $6 WHERE user_name = $1 AND rule_id = $2`,
    [userId, ruleId, priorityClass, priority, conditions, actions],
  );
  if (updated === 0) {
    const { count } = (await queryOne<{ count: number }>(txn, `SELECT count(*) AS count FROM push_rules WHERE user_name = $1`, [userId]))!;
    if (count >= rule.maxRules) return count;
    await execute(
      txn,
      `INSERT INTO push_rules (id, user_name, rule_id, priority_class, priority, conditions, actions)
       VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [rule.ids.pushRules.next(), userId, ruleId, priorityClass, priority, conditions, actions],
    );
  }
  await execute(
    txn,
    `INSERT INTO push_rules_enable (id, user_name, rule_id, enabled)
     VALUES ($1, $2, $3, 1) ON CONFLICT (user_name, rule_id) DO NOTHING`,
    [rule.ids.pushRulesEnable.next(), userId, ruleId],
  );
  return undefined;
}

interface ChangeDetails {
  priorityClass?: number;
  priority?: number;
  conditions?: string;
  actions?: string;
}

/** Older rows than the newest of a user tell nothing (readers ask only whether there is one after a position): a hundred go each time. */
async function insertChange(
  txn: Txn,
  change: RulesChange,
  op: "ADD" | "DELETE" | "ENABLE" | "DISABLE" | "ACTIONS",
  details: ChangeDetails = {},
): Promise<void> {
  await execute(
    txn,
    `INSERT INTO push_rules_stream (stream_id, event_stream_ordering, user_id, rule_id, op, priority_class, priority, conditions, actions, instance_name)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      change.streamId,
      change.eventPosition,
      change.userId,
      change.ruleId,
      op,
      details.priorityClass ?? null,
      details.priority ?? null,
      details.conditions ?? null,
      details.actions ?? null,
      change.instanceName,
    ],
  );
  await execute(
    txn,
    `DELETE FROM push_rules_stream WHERE ctid = ANY(ARRAY(SELECT ctid FROM push_rules_stream WHERE user_id = $1 AND stream_id < $2 ORDER BY stream_id LIMIT 100))`,
    [change.userId, change.streamId],
  );
}
