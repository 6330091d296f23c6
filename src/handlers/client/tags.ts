import { forbidden, invalidParam } from "../../protocol/errors.ts";
import { addTag, removeTag } from "../../services/account-data/account-data.ts";
import type { Requester } from "../../services/requester.ts";
import { roomTags } from "../../storage/accounts/tags.ts";
import { endpoint } from "../http/endpoint.ts";

const MAX_TAG_BYTES = 255;

function checkSelf(requester: Requester, userId: string, verb: string): void {
  if (requester.userId !== userId) throw forbidden(`Cannot ${verb} tags for other users.`);
}

export const listTags = endpoint({
  servlet: "TagListServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/user/:userId/rooms/:roomId/tags",
  auth: "user",
  async handle(ctx, { requester, params }) {
    checkSelf(requester, params.userId, "get");
    const tags = await roomTags(ctx.read, params.userId, [params.roomId]);
    return { tags: tags.get(params.roomId) ?? {} };
  },
});

export const putTag = endpoint({
  servlet: "TagServlet",
  method: "PUT",
  path: "/_matrix/client/(r0|v3|unstable)/user/:userId/rooms/:roomId/tags/:tag",
  auth: "user",
  lossless: true,
  async handle(ctx, { requester, params, body }) {
    checkSelf(requester, params.userId, "add");
    if (Buffer.byteLength(params.tag, "utf8") > MAX_TAG_BYTES) throw invalidParam("tag parameter's length is over 255 bytes");
    // Any membership will do: one may tag a room that one is invited to or has left.
    if (!(await ctx.members.roomsOf(requester.userId)).has(params.roomId))
      throw forbidden(`User ${requester.userId} has no membership in room ${params.roomId}`);
    await addTag(ctx, params.userId, params.roomId, params.tag, body);
    return {};
  },
});

export const deleteTag = endpoint({
  servlet: "TagServlet",
  method: "DELETE",
  path: "/_matrix/client/(r0|v3|unstable)/user/:userId/rooms/:roomId/tags/:tag",
  auth: "user",
  bodyType: "none",
  async handle(ctx, { requester, params }) {
    checkSelf(requester, params.userId, "add");
    await removeTag(ctx, params.userId, params.roomId, params.tag);
    return {};
  },
});

export const tagRoutes = [listTags, putTag, deleteTag];
