import { Reply } from "../http/reply.ts";
import { federationEndpoint } from "./endpoint.ts";

export const sendTransaction = federationEndpoint({
  servlet: "FederationSendServlet",
  method: "PUT",
  path: ["/_matrix/federation/v1/send/:transactionId", "/_matrix/federation/v1/send/:transactionId/"],
  unlimited: true,
  async handle(ctx, { origin, params, body }) {
    const { pdus, edus } = body;
    ctx.metrics.transactionReceived(origin, Array.isArray(pdus) ? pdus.length : 0, Array.isArray(edus) ? edus.length : 0);
    const { status, body: answer } = await ctx.inbound.transactions.receive(origin, params.transactionId, body);
    return new Reply(status, answer);
  },
});

export const transactionRoutes = [sendTransaction];
