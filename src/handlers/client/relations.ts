import { relatedEvents, roomThreads } from "../../services/relations/relations.ts";
import { endpoint } from "../http/endpoint.ts";
import { parsePagination } from "./room/pagination.ts";

const RELATIONS = "/_matrix/client/(v1|unstable)/rooms/:roomId/relations/:parentId";

/** One endpoint each for what the path leaves out. */
const relationsAt = (suffix: "" | "/:relationType" | "/:relationType/:eventType") =>
  endpoint({
    servlet: "RelationPaginationServlet",
    method: "GET",
    path: `${RELATIONS}${suffix}`,
    auth: "guest",
    async handle(ctx, { requester, params, query, url }) {
      const { roomId, parentId, relationType, eventType } = params as Record<string, string | undefined>;
      const recurse = query.boolean("recurse", false) || query.boolean("org.matrix.msc3981.recurse", false);
      const pagination = parsePagination(query, { limit: 5, backwards: true });
      const request = { roomId: roomId!, parentId: parentId!, relationType, eventType, recurse, withOriginal: url.startsWith("/_matrix/client/unstable/") };
      return await relatedEvents(ctx, requester, request, pagination);
    },
  });

export const getThreads = endpoint({
  servlet: "ThreadsServlet",
  method: "GET",
  path: "/_matrix/client/v1/rooms/:roomId/threads",
  auth: "user",
  async handle(ctx, { requester, params, query }) {
    const limit = Math.min(query.natural("limit", 5), 1000);
    const include = query.oneOf("include", ["all", "participated"], "all");
    const from = query.string("from");
    return await roomThreads(ctx, requester, params.roomId, { participatedOnly: include === "participated", limit, from: from === "" ? undefined : from });
  },
});

export const relationRoutes = [relationsAt(""), relationsAt("/:relationType"), relationsAt("/:relationType/:eventType"), getThreads];
