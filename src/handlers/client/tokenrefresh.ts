import { MatrixError } from "../../protocol/errors.ts";
import { endpoint } from "../http/endpoint.ts";

/** A route from before refresh tokens; its answer tells clients to log in again. */
export const tokenRefresh = endpoint({
  servlet: "TokenRefreshRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/tokenrefresh",
  auth: "none",
  bodyType: "none",
  handle() {
    throw new MatrixError(403, "M_FORBIDDEN", "tokenrefresh is no longer supported.");
  },
});

export const tokenRefreshRoutes = [tokenRefresh];
