import { timingSafeEqual } from "node:crypto";
import { setMaxListeners } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import express from "express";
import { RELAY_SECRET_HEADER } from "../../lib/relay-header.ts";
import { stringify } from "../../lib/json.ts";
import { noUsage, runInRequest } from "../../lib/request-context.ts";
import { forbidden, unrecognized } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import type { ListenerPaths } from "../../services/modules/web-resources.ts";
import { authenticateRequest } from "./authenticate.ts";
import { drain, parseBody, readBody } from "./body.ts";
import type { Endpoint } from "./endpoint.ts";
import { errorReply } from "./errors.ts";
import { Query } from "./query.ts";
import { RawReply, Reply } from "./reply.ts";
import { moduleReply } from "./module-resource.ts";
import { type RequestRecord, logRequest } from "./request-log.ts";
import { Router } from "./router.ts";

export interface AppOptions {
  readonly endpoints: readonly Endpoint[];
  /** Take the client's address from X-Forwarded-For (the listener's `x_forwarded`). */
  readonly trustForwarded: boolean;
  /** What processes that pass requests on must show (`worker_replication_secret`); undefined: nothing. */
  readonly relaySecret?: string | undefined;
  /** Which paths of modules it has. */
  readonly modulePaths: ListenerPaths;
  /** The listener's `tag`, or its port: the site of the access log. */
  readonly siteTag: string;
  readonly tls: boolean;
  /** Aborts when the server stops, so that long polls are answered. */
  readonly stopping: AbortSignal;
}

const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
  "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization, Date",
  "Access-Control-Expose-Headers": "Synapse-Trace-Id, Server",
} as const;

const NO_CACHE = { "Cache-Control": "no-cache, no-store, must-revalidate" } as const;

/** The Express application of one listener. */
export function createApp(ctx: Context, options: AppOptions): express.Express {
  const router = new Router(options.endpoints.filter((endpoint) => endpoint.when === undefined || endpoint.when(ctx.config)));
  setMaxListeners(0, options.stopping); // one listener for each request in flight
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.use((req, res) => {
    serve(ctx, options, router, req, res).catch((error: unknown) => {
      ctx.log.named("synapse.http.server").error("A request failed after its answer began", { error });
      res.destroy();
    });
  });
  return app;
}

let requestCount = 0;

/** Made once: an abort without a reason makes an error of its own, with its stack, for every request that ends. */
const ENDED = new DOMException("The request has ended", "AbortError");

async function serve(ctx: Context, options: AppOptions, router: Router, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const method = req.method ?? "GET";
  const url = (req as { originalUrl?: string }).originalUrl ?? req.url ?? "/";
  const record: RequestRecord = {
    id: `${method}-${++requestCount}`,
    method,
    url,
    ip: clientAddress(req, options.trustForwarded),
    siteTag: options.siteTag,
    tls: options.tls,
    userAgent: req.headers["user-agent"],
    requester: undefined,
    servlet: "NotFound",
    quiet: method === "OPTIONS",
    started: ctx.clock.monotonic(),
    handled: undefined,
    authenticatedEntity: undefined,
    protocol: `HTTP/${req.httpVersion}`,
    usage: noUsage(),
  };
  const gone = new AbortController();
  const onStop = (): void => gone.abort(ENDED);
  options.stopping.addEventListener("abort", onStop);
  res.on("close", () => {
    options.stopping.removeEventListener("abort", onStop);
    gone.abort(ENDED);
    logRequest(ctx, record, res);
  });
  await runInRequest(record, async () => {
    let reply: unknown;
    try {
      if (!isAdmitted(options.relaySecret, req)) throw forbidden("This address is for the worker processes of this server");
      reply = await answer(ctx, options, router, req, res, record, gone.signal);
    } catch (error) {
      reply = errorReply(ctx, error);
    }
    record.handled = ctx.clock.monotonic();
    if (res.destroyed || res.headersSent) return;
    await send(method, res, reply);
    if (!req.complete) drain(req, ctx.clock);
  });
}

