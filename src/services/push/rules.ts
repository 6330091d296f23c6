import { isJsonObject, type Json, stringifyAscii } from "../../lib/json.ts";
import { badJson, MatrixError, notFound } from "../../protocol/errors.ts";
import { baseRule } from "../../protocol/push-rules/base-rules.ts";
import { actionsProblem, PRIORITY_CLASS, type RuleKind, ruleFromRequest } from "../../protocol/push-rules/rules.ts";
import type { Txn } from "../../storage/database.ts";
import {
  addPushRule,
  deletePushRule,
  lockPushRules,
  overrideBuiltInActions,
  type RulesChange,
  setPushRuleActions,
  setPushRuleEnabled,
  storedRule,
} from "../../storage/push/rules.ts";
import type { Context } from "../context.ts";

/** Changes of users' push rules (client-server API, "Push Rules: API"), within the server's limits. */
export type PushRulesContext = Pick<Context, "transaction" | "streams" | "localIds" | "config" | "changes" | "notifier" | "pushRules">;

const refused = (message: string): MatrixError => new MatrixError(400, "M_UNKNOWN", message);

/** Adds or replaces a rule of the user's own; before or after another of its kind, else before all of them. @throws MatrixError 400, 413 */
export async function putRule(
  ctx: PushRulesContext,
  userId: string,
  kind: RuleKind,
  id: string,
  body: Json,
  place: { before?: string | undefined; after?: string | undefined },
): Promise<void> {
  if (id.startsWith(".")) throw refused("cannot add new rule_ids that start with '.'");
  if (!isJsonObject(body)) throw badJson("Content must be a JSON object.");
  if (kind === "postcontent") throw new MatrixError(400, "M_INVALID_PARAM", "user-defined rules using `postcontent` are not accepted");
  const rule = ruleFromRequest(kind, id, body);
  if (rule.problem !== undefined) throw refused(rule.problem);
  await storeRule(ctx, userId, kind, id, rule, place);
}

async function storeRule(
  ctx: PushRulesContext,
  userId: string,
  kind: RuleKind,
  id: string,
  rule: { conditions: readonly Json[]; actions: readonly Json[] },
  place: { before?: string | undefined; after?: string | undefined },
): Promise<void> {
  const ruleId = `global/${kind}/${id}`;
  const [conditions, actions] = [stringifyAscii(rule.conditions), stringifyAscii(rule.actions)];
  checkSize(ctx, ruleId, conditions, actions);
  const relative = (other: string | undefined): string | undefined => (other === undefined || other === "" ? undefined : `global/${kind}/${other}`);
  const outcome = await change(ctx, userId, ruleId, (txn, at) =>
    addPushRule(txn, {
      ...at,
      priorityClass: PRIORITY_CLASS[kind],
      conditions,
      actions,
      before: relative(place.before),
      after: relative(place.after),
      maxRules: ctx.config.pushRules.ruleCount,
    }),
  );
  if (outcome.added) return;
  if (outcome.reason === "too many") throw tooMany(ctx, outcome.count);
  if (outcome.reason === "other class") throw refused("Given priority class does not match class of relative rule");
  throw refused(`before/after rule not found: ${relative(place.before) ?? relative(place.after)}`);
}

/** @throws MatrixError 404 */
export async function deleteRule(ctx: PushRulesContext, userId: string, kind: string, id: string): Promise<void> {
  if (!(await change(ctx, userId, `global/${kind}/${id}`, deletePushRule))) throw notFound("Not found");
}

/** Switches a rule, also a predefined one, on or off. @throws MatrixError 404 */
export async function setRuleEnabled(ctx: PushRulesContext, userId: string, kind: string, id: string, enabled: boolean): Promise<void> {
  const ruleId = `global/${kind}/${id}`;
  const builtIn = checkBuiltIn(ruleId, id);
  if (!(await change(ctx, userId, ruleId, (txn, at) => setPushRuleEnabled(txn, at, enabled, builtIn)))) throw notFound("Unknown rule");
}

