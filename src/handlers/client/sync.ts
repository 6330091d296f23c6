import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { compileSyncFilter, type SyncFilter } from "../../protocol/sync-filter.ts";
import { checkFilter, limitTimeline, storedFilter } from "../../services/account-data/filters.ts";
import { checkBlocking } from "../../services/accounts/blocking.ts";
import type { Context } from "../../services/context.ts";
import { parseStreamToken } from "../../services/streams/token.ts";
import { sync } from "../../services/sync/sync.ts";
import type { SyncRequest } from "../../services/sync/types.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";

const PRESENCE = ["online", "offline", "unavailable"] as const;

export const getSync = endpoint({
  servlet: "SyncRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/sync",
  auth: "guest",
  async handle(ctx, { requester, query, signal }) {
    if (query.has("from")) throw new MatrixError(400, "M_UNKNOWN", "'from' is not a valid query parameter. Did you mean 'since'?");
    if (requester.appserviceId !== undefined && requester.deviceId === undefined)
      throw new MatrixError(400, "M_UNKNOWN", "Application services may not sync without a device");
    const timeout = query.integer("timeout", 0);
    const since = query.string("since");
    const setPresence = query.oneOf("set_presence", PRESENCE, "online");
    const fullState = query.boolean("full_state", false);
    const filter = await readFilter(ctx, requester.userId, query.string("filter"));
    const request = {
      requester,
      userId: requester.userId,
      deviceId: requester.deviceId,
      since: since === undefined ? undefined : parseStreamToken(since),
      fullState,
      filter,
      stateAfter: await stateAfterKey(ctx, requester.userId, query),
    };
    await ctx.serverNotices.userActive(requester.userId);
    const allowed = await ctx.limits.check("presencePerUser", requester.userId, { requester }).then(
      () => true,
      () => false,
    );
    const endSync = await ctx.presence.beginSync(requester.userId, requester.deviceId, allowed ? setPresence : "offline");
    try {
      await checkBlocking(ctx, { requester });
      return await sync(ctx, request, timeout, signal);
    } finally {
      endSync();
    }
  },
});

/** Where the state at the end of the timeline goes, if it is asked for: by the specification's name, or by that of MSC4222 where it is on for the user. */
async function stateAfterKey(ctx: Pick<Context, "features">, userId: string, query: Query): Promise<SyncRequest["stateAfter"]> {
  if (query.boolean("use_state_after", false)) return "state_after";
  const unstable = query.boolean("org.matrix.msc4222.use_state_after", false) && (await ctx.features.has(userId, "msc4222"));
  return unstable ? "org.matrix.msc4222.state_after" : undefined;
}

/** A stored filter by its id, one given as JSON, or none. */
async function readFilter(ctx: Context, userId: string, text: string | undefined): Promise<SyncFilter> {
  const limit = ctx.config.server.filterTimelineLimit;
  let definition: JsonObject = {};
  if (text?.startsWith("{")) {
    definition = parseFilter(text);
    limitTimeline(definition, limit);
    checkFilter(definition);
  } else if (text !== undefined) {
    const stored = /^\d{1,15}$/.test(text) ? await storedFilter(ctx, userId, Number(text)) : undefined;
    if (stored === undefined) throw invalidParam("No such filter");
    definition = stored;
  }
  const { msc3773Enabled, msc3874Enabled } = ctx.config.experimental;
  return compileSyncFilter(definition, limit, { msc3773: msc3773Enabled, msc3874: msc3874Enabled });
}

function parseFilter(text: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (isJsonObject(value)) return value;
  } catch {
    // said below
  }
  throw new MatrixError(400, "M_NOT_JSON", "Invalid filter JSON");
}

export const syncRoutes = [getSync];
