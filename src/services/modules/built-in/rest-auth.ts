import type { ConfigReader } from "../../../config/reader.ts";
import { isJsonObject, type Json, type JsonObject } from "../../../lib/json.ts";
import { getProfile } from "../../../storage/accounts/profiles.ts";
import { addThreepid, removeThreepid } from "../../threepid/threepids.ts";
import type { ModuleApi } from "../api.ts";
import type { Context } from "../../context.ts";

/**
 * `rest_auth_provider.RestAuthProvider` (matrix-synapse-rest-password-provider): passwords are checked by a web service, which may also say
 * what the account is called and which addresses it has. @throws ConfigError
 */
export function restAuthProvider(config: ConfigReader, api: ModuleApi, context: () => Context): void {
  const endpoint = config.requiredString("endpoint").replace(/\/$/, "");
  const policy = config.object("policy");
  const settings = {
    lowercase: policy.object("registration").object("username").boolean("enforceLowercase", true),
    nameOnRegister: policy.object("registration").object("profile").boolean("name", true),
    nameOnLogin: policy.object("login").object("profile").boolean("name", false),
    updateThreepids: policy.object("all").object("threepid").boolean("update", true),
    replaceThreepids: policy.object("all").object("threepid").boolean("replace", false),
  };

  const check = async (userId: string, password: string): Promise<boolean> => {
    const user = { id: userId, password };
    const answer = await api.http_client.post_json_get_json(`${endpoint}/_matrix-internal/identity/v1/check_credentials`, { user });
    const { auth } = answer;
    if (!isJsonObject(auth)) throw new Error("The answer of the REST endpoint has no `auth`");
    if (auth.success !== true) return false;
    const profile = isJsonObject(auth.profile) ? auth.profile : {};
    const name = typeof profile.display_name === "string" ? profile.display_name : undefined;
    const localpart = userId.slice(1, userId.indexOf(":"));
    const isNew = (await api.check_user_exists(userId)) === undefined;
    if (isNew) {
      if (settings.lowercase && localpart !== localpart.toLowerCase()) {
        api.log.info(`Not registering ${userId}: names must be in lower case`);
        return false;
      }
      await api.register_user(localpart.toLowerCase(), settings.nameOnRegister ? name : undefined);
    } else if (settings.nameOnLogin && name !== undefined && (await getProfile(context().read, userId))?.displayname !== name) {
      await api.set_displayname(userId, name);
    }
    if (settings.updateThreepids && Array.isArray(profile.three_pids))
      await followThreepids(context(), api, userId, profile.three_pids, settings.replaceThreepids);
    return true;
  };

  api.register_password_auth_provider_callbacks({
    auth_checkers: [
      {
        login_type: "m.login.password",
        fields: ["password"],
        async check_auth(username, _type, { password }) {
          const asked = api.get_qualified_user_id(username);
          const userId = (await api.check_user_exists(asked)) ?? asked;
          return typeof password === "string" && (await check(userId, password)) ? [await canonical(api, userId)] : undefined;
        },
      },
    ],
  });
}

const canonical = async (api: ModuleApi, userId: string): Promise<string> => (await api.check_user_exists(userId)) ?? userId;

/** Adds the addresses that the service names; with `replace` those that it does not name go. */
async function followThreepids(ctx: Context, api: ModuleApi, userId: string, told: readonly Json[], replace: boolean): Promise<void> {
  const wanted = told.flatMap((entry): { medium: string; address: string }[] => {
    const { medium, address } = isJsonObject(entry) ? entry : ({} as JsonObject);
    return typeof medium === "string" && typeof address === "string" ? [{ medium: medium.toLowerCase(), address: address.toLowerCase() }] : [];
  });
  const same = (one: { medium: string; address: string }, other: { medium: string; address: string }): boolean =>
    one.medium === other.medium && one.address === other.address;
  const present = await api.get_threepids_for_user(userId);
  for (const threepid of wanted) {
    if (present.some((other) => same(threepid, other))) continue;
    try {
      await addThreepid(ctx, userId, { ...threepid, validatedAt: api.get_current_time_msec() });
    } catch (error) {
      api.log.warn(`An address that the REST endpoint names could not be added to ${userId}`, { error });
    }
  }
  if (!replace) return;
  for (const { medium, address } of present) if (!wanted.some((other) => same({ medium, address }, other))) await removeThreepid(ctx, userId, medium, address);
}
