import { JsonText } from "../../lib/json.ts";
import { forbidden, invalidParam, MatrixError, notFound } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import { createFilter } from "../../services/account-data/filters.ts";
import { filterJson } from "../../storage/accounts/filters.ts";
import { endpoint } from "../http/endpoint.ts";

export const getFilter = endpoint({
  servlet: "GetFilterRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/user/:userId/filter/:filterId",
  auth: "user",
  async handle(ctx, { requester, params }) {
    if (!isUserId(params.userId)) throw invalidParam("Expected UserID string to start with '@'");
    if (params.userId !== requester.userId) throw forbidden("Cannot get filters for other users");
    if (!/^-?\d{1,15}$/.test(params.filterId)) throw new MatrixError(400, "M_UNKNOWN", "Invalid filter_id");
    const filter = await filterJson(ctx.read, params.userId, Number(params.filterId));
    if (filter === undefined) throw notFound("No such filter");
    return new JsonText(filter);
  },
});

export const postFilter = endpoint({
  servlet: "CreateFilterRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/user/:userId/filter",
  auth: "user",
  emptyBody: false,
  lossless: true,
  async handle(ctx, { requester, params, body }) {
    if (!isUserId(params.userId)) throw invalidParam("Expected UserID string to start with '@'");
    if (params.userId !== requester.userId) throw forbidden("Cannot create filters for other users");
    return { filter_id: String(await createFilter(ctx, params.userId, body)) };
  },
});

export const filterRoutes = [getFilter, postFilter];
