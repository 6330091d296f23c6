import type { Config } from "../../config/config.ts";
import type { JsonObject } from "../../lib/json.ts";
import { invalidParam, missingParam, missingToken } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import { changeProfile, checkFieldName, getProfile as readProfile, getProfileField as readField } from "../../services/accounts/profile.ts";
import type { Context } from "../../services/context.ts";
import type { Requester } from "../../services/requester.ts";
import { authenticateIfAsked } from "../http/authenticate.ts";
import { endpoint, type Endpoint, type EndpointRequest } from "../http/endpoint.ts";

type FieldRequest = EndpointRequest<Record<string, string>, JsonObject, "none">;

/** Anybody may look, unless `require_auth_for_profile_requests`. */
export const getProfile = endpoint({
  servlet: "ProfileRestServlet",
  method: "GET",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/profile/:userId",
  auth: "none",
  handle: async (ctx, request) => await readProfile(ctx, request.params.userId, await viewer(ctx, request)),
});

/** The fields of a profile: name and avatar under every version, others under v3. */
export const profileFields: readonly Endpoint[] = [
  ...fieldEndpoints("ProfileFieldRestServlet", "/_matrix/client/(api/v1|r0|v3|unstable)/profile/:userId/:fieldName=displayname"),
  ...fieldEndpoints("ProfileFieldRestServlet", "/_matrix/client/(api/v1|r0|v3|unstable)/profile/:userId/:fieldName=avatar_url"),
  ...fieldEndpoints("ProfileFieldRestServlet", "/_matrix/client/v3/profile/:userId/:fieldName"),
  ...fieldEndpoints(
    "UnstableProfileFieldRestServlet",
    "/_matrix/client/unstable/uk.tcpip.msc4133/profile/:userId/:fieldName",
    (config) => config.experimental.msc4133Enabled,
  ),
];

function fieldEndpoints(servlet: string, path: string, when?: (config: Config) => boolean): Endpoint[] {
  const fieldOf = ({ params }: FieldRequest): string => params["fieldName"]!;
  const common = { servlet, path, auth: "none" as const, ...(when === undefined ? {} : { when }) };
  return [
    endpoint({ ...common, method: "GET", handle: async (ctx, request) => await getField(ctx, request as FieldRequest, fieldOf(request as FieldRequest)) }),
    endpoint({ ...common, method: "PUT", handle: async (ctx, request) => await putField(ctx, request as FieldRequest, fieldOf(request as FieldRequest)) }),
    endpoint({
      ...common,
      method: "DELETE",
      bodyType: "none",
      handle: async (ctx, request) => await deleteField(ctx, request as FieldRequest, fieldOf(request as FieldRequest)),
    }),
  ];
}

async function getField(ctx: Context, request: FieldRequest, field: string): Promise<JsonObject> {
  return { [field]: await readField(ctx, request.params["userId"]!, field, await viewer(ctx, request)) };
}

async function putField(ctx: Context, request: FieldRequest, field: string): Promise<JsonObject> {
  const requester = await changer(ctx, request, field);
  const value = Object.hasOwn(request.body, field) ? request.body[field] : undefined;
  if (value === undefined) throw missingParam(`Missing key '${field}'`);
  await change(ctx, request, requester, field, value);
  return {};
}

async function deleteField(ctx: Context, request: FieldRequest, field: string): Promise<JsonObject> {
  const requester = await changer(ctx, request, field);
  await change(ctx, request, requester, field, undefined);
  return {};
}

async function change(ctx: Context, { params, query }: FieldRequest, requester: Requester, field: string, value: JsonObject[string]): Promise<void> {
  const inhibits = ctx.config.experimental.msc4069ProfileInhibitPropagation;
  const propagate = !inhibits || query.boolean("org.matrix.msc4069.propagate", true);
  await changeProfile(ctx, requester, { userId: params["userId"]!, field, value, byAdmin: await ctx.isServerAdmin(requester), propagate });
}

/** Who changes a profile: a guest may set their name. */
async function changer(ctx: Context, request: FieldRequest, field: string): Promise<Requester> {
  if (!isUserId(request.params["userId"])) throw invalidParam("Invalid user id");
  const requester = await authenticated(ctx, request, field === "displayname");
  checkFieldName(field);
  return requester;
}

async function viewer(ctx: Context, request: Pick<FieldRequest, "headers" | "query" | "ip" | "userAgent">): Promise<Requester | undefined> {
  return ctx.config.server.requireAuthForProfileRequests ? await authenticated(ctx, request, false) : undefined;
}

async function authenticated(ctx: Context, request: Pick<FieldRequest, "headers" | "query" | "ip" | "userAgent">, allowGuest: boolean): Promise<Requester> {
  const requester = await authenticateIfAsked(ctx, request, { allowGuest });
  if (requester === undefined) throw missingToken();
  return requester;
}
