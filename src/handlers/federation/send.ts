import { Reply } from "../http/reply.ts";
import { federationEndpoint } from "./endpoint.ts";

export const sendTransaction = federationEndpoint({
  servlet: "FederationSendServlet",
  method: "PUT",
  path: ["/_matrix/federation/v1/send/:transactionId", "/_matrix/federation/v1/send/:transactionId/"],
  unlimited: true,
  async handle(ctx, { origin, params, body }) {
    const { status, body: answer } = await ctx.inbound.transactions.receive(origin, params.transactionId, body);
    return new Reply(status, answer);
  },
});

export const transactionRoutes = [sendTransaction];
