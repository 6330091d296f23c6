import { badRequest } from "../../services/admin/targets.ts";
import { endpoint } from "../http/endpoint.ts";
import { requireKeys } from "./body.ts";

const UPDATES = "/_synapse/admin/v1/background_updates";
/** Synapse's name of its one database. */
const DATABASE = "master";

export const updatesEnabled = endpoint({
  servlet: "BackgroundUpdateEnabledRestServlet",
  method: "GET",
  path: `${UPDATES}/enabled`,
  auth: "admin",
  handle: (ctx) => ({ enabled: ctx.backgroundUpdates.isEnabled() }),
});

/** Pauses the updates, or goes on with them. */
export const enableUpdates = endpoint({
  servlet: "BackgroundUpdateEnabledRestServlet",
  method: "POST",
  path: `${UPDATES}/enabled`,
  auth: "admin",
  emptyBody: false,
  handle(ctx, { body }) {
    const { enabled = true } = body;
    if (typeof enabled !== "boolean") throw badRequest("'enabled' parameter must be a boolean");
    ctx.backgroundUpdates.setEnabled(enabled);
    return { enabled };
  },
});

export const updatesStatus = endpoint({
  servlet: "BackgroundUpdateRestServlet",
  method: "GET",
  path: `${UPDATES}/status`,
  auth: "admin",
  handle(ctx) {
    const update = ctx.backgroundUpdates.currentUpdate();
    return {
      enabled: ctx.backgroundUpdates.isEnabled(),
      current_updates:
        update === undefined
          ? {}
          : {
              [DATABASE]: {
                name: update.name,
                total_item_count: update.totalItemCount,
                total_duration_ms: update.totalDurationMs,
                average_items_per_ms: update.averageItemsPerMs ?? null,
              },
            },
    };
  },
});

export const startJob = endpoint({
  servlet: "BackgroundUpdateStartJobRestServlet",
  method: "POST",
  path: `${UPDATES}/start_job`,
  auth: "admin",
  emptyBody: false,
  async handle(ctx, { body }) {
    requireKeys(body, ["job_name"]);
    const name = body.job_name;
    if (typeof name !== "string") throw badRequest("Invalid job_name");
    const { old_key: oldKey, before_ts: beforeTs } = body;
    if (name === "event_resign") {
      if (oldKey !== undefined && oldKey !== null && typeof oldKey !== "string") throw badRequest("'old_key' must be a string");
      if (beforeTs !== undefined && beforeTs !== null && !Number.isInteger(beforeTs)) throw badRequest("'before_ts' must be an integer");
    }
    const outcome = await ctx.backgroundUpdates.startJob(name, name === "event_resign" ? { old_key: oldKey ?? null, before_ts: beforeTs ?? null } : {});
    if (outcome === "unknown") throw badRequest("Invalid job_name");
    if (outcome === "queued before") throw badRequest(`Job ${name} is already in queue of background updates.`);
    return {};
  },
});

export const backgroundUpdateRoutes = [updatesEnabled, enableUpdates, updatesStatus, startJob];
