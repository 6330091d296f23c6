import { MatrixError } from "../../../protocol/errors.ts";
import type { Pagination } from "../../../services/rooms/messages.ts";
import { parseStreamToken, type StreamToken } from "../../../services/streams/token.ts";
import type { Query } from "../../http/query.ts";

const MAX_LIMIT = 1000;

/** `from`, `to`, `dir` and `limit` of the routes that page through events. @throws MatrixError 400 */
export function parsePagination(query: Query, defaults: { limit: number; backwards?: boolean }): Pagination {
  const direction = query.oneOf("dir", ["f", "b"], defaults.backwards ? "b" : "f");
  const from = query.string("from");
  return {
    backwards: direction === "b",
    from: from === "END" ? undefined : parseToken(from, "from"),
    to: parseToken(query.string("to"), "to"),
    limit: Math.min(query.natural("limit", defaults.limit), MAX_LIMIT),
  };
}

/** A stream token from a query parameter; undefined when it is absent or empty. @throws MatrixError 400 */
export function parseToken(text: string | undefined, name: string): StreamToken | undefined {
  if (text === undefined || text === "") return undefined;
  try {
    return parseStreamToken(text);
  } catch {
    throw new MatrixError(400, "M_UNKNOWN", `'${name}' parameter is invalid`);
  }
}
