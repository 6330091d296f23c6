import { isJsonObject } from "../../lib/json.ts";
import { notFound } from "../../protocol/errors.ts";
import { badRequest, checkLocalUser } from "../../services/admin/targets.ts";
import { USER_FEATURES } from "../../services/accounts/experimental-features.ts";
import { setFeatures } from "../../storage/accounts/experimental-features.ts";
import { endpoint } from "../http/endpoint.ts";
import { isTruthy } from "./body.ts";

const PATH = "/_synapse/admin/v1/experimental_features/:userId";
const FEATURES: readonly string[] = USER_FEATURES;

export const getFeatures = endpoint({
  servlet: "ExperimentalFeaturesRestServlet",
  method: "GET",
  path: PATH,
  auth: "admin",
  async handle(ctx, { params }) {
    checkLocalUser(ctx, params.userId, "User must be local to check what experimental features are enabled.");
    const enabled = await ctx.features.ofUser(params.userId);
    return { features: Object.fromEntries(USER_FEATURES.map((feature) => [feature, enabled.has(feature)])) };
  },
});

export const putFeatures = endpoint({
  servlet: "ExperimentalFeaturesRestServlet",
  method: "PUT",
  path: PATH,
  auth: "admin",
  async handle(ctx, { params, body }) {
    checkLocalUser(ctx, params.userId, "User must be local to enable experimental features.");
    const { features } = body;
    if (!isTruthy(features) || !isJsonObject(features)) throw badRequest("You must provide features to set.");
    const changes: Record<string, boolean> = {};
    for (const [feature, enabled] of Object.entries(features)) {
      if (!FEATURES.includes(feature)) throw badRequest(`'${feature}' is not recognised as a valid experimental feature.`);
      if (typeof enabled !== "boolean") throw badRequest(`'${feature}' must be true or false`);
      changes[feature] = enabled;
    }
    if ((await ctx.accounts.user(params.userId)) === undefined) throw notFound("User not found");
    await ctx.transaction("set_features_for_user", async (txn) => {
      await setFeatures(txn, params.userId, changes);
      txn.afterCommit(() => ctx.features.forget(params.userId));
    });
    return {};
  },
});
