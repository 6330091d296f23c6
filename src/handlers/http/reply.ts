import type { Readable } from "node:stream";
import { JsonText } from "../../lib/json.ts";

/** What an endpoint may return beside a plain JSON value (status 200). */
export class Reply {
  constructor(
    readonly status: number,
    /** A JSON value, or undefined for an empty body. */
    readonly body: unknown,
    readonly headers: Readonly<Record<string, string | string[]>> = {},
  ) {}
}

/** Bytes or text that are no JSON: HTML pages, Prometheus text, thumbnails. */
export class RawReply {
  constructor(
    readonly status: number,
    readonly contentType: string,
    readonly body: string | Buffer | Readable,
    readonly headers: Readonly<Record<string, string | string[]>> = {},
  ) {}
}

export const html = (status: number, page: string, headers: Readonly<Record<string, string | string[]>> = {}): RawReply =>
  new RawReply(status, "text/html; charset=utf-8", page, {
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none';",
    ...headers,
  });

export const redirect = (location: string, headers: Record<string, string | string[]> = {}): Reply =>
  new Reply(302, undefined, { Location: location, ...headers });

export { JsonText };