/** Replaces the actions of a rule, also of a predefined one. @throws MatrixError 400, 404, 413 */
export async function setRuleActions(ctx: PushRulesContext, userId: string, kind: string, id: string, actions: Json | undefined): Promise<void> {
  const ruleId = `global/${kind}/${id}`;
  const builtIn = checkBuiltIn(ruleId, id);
  if (!Array.isArray(actions)) throw refused("Value for 'actions' must be dict");
  const problem = actionsProblem(actions);
  if (problem !== undefined) throw refused(`Invalid actions: ${problem}`);
  const text = stringifyAscii(actions);
  await change(ctx, userId, ruleId, async (txn, at) => {
    if (builtIn) {
      checkSize(ctx, ruleId, "[]", text);
      const count = await overrideBuiltInActions(txn, at, text, ctx.config.pushRules.ruleCount);
      if (count !== undefined) throw tooMany(ctx, count);
      return;
    }
    const stored = await storedRule(txn, userId, ruleId);
    if (stored === undefined) throw notFound("Unknown rule");
    checkSize(ctx, ruleId, stored.conditions, text);
    await setPushRuleActions(txn, at, text);
  });
}

/** After a room upgrade: rules that name the old room are made for the new one too. */
export async function copyRoomRules(ctx: PushRulesContext, userId: string, oldRoomId: string, newRoomId: string): Promise<void> {
  const ofOldRoom = (condition: Json): boolean => isJsonObject(condition) && condition.key === "room_id" && condition.pattern === oldRoomId;
  for (const { rule, enabled } of (await ctx.pushRules.of(userId)).rules) {
    if (!enabled || !rule.conditions.some(ofOldRoom)) continue;
    const conditions = rule.conditions.map((condition) =>
      isJsonObject(condition) && condition.key === "room_id" ? { ...condition, pattern: newRoomId } : condition,
    );
    await storeRule(ctx, userId, rule.kind, newRoomId, { conditions, actions: rule.actions }, {});
  }
}

/** True for a predefined rule. @throws MatrixError 404 for an id that only a predefined rule could have */
function checkBuiltIn(ruleId: string, id: string): boolean {
  if (!id.startsWith(".")) return false;
  if (baseRule(ruleId) === undefined) throw notFound("Unknown rule");
  return true;
}

function checkSize(ctx: Pick<Context, "config">, ruleId: string, conditions: string, actions: string): void {
  const { ruleIdLength, ruleSize } = ctx.config.pushRules;
  const idBytes = Buffer.byteLength(ruleId, "utf8");
  if (idBytes > ruleIdLength) throw new MatrixError(413, "M_UNKNOWN", `Push rule ID length exceeds server limit (${idBytes} bytes > ${ruleIdLength} bytes).`);
  const bytes = Buffer.byteLength(conditions, "utf8") + Buffer.byteLength(actions, "utf8");
  if (bytes > ruleSize) throw new MatrixError(413, "M_UNKNOWN", `Push rule size exceeds server limit (${bytes} bytes > ${ruleSize} bytes).`);
}

function tooMany(ctx: Pick<Context, "config">, count: number): MatrixError {
  const limit = ctx.config.pushRules.ruleCount;
  return refused(`Creating a push rule would exceed the limit on the number of push rules associated with your account (${count + 1} rules > ${limit} rules)`);
}

async function change<T>(ctx: PushRulesContext, userId: string, ruleId: string, write: (txn: Txn, at: RulesChange) => Promise<T>): Promise<T> {
  const stream = ctx.streams.pushRules;
  return await ctx.transaction(
    "push_rules",
    async (txn) => {
      await lockPushRules(txn, userId);
      const [streamId] = await stream.next(txn);
      const eventPosition = ctx.streams.events.currentToken();
      const result = await write(txn, { ids: ctx.localIds, userId, ruleId, streamId: streamId!, eventPosition, instanceName: stream.instanceName });
      txn.afterCommit(() => {
        ctx.pushRules.invalidate(userId);
        ctx.changes.pushRules.record(userId, streamId!);
        stream.whenVisible(streamId!, () => {
          ctx.notifier.wakeUsers([userId], "push_rules_key");
          ctx.notifier.announce();
        });
      });
      return result;
    },
    { isolation: "read committed" },
  );
}
