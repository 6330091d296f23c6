import { VERSION } from "../../lib/version.ts";
import { endpoint } from "../http/endpoint.ts";

/** The Synapse whose database and admin API these are; programs that adapt to it read the number in front. */
export const SYNAPSE_VERSION = "1.160.0";

export const serverVersion = endpoint({
  servlet: "VersionServlet",
  method: "GET",
  path: "/_synapse/admin/v1/server_version",
  auth: "none",
  handle: () => ({ server_version: `${SYNAPSE_VERSION} (Myelin ${VERSION})` }),
});
