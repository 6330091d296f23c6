import { z } from "zod";
import { deactivateAccount, reactivateAccount } from "../../../services/accounts/deactivate.ts";
import { checkUsername } from "../../../services/accounts/usernames.ts";
import { provisionUser, setProfile } from "../../../services/mas/provision.ts";
import { getProfile } from "../../../storage/accounts/profiles.ts";
import { allowMasterKeyReplacement } from "../../../storage/devices/keys-cross-signing.ts";
import { checkBody } from "../../http/body.ts";
import { endpoint } from "../../http/endpoint.ts";
import { Reply } from "../../http/reply.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import { userOf, when } from "./delegated.ts";

/** How long a user may replace the master key after having approved it at the authentication service. */
const REPLACEMENT_MS = 600_000;

const localpartOnly = z.object({ localpart: z.string() });

/** What this server knows of an account. */
export const queryUser = endpoint({
  servlet: "MasQueryUserResource",
  method: "GET",
  path: "/_synapse/mas/query_user",
  auth: "mas",
  when,
  async handle(ctx, { query }) {
    const user = await userOf(ctx, query.requiredString("localpart"));
    const profile = await getProfile(ctx.read, user.name);
    return {
      user_id: user.name,
      display_name: profile?.displayname ?? null,
      avatar_url: profile?.avatarUrl ?? null,
      is_suspended: user.suspended,
      is_deactivated: user.deactivated,
    };
  },
});

const provision = z
  .object({
    localpart: z.string(),
    unset_displayname: z.boolean().default(false),
    set_displayname: z.string().nullish(),
    unset_avatar_url: z.boolean().default(false),
    set_avatar_url: z.string().nullish(),
    unset_emails: z.boolean().default(false),
    set_emails: z.array(z.string()).nullish(),
    locked: z.boolean().nullish(),
  })
  .transform(({ localpart, locked, ...body }) => ({
    localpart,
    displayName: body.unset_displayname ? null : (body.set_displayname ?? undefined),
    avatarUrl: body.unset_avatar_url ? null : (body.set_avatar_url ?? undefined),
    emails: body.unset_emails ? [] : (body.set_emails ?? undefined),
    locked: locked ?? undefined,
  }));

/** Makes or changes an account. A field may be set or unset, not both, whatever the values. */
export const provisionUserRoute = endpoint({
  servlet: "MasProvisionUserResource",
  method: "POST",
  path: "/_synapse/mas/provision_user",
  auth: "mas",
  emptyBody: false,
  when,
  async handle(ctx, { body }) {
    for (const field of ["displayname", "avatar_url", "emails"]) {
      if (`unset_${field}` in body && `set_${field}` in body)
        throw new MatrixError(400, "M_INVALID_PARAM", `Cannot specify both unset_${field} and set_${field}`);
    }
    return new Reply((await provisionUser(ctx, checkBody(provision, body))) ? 201 : 200, {});
  },
});

/** Whether somebody may be called so. */
export const isLocalpartAvailable = endpoint({
  servlet: "MasIsLocalpartAvailableResource",
  method: "GET",
  path: "/_synapse/mas/is_localpart_available",
  auth: "mas",
  when,
  async handle(ctx, { query }) {
    const localpart = query.string("localpart");
    if (localpart === undefined) throw new MatrixError(400, "M_UNKNOWN", "Missing localpart");
    await checkUsername(ctx, localpart);
    return {};
  },
});

export const deleteUser = endpoint({
  servlet: "MasDeleteUserResource",
  method: "POST",
  path: "/_synapse/mas/delete_user",
  auth: "mas",
  body: z.object({ localpart: z.string(), erase: z.boolean() }),
  when,
  async handle(ctx, { body }) {
    const { name } = await userOf(ctx, body.localpart);
    await deactivateAccount(ctx, { userId: name, erase: body.erase, idServer: undefined, byAdmin: false });
    return {};
  },
});

export const reactivateUser = endpoint({
  servlet: "MasReactivateUserResource",
  method: "POST",
  path: "/_synapse/mas/reactivate_user",
  auth: "mas",
  body: localpartOnly,
  when,
  async handle(ctx, { body }) {
    const { name } = await userOf(ctx, body.localpart);
    await reactivateAccount(ctx, name);
    return {};
  },
});

export const setDisplayname = endpoint({
  servlet: "MasSetDisplayNameResource",
  method: "POST",
  path: "/_synapse/mas/set_displayname",
  auth: "mas",
  body: z.object({ localpart: z.string(), displayname: z.string() }),
  when,
  async handle(ctx, { body }) {
    const { name } = await userOf(ctx, body.localpart);
    await setProfile(ctx, name, "displayname", body.displayname);
    return {};
  },
});

export const unsetDisplayname = endpoint({
  servlet: "MasUnsetDisplayNameResource",
  method: "POST",
  path: "/_synapse/mas/unset_displayname",
  auth: "mas",
  body: localpartOnly,
  when,
  async handle(ctx, { body }) {
    const { name } = await userOf(ctx, body.localpart);
    await setProfile(ctx, name, "displayname", null);
    return {};
  },
});

/** The user has approved at the authentication service that the cross-signing keys are made anew. */
export const allowCrossSigningReset = endpoint({
  servlet: "MasAllowCrossSigningResetResource",
  method: "POST",
  path: "/_synapse/mas/allow_cross_signing_reset",
  auth: "mas",
  body: localpartOnly,
  when,
  async handle(ctx, { body }) {
    const { name } = await userOf(ctx, body.localpart);
    const until = ctx.clock.now() + REPLACEMENT_MS;
    const hasKey = await ctx.transaction("allow_master_cross_signing_key_replacement_without_uia", (txn) => allowMasterKeyReplacement(txn, name, until));
    if (!hasKey) ctx.log.named("synapse.rest.synapse.mas.users").warn(`${name} may replace a master cross-signing key, but has none`);
    return {};
  },
});

export const masUserRoutes = [
  queryUser,
  provisionUserRoute,
  isLocalpartAvailable,
  deleteUser,
  reactivateUser,
  setDisplayname,
  unsetDisplayname,
  allowCrossSigningReset,
];
