import type { Config } from "../../config/config.ts";
import { invalidParam, missingParam, notFound } from "../../protocol/errors.ts";
import {
  deleteLocalMedia,
  deleteOldLocalMedia,
  deleteOldRemoteMedia,
  mediaOfRoom,
  quarantine,
  quarantineOfRoom,
  quarantineOfUser,
} from "../../services/admin/media.ts";
import { badRequest, localAccount } from "../../services/admin/targets.ts";
import type { Context } from "../../services/context.ts";
import { MEDIA_ORDERS, mediaOfUser } from "../../storage/media/lists.ts";
import { localMedia } from "../../storage/media/local-media.ts";
import { quarantineChanges as readChanges, setSafeFromQuarantine } from "../../storage/media/quarantine.ts";
import { remoteMedia } from "../../storage/media/remote-media.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";
import { noRow } from "./body.ts";
import { nextToken, parseDescending, parsePage } from "./paging.ts";

const ADMIN = "/_synapse/admin/v1";
/** Earlier times are taken for seconds. */
const EARLIEST_MS = 30_000_000_000;
const CHANGES_AT_ONCE = 100;
const when = (config: Config): boolean => config.media.canLoadMediaRepo;
const originOf = (ctx: Pick<Context, "config">, serverName: string): string | undefined =>
  serverName === ctx.config.server.serverName ? undefined : serverName;

export const getMedia = endpoint({
  servlet: "QueryMediaById",
  method: "GET",
  path: `${ADMIN}/media/:serverName/:mediaId`,
  auth: "admin",
  when,
  async handle(ctx, { params: { serverName, mediaId } }) {
    const origin = originOf(ctx, serverName);
    if (origin === undefined) {
      const media = await localMedia(ctx.read, mediaId);
      if (media === undefined) throw notFound("Unknown media");
      return { media_info: { media_origin: null, filesystem_id: null, ...media } };
    }
    const media = await remoteMedia(ctx.read, origin, mediaId);
    if (media === undefined) throw notFound("Unknown media");
    return { media_info: { user_id: null, url_cache: null, safe_from_quarantine: null, ...media } };
  },
});

export const quarantineRoom = endpoint({
  servlet: "QuarantineMediaInRoom",
  method: "POST",
  path: [`${ADMIN}/room/:roomId/media/quarantine`, `${ADMIN}/quarantine_media/:roomId`],
  auth: "admin",
  bodyType: "none",
  when,
  handle: async (ctx, { params, requester }) => ({ num_quarantined: await quarantineOfRoom(ctx, params.roomId, requester.userId) }),
});

export const quarantineUser = endpoint({
  servlet: "QuarantineMediaByUser",
  method: "POST",
  path: `${ADMIN}/user/:userId/media/quarantine`,
  auth: "admin",
  bodyType: "none",
  when,
  handle: async (ctx, { params, requester }) => ({ num_quarantined: await quarantineOfUser(ctx, params.userId, requester.userId) }),
});

export const quarantineMedia = endpoint({
  servlet: "QuarantineMediaByID",
  method: "POST",
  path: `${ADMIN}/media/quarantine/:serverName/:mediaId`,
  auth: "admin",
  bodyType: "none",
  when,
  async handle(ctx, { params, requester }) {
    await quarantine(ctx, [{ origin: originOf(ctx, params.serverName), mediaId: params.mediaId }], requester.userId);
    return {};
  },
});

export const unquarantineMedia = endpoint({
  servlet: "UnquarantineMediaByID",
  method: "POST",
  path: `${ADMIN}/media/unquarantine/:serverName/:mediaId`,
  auth: "admin",
  bodyType: "none",
  when,
  async handle(ctx, { params }) {
    await quarantine(ctx, [{ origin: originOf(ctx, params.serverName), mediaId: params.mediaId }], null);
    return {};
  },
});

export const quarantineChanges = endpoint({
  servlet: "ListQuarantineChanges",
  method: "GET",
  path: `${ADMIN}/media/quarantine_changes`,
  auth: "admin",
  when,
  async handle(ctx, { query }) {
    const after = query.natural("from", 0);
    const upTo = ctx.streams.quarantinedMedia.currentToken();
    if (after > upTo) throw invalidParam("The `from` token is ahead of what there is: no answer of this server held it.");
    const changes = await readChanges(ctx.read, after, upTo, CHANGES_AT_ONCE);
    return {
      next_batch: changes.at(-1)?.stream_id ?? upTo,
      changes: changes.map(({ origin, media_id, quarantined }) => ({ origin: origin ?? ctx.config.server.serverName, media_id, quarantined })),
    };
  },
});

const protection = (servlet: string, action: "protect" | "unprotect") =>
  endpoint({
    servlet,
    method: "POST",
    path: `${ADMIN}/media/${action}/:mediaId`,
    auth: "admin",
    bodyType: "none",
    when,
    async handle(ctx, { params }) {
      const found = await ctx.transaction("mark_local_media_as_safe", (txn) => setSafeFromQuarantine(txn, params.mediaId, action === "protect"));
      if (!found) throw noRow("local_media_repository");
      return {};
    },
  });

