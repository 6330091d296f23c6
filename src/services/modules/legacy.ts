import type { JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { ModuleApi } from "./api.ts";
import type { AuthResult, CheckAuth } from "./callbacks/password-auth.ts";
import type { PresenceRouterCallbacks } from "./callbacks/presence-router.ts";
import { SpamChecker, type SpamCheckerCallbacks } from "./callbacks/spam-checker.ts";
import { ThirdPartyRules, type ThirdPartyRulesCallbacks } from "./callbacks/third-party-rules.ts";

/**
 * Modules in their old form are objects whose methods are the callbacks: those configured by `spam_checker`, `third_party_event_rules`,
 * `password_providers` and `presence.presence_router`. Methods may answer at once or by a promise.
 */
export type LegacyKind = "spam_checker" | "third_party_event_rules" | "password_providers" | "presence_router";

type Methods = Readonly<Record<string, unknown>>;
type Method = (...args: unknown[]) => unknown;

/** Registers the methods of a module in its old form. @throws Error where the module is none of that kind */
export function registerLegacy(kind: LegacyKind, module: object, api: ModuleApi): void {
  const methods = module as Methods;
  switch (kind) {
    case "spam_checker":
      return api.register_spam_checker_callbacks(pick(methods, SpamChecker.names) as SpamCheckerCallbacks);
    case "third_party_event_rules":
      return api.register_third_party_rules_callbacks(oldRules(pick(methods, ThirdPartyRules.names)));
    case "presence_router":
      return api.register_presence_router_callbacks(pick(methods, ["get_users_for_states", "get_interested_users"]) as unknown as PresenceRouterCallbacks);
    case "password_providers":
      return registerPasswordProvider(methods, api);
  }
}

function pick(methods: Methods, names: readonly string[]): Record<string, Method> {
  const found: Record<string, Method> = {};
  for (const name of names) {
    const method = methods[name];
    if (typeof method === "function") found[name] = (method as Method).bind(methods);
  }
  return found;
}

/** `check_event_allowed` answered with the new event alone, and `on_create_room` with false. */
function oldRules(methods: Record<string, Method>): ThirdPartyRulesCallbacks {
  const { check_event_allowed: check, on_create_room: create, ...others } = methods;
  const rules: ThirdPartyRulesCallbacks = { ...(others as ThirdPartyRulesCallbacks) };
  if (check !== undefined) {
    rules.check_event_allowed = async (event, state) => {
      const result = await check(event, state);
      if (Array.isArray(result)) return result as unknown as readonly [boolean, JsonObject | undefined];
      return typeof result === "object" && result !== null ? [true, result as JsonObject] : [result !== false];
    };
  }
  if (create !== undefined) {
    rules.on_create_room = async (requester, config, isAdmin) => {
      if ((await create(requester, config, isAdmin)) === false) throw new MatrixError(403, "M_UNKNOWN", "Room creation forbidden with these parameters");
    };
  }
  return rules;
}

/** `check_password` answers with a boolean; `check_auth` and `check_3pid_auth` may answer with the user's id alone. */
function registerPasswordProvider(methods: Methods, api: ModuleApi): void {
  const found = pick(methods, ["check_password", "check_auth", "check_3pid_auth", "on_logged_out", "get_supported_login_types"]);
  const checkers: { login_type: string; fields: readonly string[]; check_auth: CheckAuth }[] = [];
  const { check_auth: checkAuth, check_password: checkPassword, check_3pid_auth: checkThreepid, on_logged_out: loggedOut } = found;
  if (checkAuth !== undefined) {
    const types = (found["get_supported_login_types"]?.() ?? {}) as Readonly<Record<string, Iterable<string>>>;
    for (const [type, fields] of Object.entries(types))
      checkers.push({ login_type: type, fields: [...fields], check_auth: async (...args) => asResult(await checkAuth(...args)) });
  }
  if (checkPassword !== undefined) {
    checkers.push({
      login_type: "m.login.password",
      fields: ["password"],
      check_auth: async (username, _type, { password }) => {
        const userId = api.get_qualified_user_id(username);
        return (await checkPassword(userId, password)) ? [userId] : undefined;
      },
    });
  }
  api.register_password_auth_provider_callbacks({
    auth_checkers: checkers,
    ...(checkThreepid === undefined ? {} : { check_3pid_auth: async (...args) => asResult(await checkThreepid(...args)) }),
    ...(loggedOut === undefined ? {} : { on_logged_out: async (...args) => void (await loggedOut(...args)) }),
  });
}

const asResult = (result: unknown): AuthResult => (typeof result === "string" ? [result] : (result as AuthResult));
