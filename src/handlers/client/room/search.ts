import { search } from "../../../services/rooms/search.ts";
import { endpoint } from "../../http/endpoint.ts";

export const postSearch = endpoint({
  servlet: "SearchRestServlet",
  method: "POST",
  path: "/_matrix/client/(api/v1|r0|v3|unstable)/search",
  auth: "user",
  handle: (ctx, { requester, query, body }) => search(ctx, requester, body, query.string("next_batch")),
});

export const searchRoutes = [postSearch];
