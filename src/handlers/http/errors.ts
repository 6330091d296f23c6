import { CanonicalJsonError } from "../../protocol/canonical-json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import { DatabaseUnavailable, isDataException } from "../../storage/database.ts";
import { Reply } from "./reply.ts";

/** One line in the log for each request that is refused, with the reason that the client is told. */
export function noteRefusal(ctx: Pick<Context, "log">, { status, errcode, message, cause }: MatrixError): void {
  const log = ctx.log.named("synapse.http.server");
  const level = cause === undefined ? "info" : "warn";
  if (!log.enabled(level)) return;
  // What clients send stands in some reasons: it must not make lines of its own.
  const text = `Refused: ${status} ${errcode} ${message.replace(/\p{Cc}+/gu, " ").slice(0, MAX_REASON)}`;
  log[level](text, cause === undefined ? undefined : { error: cause });
}

const MAX_REASON = 300;

/** The one place where an error becomes an answer. Unknown errors are logged and answered 500 M_UNKNOWN. */
export function errorReply(ctx: Pick<Context, "log">, error: unknown): Reply {
  if (error instanceof MatrixError) {
    noteRefusal(ctx, error);
    return new Reply(error.status, error.body(), error.headers);
  }
  if (error instanceof DatabaseUnavailable) {
    ctx.log.named("synapse.http.server").warn("A request was refused: the database cannot be reached");
    return new Reply(503, { errcode: "M_UNKNOWN", error: "The database cannot be reached; try again" }, { "Retry-After": "2" });
  }
  // What Matrix cannot sign, such as a lone surrogate in a text: no event can be made of the request.
  if (error instanceof CanonicalJsonError) return new Reply(400, { errcode: "M_BAD_JSON", error: error.message });
  if (isDataException(error)) {
    // A value that no column can hold, such as a string with U+0000: the request is at fault.
    ctx.log.named("synapse.http.server").warn("A request held a value that the database cannot store", { error });
    return new Reply(400, { errcode: "M_INVALID_PARAM", error: "A value in the request is out of range or holds characters that are not allowed" });
  }
  ctx.log.named("synapse.http.server").error("Failed handle request", { error });
  return new Reply(500, { errcode: "M_UNKNOWN", error: "Internal server error" });
}