async function answer(
  ctx: Context,
  options: AppOptions,
  router: Router,
  req: IncomingMessage,
  res: ServerResponse,
  record: RequestRecord,
  signal: AbortSignal,
): Promise<unknown> {
  const { method, url } = record;
  const mark = url.indexOf("?");
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = new Query(mark < 0 ? "" : url.slice(mark + 1));
  let match = router.find(method, path);
  if (match === "wrong method" && method === "HEAD") match = router.find("GET", path);
  if (typeof match === "object") {
    record.servlet = match.endpoint.servlet;
    record.quiet = match.endpoint.quiet;
  }
  const resource = ctx.modules.webResources.find(path, options.modulePaths);
  if (resource !== undefined) record.servlet = "ModuleResource";
  ctx.metrics.requestStarted(method, record.servlet);
  if (resource !== undefined && method !== "OPTIONS") return await moduleReply(resource, req, path, record, ctx.clock);
  if (method === "OPTIONS" && typeof match !== "object") return new Reply(204, undefined);
  if (match === "not found") throw unrecognized(404);
  if (match === "wrong method") throw unrecognized(405);
  const { endpoint, params } = match;

  // Users are known before the body is read, and so are the keys of servers, who sign it: nobody makes the server buffer for a stranger.
  const requester = endpoint.auth === "federation" ? undefined : await authenticateRequest(ctx, endpoint, req.headers, query, record);
  let body: unknown = {};
  const read = async (): Promise<unknown> => (body = parseBody(endpoint, req.headers, await readBody(req, endpoint.maxBody, ctx.clock)));
  let origin: string | undefined;
  if (endpoint.auth === "federation") {
    const content = endpoint.bodyType === "none" ? undefined : read;
    origin = await ctx.authenticateServer({ method, uri: url, authorization: req.headers.authorization, content });
    record.requester = origin;
  } else if (endpoint.bodyType !== "none") await read();
  return await endpoint.handle(ctx, {
    params,
    query,
    body: body as never,
    requester: requester as never,
    origin: origin as never,
    ip: record.ip,
    userAgent: record.userAgent ?? "",
    signal,
    method,
    url,
    headers: req.headers,
    raw: { req, res },
  });
}

async function send(method: string, res: ServerResponse, reply: unknown): Promise<void> {
  if (reply instanceof RawReply) {
    res.writeHead(reply.status, {
      ...CORS,
      Server: "Myelin",
      "Content-Type": reply.contentType,
      ...(reply.headers["Cache-Control"] === undefined ? NO_CACHE : {}),
      ...reply.headers,
    });
    if (method === "HEAD") {
      if (reply.body instanceof Readable) reply.body.destroy();
      res.end();
    } else if (reply.body instanceof Readable) await pipeline(reply.body, res).catch(() => res.destroy());
    else res.end(reply.body);
    return;
  }
  const { status, body, headers } = reply instanceof Reply ? reply : { status: 200, body: reply, headers: {} };
  if (body === undefined) {
    res.writeHead(status, { ...CORS, ...NO_CACHE, Server: "Myelin", "Content-Length": "0", ...headers });
    res.end();
    return;
  }
  const bytes = Buffer.from(stringify(body), "utf8");
  res.writeHead(status, {
    ...CORS,
    ...NO_CACHE,
    Server: "Myelin",
    "Content-Type": "application/json",
    "Content-Length": bytes.length,
    ...headers,
  });
  res.end(method === "HEAD" ? undefined : bytes);
}

function isAdmitted(secret: string | undefined, req: IncomingMessage): boolean {
  if (secret === undefined || req.url === "/health") return true;
  const shown = Buffer.from(String(req.headers[RELAY_SECRET_HEADER] ?? ""));
  const wanted = Buffer.from(secret);
  return shown.length === wanted.length && timingSafeEqual(shown, wanted);
}

/** Whose request it is: the peer of the connection, or whom a proxy names. */
export function clientAddress(req: IncomingMessage, trustForwarded: boolean): string {
  const forwarded = trustForwarded ? req.headers["x-forwarded-for"] : undefined;
  const first = typeof forwarded === "string" ? forwarded.split(",")[0]!.trim() : "";
  const address = first !== "" ? first : (req.socket.remoteAddress ?? "");
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
