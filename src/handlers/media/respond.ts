import type { Readable } from "node:stream";
import { RawReply } from "../http/reply.ts";

/** Types that a browser may show in place: none of them runs scripts in our name. */
const INLINE = new Set(
  "text/css text/plain text/csv application/json application/ld+json image/jpeg image/gif image/png image/apng image/webp image/avif video/mp4 video/webm video/ogg video/quicktime audio/mp4 audio/webm audio/aac audio/mpeg audio/ogg audio/wave audio/wav audio/x-wav audio/x-pn-wav audio/flac audio/x-flac".split(
    " ",
  ),
);
const TEXT = new Set(
  "text/css text/csv text/html text/calendar text/plain text/javascript application/json application/ld+json application/rtf image/svg+xml text/xml".split(" "),
);

const CSP = "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src 'unsafe-inline'; media-src 'self'; object-src 'self';";

/** Media never changes under its id. */
const ETAG = "1";

/** Headers of every answer that carries media (client-server API, "Serving inline content"). */
export function mediaHeaders(mediaType: string, length: number | undefined, uploadName: string | undefined): Record<string, string> {
  return {
    "Content-Disposition": contentDisposition(mediaType, uploadName),
    "Content-Security-Policy": CSP,
    "X-Content-Security-Policy": "sandbox;",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive, noimageindex",
    "Cache-Control": "public,max-age=86400,s-maxage=0,proxy-revalidate",
    ETag: ETAG,
    ...(length === undefined ? {} : { "Content-Length": String(length) }),
  };
}

/** The answer for a file. */
export function mediaReply(file: { mediaType: string; length: number | undefined; uploadName: string | undefined; content: Readable | Buffer }): RawReply {
  const type = headerSafe(file.mediaType) ? file.mediaType : "application/octet-stream";
  const contentType = TEXT.has(type.toLowerCase()) ? `${type}; charset=UTF-8` : type;
  // What is at hand is what is sent, whatever the database says of its length.
  const length = Buffer.isBuffer(file.content) ? file.content.length : file.length;
  return new RawReply(200, contentType, file.content, mediaHeaders(type, length, file.uploadName));
}

/** 304 when the client has the file: it never changes. */
export function notModified(ifNoneMatch: string | undefined): RawReply | undefined {
  if (ifNoneMatch === undefined || !ifNoneMatch.split(",").some((tag) => tag.trim().replace(/^W\//, "").replaceAll('"', "") === ETAG)) return undefined;
  return new RawReply(304, "application/octet-stream", "", { "Cache-Control": "public,max-age=86400,s-maxage=0,proxy-revalidate", ETag: ETAG });
}

/** `Content-Disposition` for a file: inline for what browsers show safely, else an attachment. */
export function contentDisposition(mediaType: string, uploadName: string | undefined): string {
  const kind = INLINE.has(mediaType.split(";", 1)[0]!.trim().toLowerCase()) ? "inline" : "attachment";
  if (uploadName === undefined || uploadName === "") return kind;
  if (/^[!#$%&'*+.0-9A-Z^_`a-z|~-]+$/.test(uploadName)) return `${kind}; filename=${uploadName}`;
  return `${kind}; filename*=utf-8''${encodeURIComponent(Buffer.from(uploadName, "utf8").toString("utf8")).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)}`;
}

const headerSafe = (value: string): boolean => /^[\x20-\x7e]{1,255}$/.test(value);
