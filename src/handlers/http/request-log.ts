import type { ServerResponse } from "node:http";
import { accessLoggerName, accessLogLine } from "../../lib/logging/access-log.ts";
import type { DatabaseUsage } from "../../lib/request-context.ts";
import type { Context } from "../../services/context.ts";

/** What is known of a request in flight; the logger's request context. */
export interface RequestRecord {
  readonly id: string;
  readonly method: string;
  readonly url: string;
  readonly protocol: string;
  readonly ip: string;
  readonly siteTag: string;
  readonly tls: boolean;
  readonly userAgent: string | undefined;
  requester: string | undefined;
  /** Who authenticated, where that is another one than the requester. */
  authenticatedEntity: string | undefined;
  servlet: string;
  quiet: boolean;
  readonly started: number;
  /** When the answer was ready to be sent; undefined: it is not. */
  handled: number | undefined;
  readonly usage: DatabaseUsage;
}

/** Metrics, and one line in the access log, when the answer is out or the client is gone. */
export function logRequest(ctx: Context, record: RequestRecord, res: ServerResponse): void {
  const end = ctx.clock.monotonic();
  const handled = record.handled ?? end;
  const bytesSent = Number(res.getHeader("content-length") ?? 0);
  const { method, servlet, usage } = record;
  ctx.metrics.requestFinished({ method, servlet, status: res.statusCode, seconds: (end - record.started) / 1000, bytes: bytesSent, usage });
  const log = ctx.log.named(accessLoggerName(record.tls, record.siteTag));
  const level = record.quiet ? "debug" : "info";
  if (!log.enabled(level)) return;
  const { ip, siteTag, requester, authenticatedEntity, url, protocol, userAgent } = record;
  log[level](
    accessLogLine({
      ip,
      siteTag,
      requester,
      authenticatedEntity,
      processingSeconds: (handled - record.started) / 1000,
      sendingSeconds: (end - handled) / 1000,
      // Requests share one thread: what each of them used of it is not known.
      cpuUserSeconds: 0,
      cpuSystemSeconds: 0,
      dbSchedulingSeconds: usage.waitedSeconds,
      dbTransactionSeconds: usage.seconds,
      dbTransactionCount: usage.transactions,
      bytesSent,
      status: res.statusCode,
      finished: res.writableFinished,
      method,
      uri: url,
      protocol,
      userAgent,
      dbEventCount: 0,
    }),
  );
}
