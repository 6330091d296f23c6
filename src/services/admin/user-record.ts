import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { badJson, missingParam } from "../../protocol/errors.ts";
import type { ExternalId } from "../../storage/accounts/external-ids.ts";
import type { Context } from "../context.ts";
import { badRequest } from "./targets.ts";

/** What an admin says about an account: a field that is absent (undefined) stays as it is, null is a value of its own. */
export interface UserRecord {
  readonly displayname: Json | undefined;
  readonly avatarUrl: Json | undefined;
  readonly threepids: readonly Threepid[] | undefined;
  readonly externalIds: readonly ExternalId[] | undefined;
  readonly userType: string | null | undefined;
  readonly admin: boolean | undefined;
  readonly password: string | undefined;
  readonly logoutDevices: boolean;
  readonly deactivated: boolean | undefined;
  readonly locked: boolean | undefined;
  readonly approved: boolean | undefined;
}

export interface Threepid {
  readonly medium: string;
  readonly address: string;
}

const MAX_PASSWORD = 512;

/** Reads the body of `PUT /v2/users/{id}`; keys that an answer has and a request need not have are passed over. @throws MatrixError 400 */
export function readUserRecord(ctx: Pick<Context, "config">, body: JsonObject): UserRecord {
  const threepids = readPairs(body.threepids, "threepids", ["medium", "address"]);
  const externalIds = readPairs(body.external_ids, "external_ids", ["auth_provider", "external_id"]);
  const userType = body.user_type;
  if (userType !== undefined && userType !== null && (typeof userType !== "string" || !ctx.config.userTypes.allUserTypes.includes(userType)))
    throw badRequest("Invalid user type");
  const { admin, password = null, logout_devices: logoutDevices = true, deactivated, locked, approved } = body;
  if (admin !== undefined && typeof admin !== "boolean") throw badJson("Param 'admin' must be a boolean, if given");
  if (password !== null && (typeof password !== "string" || [...password].length > MAX_PASSWORD)) throw badRequest("Invalid password");
  if (typeof logoutDevices !== "boolean") throw badRequest("'logout_devices' parameter is not of type boolean");
  if (deactivated !== undefined && typeof deactivated !== "boolean") throw badRequest("'deactivated' parameter is not of type boolean");
  if (locked !== undefined && typeof locked !== "boolean") throw badRequest("'locked' parameter is not of type boolean");
  if (deactivated && locked) throw badRequest("An user can't be deactivated and locked");
  const judgesApproval = ctx.config.experimental.msc3866.enabled && approved !== undefined;
  if (judgesApproval && typeof approved !== "boolean") throw badRequest("'approved' parameter is not of type boolean");
  return {
    displayname: body.displayname,
    avatarUrl: body.avatar_url,
    threepids: threepids?.map(([medium, address]) => ({ medium, address })),
    externalIds: externalIds?.map(([authProvider, externalId]) => ({ auth_provider: authProvider, external_id: externalId })),
    userType,
    admin,
    password: password ?? undefined,
    logoutDevices,
    deactivated,
    locked,
    approved: judgesApproval ? (approved as boolean) : undefined,
  };
}

function readPairs(value: Json | undefined, field: string, keys: readonly [string, string]): [string, string][] | undefined {
  if (value === undefined || value === null) return undefined;
  if (!Array.isArray(value)) throw badJson(`'${field}' must be a list`);
  return value.map((entry): [string, string] => {
    if (!isJsonObject(entry)) throw badJson(`Entries of '${field}' must be objects`);
    const missing = keys.filter((key) => entry[key] === undefined);
    if (missing.length > 0) throw missingParam(`Missing params: [${missing.map((key) => `'${key}'`).join(", ")}]`);
    const [first, second] = [entry[keys[0]], entry[keys[1]]];
    if (typeof first !== "string" || typeof second !== "string") throw badJson(`Entries of '${field}' must hold strings`);
    return [first, second];
  });
}
