import { notFound } from "../protocol/errors.ts";
import { parseServerName } from "../protocol/ids.ts";
import { clientWellKnown } from "../services/well-known.ts";
import { endpoint } from "./http/endpoint.ts";
import { RawReply } from "./http/reply.ts";

/** Where clients find this server (client-server API, "Well-known URI"). */
export const wellKnownClient = endpoint({
  servlet: "ClientWellKnownResource",
  method: "GET",
  path: "/.well-known/matrix/client",
  auth: "none",
  async handle(ctx) {
    const document = await clientWellKnown(ctx);
    if (document === undefined) throw notFound(".well-known not available");
    return document;
  },
});

/** Where servers find this server: on port 443, unless the server name has a port (server-server API, "Server discovery"). */
export const wellKnownServer = endpoint({
  servlet: "ServerWellKnownResource",
  method: "GET",
  path: "/.well-known/matrix/server",
  auth: "none",
  handle(ctx) {
    const { serverName, serveServerWellknown } = ctx.config.server;
    if (!serveServerWellknown) return new RawReply(404, "text/plain", "There is no such document on this server\n");
    const address = parseServerName(serverName)!;
    const host = address.ipv6 ? `[${address.host}]` : address.host;
    return { "m.server": `${host}:${address.port ?? 443}` };
  },
});

/** Whom to turn to about this server (client-server API, "Well-known URI"), where the admin says so; Synapse leaves it to other web servers. */
const wellKnownSupport = endpoint({
  servlet: "SupportWellKnownResource",
  method: "GET",
  path: "/.well-known/matrix/support",
  auth: "none",
  when: ({ myelin }) => myelin.wellKnownSupport !== undefined,
  handle: (ctx) => ctx.config.myelin.wellKnownSupport!,
});

export const wellKnownRoutes = [wellKnownClient, wellKnownServer, wellKnownSupport];
