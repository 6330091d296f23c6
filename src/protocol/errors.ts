/**
 * An error that a client or a server receives: `{"errcode", "error", ...extra}` with an HTTP status.
 * Thrown by handlers and services; turned into JSON by `handlers/http/errors.ts` alone. (Client-server API, "Standard error response".)
 */
export class MatrixError extends Error {
  constructor(
    readonly status: number,
    readonly errcode: string,
    message: string,
    /** Further keys of the body, such as `retry_after_ms` or `soft_logout`. */
    readonly extra: Readonly<Record<string, unknown>> = {},
    /** Further response headers, such as `Retry-After`. */
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = "MatrixError";
  }

  body(): Record<string, unknown> {
    return { errcode: this.errcode, error: this.message, ...this.extra };
  }
}

export const forbidden = (message: string, extra?: Record<string, unknown>): MatrixError => new MatrixError(403, "M_FORBIDDEN", message, extra);
export const notFound = (message = "Not found"): MatrixError => new MatrixError(404, "M_NOT_FOUND", message);
/** Of a request without an access token. */
export const missingToken = (): MatrixError => new MatrixError(401, "M_MISSING_TOKEN", "Missing access token");
export const invalidParam = (message: string): MatrixError => new MatrixError(400, "M_INVALID_PARAM", message);
export const missingParam = (message: string): MatrixError => new MatrixError(400, "M_MISSING_PARAM", message);
export const badJson = (message: string): MatrixError => new MatrixError(400, "M_BAD_JSON", message);
export const unrecognized = (status: 404 | 405 = 404): MatrixError => new MatrixError(status, "M_UNRECOGNIZED", "Unrecognized request");

/** 429 M_LIMIT_EXCEEDED: the wait in milliseconds in the body, in seconds in `Retry-After`, and the name of the limit. */
export function limitExceeded(retryAfterMs: number, limit: string): MatrixError {
  return new MatrixError(
    429,
    "M_LIMIT_EXCEEDED",
    "Too Many Requests",
    { retry_after_ms: retryAfterMs, "org.myelin.limit": limit },
    { "Retry-After": String(Math.ceil(retryAfterMs / 1000)) },
  );
}
