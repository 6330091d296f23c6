import type { IncomingMessage } from "node:http";
import { MatrixError } from "../../protocol/errors.ts";
import { createMedia, type Upload, uploadMedia, uploadReservedMedia } from "../../services/media/media.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";

export const createMediaId = endpoint({
  servlet: "CreateResource",
  method: "POST",
  path: "/_matrix/media/v1/create",
  auth: "user",
  bodyType: "none",
  limit: "mediaCreate",
  when: (config) => config.media.canLoadMediaRepo,
  async handle(ctx, { requester }) {
    await ctx.limits.check("mediaCreate", requester.userId, { requester });
    const { contentUri, unusedExpiresAt } = await createMedia(ctx, requester.userId);
    return { content_uri: contentUri, unused_expires_at: unusedExpiresAt };
  },
});

export const upload = endpoint({
  servlet: "UploadServlet",
  method: "POST",
  path: "/_matrix/media/(r0|v3|v1)/upload",
  auth: "user",
  bodyType: "none",
  when: (config) => config.media.canLoadMediaRepo,
  handle: async (ctx, { requester, query, raw }) => ({ content_uri: await uploadMedia(ctx, requester.userId, readUpload(raw.req, query)) }),
});

export const asyncUpload = endpoint({
  servlet: "AsyncUploadServlet",
  method: "PUT",
  path: "/_matrix/media/v3/upload/:serverName/:mediaId",
  auth: "user",
  bodyType: "none",
  when: (config) => config.media.canLoadMediaRepo,
  async handle(ctx, { requester, params, query, raw }) {
    if (params.serverName !== ctx.config.server.serverName) throw new MatrixError(404, "M_NOT_FOUND", "Non-local server name specified");
    await uploadReservedMedia(ctx, requester.userId, params.mediaId, () => readUpload(raw.req, query));
    return {};
  },
});

function readUpload(req: IncomingMessage, query: Query): Upload {
  const length = req.headers["content-length"];
  if (length === undefined) throw new MatrixError(400, "M_UNKNOWN", "Request must specify a Content-Length");
  if (!/^\d{1,15}$/.test(length)) throw new MatrixError(400, "M_UNKNOWN", "Content-Length value is invalid");
  return {
    content: req,
    length: Number(length),
    mediaType: req.headers["content-type"] ?? "application/octet-stream",
    uploadName: query.string("filename") || undefined,
  };
}

export const uploadRoutes = [createMediaId, upload, asyncUpload];