export const roomMedia = endpoint({
  servlet: "ListMediaInRoom",
  method: "GET",
  path: `${ADMIN}/room/:roomId/media`,
  auth: "admin",
  async handle(ctx, { params }) {
    const media = await mediaOfRoom(ctx, params.roomId);
    const mxc = (origin: string, mediaId: string): string => `mxc://${origin}/${mediaId}`;
    return {
      local: media.filter((one) => one.origin === undefined).map((one) => mxc(ctx.config.server.serverName, one.mediaId)),
      remote: media.flatMap((one) => (one.origin === undefined ? [] : [mxc(one.origin, one.mediaId)])),
    };
  },
});

function beforeTs(query: Query): number {
  const before = query.natural("before_ts");
  if (before === undefined) throw missingParam("Missing required integer query parameter before_ts");
  if (before < EARLIEST_MS)
    throw invalidParam("Query parameter before_ts you provided is from the year 1970. Double check that you are providing a timestamp in milliseconds.");
  return before;
}

/** Deletes copies of remote media that were not used since a time. */
export const purgeCache = endpoint({
  servlet: "PurgeMediaCacheRestServlet",
  method: "POST",
  path: `${ADMIN}/purge_media_cache`,
  auth: "admin",
  bodyType: "none",
  when,
  handle: async (ctx, { query }) => ({ deleted: await deleteOldRemoteMedia(ctx, beforeTs(query)) }),
});

export const deleteMedia = endpoint({
  servlet: "DeleteMediaByID",
  method: "DELETE",
  path: `${ADMIN}/media/:serverName/:mediaId`,
  auth: "admin",
  bodyType: "none",
  when,
  async handle(ctx, { params }) {
    if (originOf(ctx, params.serverName) !== undefined) throw badRequest("Can only delete local media");
    if ((await localMedia(ctx.read, params.mediaId)) === undefined) throw notFound("Unknown media");
    return deleted(await deleteLocalMedia(ctx, [params.mediaId]));
  },
});

/** Deletes local media by age and size. */
export const deleteOldMedia = endpoint({
  servlet: "DeleteMediaByDateSize",
  method: "POST",
  path: [`${ADMIN}/media/delete`, `${ADMIN}/media/:serverName/delete`],
  auth: "admin",
  bodyType: "none",
  when,
  async handle(ctx, { params, query }) {
    const before = beforeTs(query);
    const largerThan = query.natural("size_gt", 0);
    const keepProfiles = query.boolean("keep_profiles", true);
    const { serverName } = params as { readonly serverName?: string };
    if (serverName !== undefined && originOf(ctx, serverName) !== undefined) throw badRequest("Can only delete local media");
    return deleted(await deleteOldLocalMedia(ctx, { before, largerThan, keepProfiles }));
  },
});

const deleted = (ids: readonly string[]): unknown => ({ deleted_media: ids, total: ids.length });

async function userMedia(ctx: Context, userId: string, query: Query) {
  await localAccount(ctx, userId, "Can only look up local users", "Unknown user");
  const page = parsePage(query);
  const unordered = !query.has("order_by") && !query.has("dir");
  const order = { by: query.oneOf("order_by", MEDIA_ORDERS, "created_ts"), descending: parseDescending(query, unordered ? "b" : "f") };
  return { page, ...(await mediaOfUser(ctx.read, userId, order, page)) };
}

export const listUserMedia = endpoint({
  servlet: "UserMediaRestServlet",
  method: "GET",
  path: `${ADMIN}/users/:userId/media`,
  auth: "admin",
  when,
  async handle(ctx, { params, query }) {
    const { page, rows, total } = await userMedia(ctx, params.userId, query);
    return { media: rows, total, next_token: nextToken(page, rows.length, total) };
  },
});

/** Deletes a page of what a user uploaded, the hundred newest unless told otherwise. */
export const deleteUserMedia = endpoint({
  servlet: "UserMediaRestServlet",
  method: "DELETE",
  path: `${ADMIN}/users/:userId/media`,
  auth: "admin",
  bodyType: "none",
  when,
  async handle(ctx, { params, query }) {
    const { rows } = await userMedia(ctx, params.userId, query);
    return deleted(
      await deleteLocalMedia(
        ctx,
        rows.map((row) => row.media_id),
      ),
    );
  },
});

export const mediaRoutes = [
  getMedia,
  quarantineRoom,
  quarantineUser,
  quarantineMedia,
  unquarantineMedia,
  quarantineChanges,
  protection("ProtectMediaByID", "protect"),
  protection("UnprotectMediaByID", "unprotect"),
  roomMedia,
  purgeCache,
  deleteMedia,
  deleteOldMedia,
  listUserMedia,
  deleteUserMedia,
];
