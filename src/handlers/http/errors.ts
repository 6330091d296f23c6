import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import { DatabaseUnavailable } from "../../storage/database.ts";
import { Reply } from "./reply.ts";

/** The one place where an error becomes an answer. Unknown errors are logged and answered 500 M_UNKNOWN. */
export function errorReply(ctx: Pick<Context, "log">, error: unknown): Reply {
  if (error instanceof MatrixError) return new Reply(error.status, error.body(), error.headers);
  if (error instanceof DatabaseUnavailable) {
    ctx.log.named("synapse.http.server").warn("A request was refused: the database cannot be reached");
    return new Reply(503, { errcode: "M_UNKNOWN", error: "The database cannot be reached; try again" }, { "Retry-After": "2" });
  }
  ctx.log.named("synapse.http.server").error("Failed handle request", { error });
  return new Reply(500, { errcode: "M_UNKNOWN", error: "Internal server error" });
}
