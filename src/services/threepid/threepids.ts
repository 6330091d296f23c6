import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { HttpError } from "../../outbound/http-client.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import type { Txn } from "../../storage/database.ts";
import { deleteThreepid, getUserOfThreepid, upsertThreepid } from "../../storage/threepids/user-threepids.ts";
import { takeValidatedSession } from "../../storage/threepids/validation-sessions.ts";
import { canonicalEmail } from "../accounts/identifiers.ts";
import type { Context } from "../context.ts";
import { deletePusher, setPusher } from "../push/pushers.ts";
import { requireThreepidAllowed } from "./allowed.ts";
import { checkClientSecret, isClientSecret, isParameter } from "./validation.ts";

/** An address that somebody has proven to own. Times in milliseconds. */
export interface ProvenThreepid {
  readonly medium: "email" | "msisdn";
  readonly address: string;
  readonly validatedAt: number;
}

const EMAIL_APP_ID = "m.email";

/**
 * Adds the address that a validation session has proven to an account. The session is spent by it.
 * @throws MatrixError 400 M_THREEPID_AUTH_FAILED without such a session, M_THREEPID_IN_USE; 403 M_THREEPID_DENIED
 */
export async function addProvenThreepid(ctx: Context, userId: string, credentials: { sid: string; clientSecret: string }): Promise<void> {
  const { sid, clientSecret } = credentials;
  checkClientSecret(clientSecret);
  const threepid = (await addOwnSession(ctx, userId, sid, clientSecret)) ?? (await addDelegatedSession(ctx, userId, sid, clientSecret));
  if (threepid === undefined) throw new MatrixError(400, "M_THREEPID_AUTH_FAILED", "No validated 3pid session found");
  await tellAdded(ctx, userId, threepid);
}

/** Gives an account an address that is proven otherwise (by an admin's word, at registration). @throws MatrixError 400 */
export async function addThreepid(ctx: Context, userId: string, threepid: { medium: string; address: string; validatedAt: number }): Promise<void> {
  const { medium, validatedAt } = threepid;
  if (medium !== "email" && medium !== "msisdn") throw invalidParam(`'${medium}' is not a valid value for 'medium'`);
  const proven: ProvenThreepid = { medium, address: medium === "email" ? canonicalEmail(threepid.address) : threepid.address, validatedAt };
  await ctx.transaction("user_add_threepid", (txn) => store(ctx, txn, userId, proven));
  await tellAdded(ctx, userId, proven);
}

/** Takes an address from an account, with the mails that were sent there. @throws MatrixError 400 for what is no address */
export async function removeThreepid(ctx: Context, userId: string, medium: string, address: string): Promise<void> {
  const canonical = medium === "email" ? canonicalEmail(address) : address;
  await ctx.transaction("user_delete_threepid", (txn) => deleteThreepid(txn, userId, medium, canonical));
  await ctx.modules.thirdPartyRules.threepidRemoved(userId, medium, canonical);
  for (const hook of ctx.accountHooks.threepidRemoved) await hook(ctx, userId, medium, canonical);
  if (medium === "email") await deletePusher(ctx, userId, EMAIL_APP_ID, canonical);
}

/**
 * The address that a session has proven, for a stage of user-interactive authentication; the session is spent by it. undefined without
 * such a session.
 */
export async function takeProvenThreepid(ctx: Context, medium: "email" | "msisdn", credentials: JsonObject): Promise<JsonObject | undefined> {
  const { sid, client_secret: clientSecret } = credentials;
  if (typeof sid !== "string" || typeof clientSecret !== "string" || !isParameter(sid) || !isClientSecret(clientSecret)) return undefined;
  const own = await ctx.transaction("delete_threepid_session", (txn) => takeOwnSession(ctx, txn, medium, sid, clientSecret));
  const threepid = own ?? (medium === "msisdn" ? await askDelegate(ctx, sid, clientSecret) : undefined);
  return threepid === undefined ? undefined : { medium: threepid.medium, address: threepid.address, validated_at: threepid.validatedAt };
}

/** The address of a stage, for the new account; by `email.notif_for_new_users` it gets mails about what the user misses. */
export async function addRegisteredThreepid(ctx: Context, userId: string, threepid: JsonObject, accessToken: string | undefined): Promise<void> {
  const { medium, address, validated_at: validatedAt } = threepid;
  if (typeof medium !== "string" || typeof address !== "string" || typeof validatedAt !== "number") return;
  await addThreepid(ctx, userId, { medium, address, validatedAt });
  const { enableNotifs, notifForNewUsers } = ctx.config.email;
  if (medium !== "email" || !enableNotifs || !notifForNewUsers || accessToken === undefined) return;
  const token = await ctx.accounts.token(accessToken);
  if (token === undefined) return;
  await setPusher(
    ctx,
    {
      userId,
      deviceId: token.deviceId ?? undefined,
      accessTokenId: token.id,
      isGuest: false,
      appserviceId: undefined,
      authenticatedEntity: userId,
      shadowBanned: false,
      scope: [],
    },
    {
      kind: "email",
      app_id: EMAIL_APP_ID,
      app_display_name: "Email Notifications",
      device_display_name: address,
      pushkey: canonicalEmail(address),
      lang: null,
      data: {},
    },
    false,
  );
}

