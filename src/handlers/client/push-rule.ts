import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { MatrixError, notFound } from "../../protocol/errors.ts";
import { isRuleKind } from "../../protocol/push-rules/rules.ts";
import { deleteRule, putRule, setRuleActions, setRuleEnabled } from "../../services/push/rules.ts";
import { endpoint } from "../http/endpoint.ts";

/** The path below `pushrules/` is taken apart here, as Synapse does it: `global/<kind>/<rule id>/<attribute>`, with a meaning of trailing slashes. */
const PATH = "/_matrix/client/(api/v1|r0|v3|unstable)/:path=pushrules/*";
const MAX_BODY = 100 * 65_536;

const rest = (params: object): string[] => (params as { path: string }).path.split("/");
/** Paths that name nothing: 400 as in Synapse, not the 404 of unknown routes. */
const unrecognized = (message = "Unrecognized request"): MatrixError => new MatrixError(400, "M_UNRECOGNIZED", message);
const wantsSlash = (): MatrixError => unrecognized("Unrecognised request: You probably wanted a trailing slash");

export const getPushRules = endpoint({
  servlet: "PushRuleRestServlet",
  method: "GET",
  path: PATH,
  auth: "user",
  async handle(ctx, { requester, params }) {
    const rules = await ctx.pushRules.forClient(requester.userId);
    const [scope, ...path] = rest(params);
    if (scope === "") return rules;
    if (scope !== "global") throw unrecognized();
    return select(rules.global as JsonObject, path);
  },
});

/** The part of the rules that the path names. */
function select(rules: JsonObject, path: readonly string[]): Json {
  const [kind, id, attribute] = path;
  if (kind === undefined) throw wantsSlash();
  if (kind === "") return rules;
  if (!isRuleKind(kind)) throw unrecognized();
  const ofKind = rules[kind] as JsonObject[];
  if (id === undefined) throw wantsSlash();
  if (id === "") return ofKind;
  const rule = ofKind.findLast((candidate) => candidate.rule_id === id);
  if (rule === undefined) throw notFound("Not found");
  if (attribute === undefined) return rule;
  if (!Object.hasOwn(rule, attribute)) throw unrecognized();
  return { [attribute]: rule[attribute] };
}

interface RulePath {
  readonly kind: string;
  readonly id: string;
  readonly attribute: string | undefined;
}

function rulePath(params: object): RulePath {
  const [scope, kind, id, attribute] = rest(params);
  if (scope !== "global" || kind === undefined || id === undefined || id === "") throw unrecognized();
  return { kind, id, attribute: attribute === "" ? undefined : attribute };
}

export const putPushRule = endpoint({
  servlet: "PushRuleRestServlet",
  method: "PUT",
  path: PATH,
  auth: "user",
  // `enabled` may be a bare true or false.
  bodyType: "raw",
  maxBody: MAX_BODY,
  async handle(ctx, { requester, params, query, body }) {
    const { kind, id, attribute } = rulePath(params);
    if (!isRuleKind(kind)) throw new MatrixError(400, "M_UNKNOWN", `Unknown template: ${kind}`);
    if (/[/\\\0]/.test(id)) throw new MatrixError(400, "M_UNKNOWN", "rule_id may not contain slashes");
    const content = readJson(body as unknown as Buffer);
    if (attribute === undefined) {
      await putRule(ctx, requester.userId, kind, id, content, { before: query.string("before"), after: query.string("after") });
    } else if (attribute === "enabled") {
      const enabled = isJsonObject(content) && content.enabled !== undefined ? content.enabled : content;
      if (typeof enabled !== "boolean") throw new MatrixError(400, "M_UNKNOWN", "Value for 'enabled' must be boolean");
      await setRuleEnabled(ctx, requester.userId, kind, id, enabled);
    } else if (attribute === "actions") {
      if (!isJsonObject(content)) throw new MatrixError(400, "M_UNKNOWN", "Value must be a dict");
      await setRuleActions(ctx, requester.userId, kind, id, content.actions);
    } else {
      throw unrecognized();
    }
    return {};
  },
});

export const deletePushRule = endpoint({
  servlet: "PushRuleRestServlet",
  method: "DELETE",
  path: PATH,
  auth: "user",
  bodyType: "none",
  async handle(ctx, { requester, params }) {
    const { kind, id } = rulePath(params);
    await deleteRule(ctx, requester.userId, kind, id);
    return {};
  },
});

function readJson(bytes: Buffer): Json {
  try {
    return parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    throw new MatrixError(400, "M_NOT_JSON", "Content not JSON.");
  }
}

export const pushRuleRoutes = [getPushRules, putPushRule, deletePushRule];
