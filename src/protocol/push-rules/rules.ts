import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";

/** Kinds of push rules with the `priority_class` of their rows. In this order the client-server API lists them. */
export const PRIORITY_CLASS = { underride: 1, sender: 2, room: 3, postcontent: 6, content: 4, override: 5 } as const;
export type RuleKind = keyof typeof PRIORITY_CLASS;

/** True for the kinds of rules that there are. */
export function isRuleKind(kind: string): kind is RuleKind {
  return Object.hasOwn(PRIORITY_CLASS, kind);
}

/** `notify`, a tweak, or what a later specification may bring. */
export type PushAction = Json;

export interface PushRule {
  /** `global/<kind>/<id>`, as in `push_rules.rule_id`. */
  readonly ruleId: string;
  readonly kind: RuleKind;
  readonly conditions: readonly Json[];
  readonly actions: readonly PushAction[];
  /** One of the rules that every user has. */
  readonly isDefault: boolean;
  readonly enabledByDefault: boolean;
}

export type RequestedRule =
  { readonly conditions: readonly Json[]; readonly actions: readonly PushAction[]; readonly problem?: undefined } | { readonly problem: string };

/** Conditions and actions to store for a rule that a client sends (client-server API, PUT /pushrules/global/{kind}/{ruleId}), or what is wrong with it. */
export function ruleFromRequest(kind: RuleKind, ruleId: string, body: JsonObject): RequestedRule {
  const conditions = conditionsFromRequest(kind, ruleId, body);
  if (typeof conditions === "string") return { problem: conditions };
  const problem = actionsProblem(body.actions);
  return problem === undefined ? { conditions, actions: body.actions as Json[] } : { problem };
}

function conditionsFromRequest(kind: RuleKind, ruleId: string, body: JsonObject): Json[] | string {
  switch (kind) {
    case "override":
    case "underride":
      if (!Array.isArray(body.conditions)) return "Missing 'conditions'";
      return body.conditions.every((condition) => isJsonObject(condition) && condition.kind !== undefined) ? body.conditions : "Condition without 'kind'";
    case "room":
      return [{ kind: "event_match", key: "room_id", pattern: ruleId }];
    case "sender":
      // Synapse stores this key, and reads it as the sender.
      return [{ kind: "event_match", key: "user_id", pattern: ruleId }];
    case "content":
      return typeof body.pattern === "string" ? [{ kind: "event_match", key: "content.body", pattern: body.pattern }] : "Content rule missing 'pattern'";
    case "postcontent":
      // MSC4306: clients cannot make these.
      return "user-defined rules using `postcontent` are not accepted";
  }
}

/** What is wrong with the actions of a rule; undefined when nothing is. `dont_notify` and `coalesce` are of old, and do nothing. */
export function actionsProblem(actions: Json | undefined): string | undefined {
  if (!Array.isArray(actions)) return "No actions found";
  const bad = actions.find(
    (action) => !(action === "notify" || action === "dont_notify" || action === "coalesce" || (isJsonObject(action) && action.set_tweak !== undefined)),
  );
  return bad === undefined ? undefined : "Unrecognised action";
}
