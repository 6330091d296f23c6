import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { badJson } from "../../protocol/errors.ts";
import { badRequest, localAccount } from "../../services/admin/targets.ts";
import type { Context } from "../../services/context.ts";
import { endpoint } from "../http/endpoint.ts";
import { requireKeys } from "./body.ts";

const PATH = "/_synapse/admin/v1/send_server_notice";

async function send(ctx: Context, body: JsonObject): Promise<{ event_id: string }> {
  requireKeys(body, ["user_id", "content"]);
  const { user_id: userId, content, type = "m.room.message" } = body;
  const stateKey = body.state_key ?? undefined;
  if (!ctx.serverNotices.isEnabled()) throw badRequest("Server notices are not enabled on this server");
  if (typeof userId !== "string") throw badRequest("user_id must be a string");
  const { name } = await localAccount(ctx, userId, "Server notices can only be sent to local users");
  if (!isJsonObject(content)) throw badJson("content must be an object");
  if (typeof type !== "string" || (stateKey !== undefined && typeof stateKey !== "string")) throw badJson("type and state_key must be strings");
  return { event_id: await ctx.serverNotices.send(name, { type, stateKey, content }) };
}

export const sendNotice = endpoint({
  servlet: "SendServerNoticeServlet",
  method: "POST",
  path: PATH,
  auth: "admin",
  emptyBody: false,
  lossless: true,
  handle: (ctx, { body }) => send(ctx, body),
});

/** The same transaction id gets the same answer. */
export const putNotice = endpoint({
  servlet: "SendServerNoticeServlet",
  method: "PUT",
  path: `${PATH}/:txnId`,
  auth: "admin",
  lossless: true,
  handle: (ctx, { requester, params, body }) => ctx.requestTransactions.once(requester, `${PATH}/${params.txnId}`, () => send(ctx, body)),
});
