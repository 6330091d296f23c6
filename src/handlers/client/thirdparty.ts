import { MatrixError } from "../../protocol/errors.ts";
import { endpoint } from "../http/endpoint.ts";

/** Third-party networks behind bridges (client-server API, "Third-party Networks"). */
const THIRD_PARTY = "/_matrix/client/(r0|v3|unstable)/thirdparty";

export const getProtocols = endpoint({
  servlet: "ThirdPartyProtocolsServlet",
  method: "GET",
  path: `${THIRD_PARTY}/protocols`,
  auth: "guest",
  handle: async (ctx) => ({ ...(await ctx.appserviceSender.queries.thirdPartyProtocols()) }),
});

export const getProtocol = endpoint({
  servlet: "ThirdPartyProtocolServlet",
  method: "GET",
  path: `${THIRD_PARTY}/protocol/:protocol`,
  auth: "guest",
  async handle(ctx, { params }) {
    const protocol = (await ctx.appserviceSender.queries.thirdPartyProtocols(params.protocol))[params.protocol];
    if (protocol === undefined) throw new MatrixError(404, "M_NOT_FOUND", "Unknown protocol");
    return protocol;
  },
});

const lookup = (kind: "user" | "location", servlet: string) => {
  const fieldsOf = (url: string): [string, string][] => [...new URL(url, "http://localhost").searchParams].filter(([name]) => name !== "access_token");
  return [
    endpoint({
      servlet,
      method: "GET",
      path: `${THIRD_PARTY}/${kind}/:protocol`,
      auth: "guest",
      handle: (ctx, { params, url }) => ctx.appserviceSender.queries.thirdParty(kind, params.protocol, fieldsOf(url)),
    }),
    // Nobody speaks no protocol: as Synapse, the answer is empty.
    endpoint({ servlet, method: "GET", path: `${THIRD_PARTY}/${kind}`, auth: "guest", handle: () => [] }),
  ];
};

export const thirdPartyRoutes = [getProtocols, getProtocol, ...lookup("user", "ThirdPartyUserServlet"), ...lookup("location", "ThirdPartyLocationServlet")];
