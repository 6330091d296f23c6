import type { ServerResponse } from "node:http";
import type { Context } from "../../services/context.ts";

/** What is known of a request in flight; the logger's request context. */
export interface RequestRecord {
  readonly id: string;
  readonly method: string;
  readonly url: string;
  readonly ip: string;
  readonly siteTag: string;
  readonly tls: boolean;
  readonly userAgent: string;
  requester: string | undefined;
  servlet: string;
  quiet: boolean;
  readonly started: number;
  statements: number;
}

/** Values of secrets in a URI are never written. */
export function redactUri(uri: string): string {
  return uri.replace(/([?&](?:access_token|client_secret|token|loginToken)=)[^&]*/g, "$1<redacted>");
}

/** One line in the access log when the answer is out or the client is gone, in the layout of Synapse's. */
export function logRequest(ctx: Context, record: RequestRecord, res: ServerResponse): void {
  const seconds = (ctx.clock.monotonic() - record.started) / 1000;
  ctx.metrics.requestFinished(record.method, record.servlet, res.statusCode, seconds);
  const log = ctx.log.named(`synapse.access.${record.tls ? "https" : "http"}.${record.siteTag}`);
  const level = record.quiet ? "debug" : "info";
  if (!log.enabled(level)) return;
  const size = res.getHeader("content-length") ?? 0;
  const status = res.writableFinished ? String(res.statusCode) : `${res.statusCode}!`;
  log[level](
    `${record.ip} - ${record.siteTag} - {${record.requester ?? "None"}} Processed request: ${seconds.toFixed(3)}sec/0.000sec ` +
      `(0.000sec, 0.000sec) (0.000sec/0.000sec/${record.statements}) ${String(size)}B ${status} ` +
      `"${record.method} ${redactUri(record.url)} HTTP/1.1" "${record.userAgent}" [0 dbevts]`,
  );
}
