import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { holdRegistrationToken } from "../../storage/accounts/registration-tokens.ts";
import { getUiAuthSession, setUiAuthData, type UiAuthSession } from "../../storage/accounts/ui-auth-sessions.ts";
import type { Context } from "../context.ts";
import { canVerifyMsisdn } from "./registration-flows.ts";
import { LoginError } from "./login-error.ts";

/** What a client says for a stage. */
export interface StageAttempt {
  readonly auth: JsonObject;
  readonly session: UiAuthSession;
  readonly ip: string;
}

/** Checks one stage: the result to keep. @throws LoginError when it is not passed (the authentication goes on), MatrixError otherwise */
export type StageCheck = (ctx: Context, attempt: StageAttempt) => Promise<Json>;

/** Stages that this server's config offers, beside passwords and single sign-on. */
export function uiaStages(ctx: Pick<Context, "config">): ReadonlyMap<string, StageCheck> {
  const { captcha, email, registration } = ctx.config;
  const stages = new Map<string, StageCheck>([
    ["m.login.dummy", passes],
    ["m.login.terms", passes],
  ]);
  if (captcha.recaptchaPrivateKey) stages.set("m.login.recaptcha", checkCaptcha);
  if (email.canVerifyEmail) stages.set("m.login.email.identity", (stageCtx, attempt) => checkThreepid(stageCtx, "email", attempt));
  if (canVerifyMsisdn(ctx.config)) stages.set("m.login.msisdn", (stageCtx, attempt) => checkThreepid(stageCtx, "msisdn", attempt));
  if (registration.registrationRequiresToken || registration.enableRegistrationToken3pidBypass)
    stages.set("m.login.registration_token", checkRegistrationToken);
  return stages;
}

/** `params` of a 401: what a client needs to know for the stages of the flows. */
export function stageParams(ctx: Pick<Context, "config">, flows: readonly (readonly string[])[]): JsonObject {
  const stages = new Set(flows.flat());
  const params: JsonObject = {};
  if (stages.has("m.login.recaptcha")) params["m.login.recaptcha"] = { public_key: ctx.config.captcha.recaptchaPublicKey ?? null };
  if (stages.has("m.login.terms")) {
    const { version, policyName: name } = ctx.config.consent;
    const url = termsUrl(ctx);
    params["m.login.terms"] = { policies: { privacy_policy: { version: version ?? null, en: { name, url } } } };
  }
  return params;
}

/** Where the terms can be read. */
export function termsUrl(ctx: Pick<Context, "config">): string {
  return `${ctx.config.server.publicBaseurl}_matrix/consent?v=${encodeURIComponent(ctx.config.consent.version ?? "")}`;
}

const passes: StageCheck = () => Promise.resolve(true);

const checkCaptcha: StageCheck = async (ctx, { auth, ip }) => {
  const { response } = auth;
  if (typeof response !== "string" || response === "") throw new LoginError(400, "M_CAPTCHA_NEEDED", "Captcha response is required");
  if ((await ctx.accountHooks.verifyCaptcha?.(ctx, response, ip)) !== true) throw new LoginError(401, "M_UNAUTHORIZED", "Captcha authentication failed");
  return true;
};

/** A validation session proves the 3PID once: it is gone afterwards. */
async function checkThreepid(ctx: Context, medium: "email" | "msisdn", { auth }: StageAttempt): Promise<Json> {
  const credentials = auth["threepid_creds"];
  if (credentials === undefined || credentials === null) throw new LoginError(400, "M_MISSING_PARAM", "Missing threepid_creds");
  if (!isJsonObject(credentials) || typeof credentials["sid"] !== "string" || typeof credentials["client_secret"] !== "string") {
    throw new LoginError(400, "M_INVALID_PARAM", "Invalid threepid_creds");
  }
  const threepid = await ctx.accountHooks.takeValidatedThreepid?.(ctx, medium, credentials);
  if (threepid === undefined) throw new LoginError(401, "M_UNAUTHORIZED", "Unable to get validated threepid");
  if (threepid["medium"] !== medium) throw new LoginError(401, "M_UNAUTHORIZED", `Expecting threepid of type '${medium}', got '${String(threepid["medium"])}'`);
  return { ...threepid, threepid_creds: credentials };
}

/** Holds one use of the token for this session; the registration completes it, or the session's end gives it back. */
const checkRegistrationToken: StageCheck = async (ctx, { auth, session }) => {
  const { token } = auth;
  if (token === undefined) throw new LoginError(400, "M_MISSING_PARAM", "Missing registration token");
  if (typeof token !== "string") throw new LoginError(400, "M_INVALID_PARAM", "Registration token must be a string");
  if (auth["session"] === undefined) throw new LoginError(400, "M_MISSING_PARAM", "Missing UIA session");
  const { sessionId } = session;
  const outcome = token.includes("\0")
    ? "invalid"
    : await ctx.transaction("hold_registration_token", async (txn) => {
        const current = await getUiAuthSession(txn, sessionId);
        if (current === undefined) throw new MatrixError(400, "M_UNKNOWN", `Unknown session ID: ${sessionId}`);
        const held = current.serverdict["m.login.registration_token"];
        if (typeof held === "string" && held !== "") return held === token ? "held" : "changed";
        if (!(await holdRegistrationToken(txn, token, ctx.clock.now()))) return "invalid";
        await setUiAuthData(txn, sessionId, "m.login.registration_token", token);
        return "held";
      });
  if (outcome === "changed") throw new LoginError(400, "M_INVALID_PARAM", "Registration token has changed");
  if (outcome === "invalid") throw new LoginError(401, "M_UNAUTHORIZED", "Invalid registration token");
  return token;
};