async function addOwnSession(ctx: Context, userId: string, sid: string, clientSecret: string): Promise<ProvenThreepid | undefined> {
  if (!isParameter(sid)) return undefined;
  return await ctx.transaction("user_add_threepid", async (txn) => {
    const threepid = (await takeOwnSession(ctx, txn, "email", sid, clientSecret)) ?? (await takeOwnSession(ctx, txn, "msisdn", sid, clientSecret));
    if (threepid === undefined) return undefined;
    await requireThreepidAllowed(ctx, threepid.medium, threepid.address);
    await store(ctx, txn, userId, threepid);
    return threepid;
  });
}

async function addDelegatedSession(ctx: Context, userId: string, sid: string, clientSecret: string): Promise<ProvenThreepid | undefined> {
  const threepid = isParameter(sid) ? await askDelegate(ctx, sid, clientSecret) : undefined;
  if (threepid === undefined) return undefined;
  await requireThreepidAllowed(ctx, threepid.medium, threepid.address);
  await ctx.transaction("user_add_threepid", (txn) => store(ctx, txn, userId, threepid));
  return threepid;
}

async function takeOwnSession(ctx: Context, txn: Txn, medium: "email" | "msisdn", sid: string, clientSecret: string): Promise<ProvenThreepid | undefined> {
  if (medium === "email" ? !ctx.config.email.canVerifyEmail : ctx.sms === undefined) return undefined;
  const session = await takeValidatedSession(txn, medium, sid, clientSecret);
  return session === undefined ? undefined : { medium, address: session.address, validatedAt: session.validatedAt! };
}

/** What a session of the delegate has proven: phone numbers are all that it is asked about. @throws MatrixError 500 when it does not answer */
async function askDelegate(ctx: Context, sid: string, clientSecret: string): Promise<ProvenThreepid | undefined> {
  const delegate = ctx.config.registration.threepidDelegateMsisdn;
  if (delegate === undefined) return undefined;
  try {
    const threepid = await ctx.identityServers.validatedThreepid(delegate, sid, clientSecret);
    return threepid?.medium === "msisdn" && /^\d{1,20}$/.test(threepid.address) ? { ...threepid, medium: "msisdn" } : undefined;
  } catch (error) {
    if (error instanceof HttpError) return undefined;
    ctx.log.named("synapse.handlers.identity").warn("Could not ask the delegate about a phone number", { error });
    throw new MatrixError(500, "M_UNKNOWN", "Timed out contacting identity server");
  }
}

async function store(ctx: Context, txn: Txn, userId: string, threepid: ProvenThreepid): Promise<void> {
  const address = threepid.medium === "email" ? canonicalEmail(threepid.address) : threepid.address;
  const owner = await getUserOfThreepid(txn, threepid.medium, address);
  // Whoever asked for a token while the address was free does not take it away from somebody else.
  if (owner !== undefined && owner !== userId)
    throw new MatrixError(400, "M_THREEPID_IN_USE", `${threepid.medium === "email" ? "Email" : "MSISDN"} is already in use`);
  await upsertThreepid(txn, userId, { medium: threepid.medium, address, validated_at: threepid.validatedAt, added_at: ctx.clock.now() });
}

async function tellAdded(ctx: Context, userId: string, threepid: ProvenThreepid): Promise<void> {
  await ctx.modules.thirdPartyRules.threepidAdded(userId, threepid.medium, threepid.address);
  for (const hook of ctx.accountHooks.threepidAdded) await hook(ctx, userId, threepid.medium, threepid.address);
}

/** `threePidCreds` of the deprecated `POST /account/3pid`. @throws MatrixError 400 M_MISSING_PARAM */
export function readCredentials(body: JsonObject): { sid: string; clientSecret: string } {
  const credentials = body.threePidCreds || body.three_pid_creds;
  if (!isJsonObject(credentials)) throw new MatrixError(400, "M_MISSING_PARAM", "Missing param three_pid_creds");
  const { sid, client_secret: clientSecret } = credentials;
  const missing = Object.entries({ client_secret: clientSecret, sid }).flatMap(([name, value]) => (value === undefined ? [name] : []));
  if (missing.length > 0) throw new MatrixError(400, "M_MISSING_PARAM", `Missing params: ${JSON.stringify(missing)}`);
  if (typeof sid !== "string" || typeof clientSecret !== "string") throw invalidParam("sid and client_secret must be strings");
  return { sid, clientSecret };
}
