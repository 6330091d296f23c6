import type { IncomingHttpHeaders } from "node:http";
import { z } from "zod";
import { forbidden, invalidParam, MatrixError, missingParam, missingToken, notFound } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import type { Requester } from "../../services/requester.ts";
import { MAX_RENDEZVOUS_BYTES, type RendezvousSession } from "../../services/rendezvous/sessions.ts";
import { endpoint } from "../http/endpoint.ts";
import { RawReply, Reply } from "../http/reply.ts";

/** What browsers must be allowed to send and see. */
const CORS = { "Access-Control-Allow-Headers": "Content-Type, If-Match, If-None-Match", "Access-Control-Expose-Headers": "Synapse-Trace-Id, Server, ETag" };
const MSC4108 = "/_matrix/client/unstable/org.matrix.msc4108/rendezvous";
const SESSION = "/_synapse/client/rendezvous/:sessionId";
const MSC4388 = "/_matrix/client/unstable/io.element.msc4388/rendezvous";

const tooLarge = (): MatrixError => new MatrixError(413, "M_TOO_LARGE", "Payload too large");

/** MSC4108: makes a session, or sends the client to who does. */
export const createSession = endpoint({
  servlet: "MSC4108RendezvousServlet",
  method: "POST",
  path: MSC4108,
  auth: "none",
  bodyType: "raw",
  maxBody: MAX_RENDEZVOUS_BYTES,
  when: ({ experimental }) => experimental.msc4108Enabled || experimental.msc4108DelegationEndpoint !== undefined,
  handle(ctx, { headers, body }) {
    const { msc4108DelegationEndpoint } = ctx.config.experimental;
    if (msc4108DelegationEndpoint !== undefined) return new Reply(307, undefined, { Location: msc4108DelegationEndpoint, ...CORS });
    checkHeaders(headers);
    const session = ctx.rendezvous.msc4108.create(textOf(body));
    return new Reply(201, { url: `${ctx.config.server.publicBaseurl}_synapse/client/rendezvous/${session.id}` }, sessionHeaders(session));
  },
});

export const readSession = endpoint({
  servlet: "MSC4108RendezvousSessionResource",
  method: "GET",
  path: SESSION,
  auth: "none",
  when: ({ experimental }) => experimental.msc4108Enabled,
  handle(ctx, { params, headers }) {
    const session = ctx.rendezvous.msc4108.get(params.sessionId);
    if (session === undefined) throw notFound("Not found");
    if (names(headers["if-none-match"], session, true)) return new Reply(304, undefined, sessionHeaders(session));
    const data = Buffer.from(session.data, "latin1");
    return new RawReply(200, "text/plain", data, { ...sessionHeaders(session), "Content-Length": String(data.length) });
  },
});

export const writeSession = endpoint({
  servlet: "MSC4108RendezvousSessionResource",
  method: "PUT",
  path: SESSION,
  auth: "none",
  bodyType: "raw",
  maxBody: MAX_RENDEZVOUS_BYTES,
  when: ({ experimental }) => experimental.msc4108Enabled,
  handle(ctx, { params, headers, body }) {
    checkHeaders(headers);
    if (headers["if-match"] === undefined) throw missingParam("Missing required header: if-match");
    const session = ctx.rendezvous.msc4108.get(params.sessionId);
    if (session === undefined) throw notFound("Not found");
    if (!names(headers["if-match"], session, false))
      throw new MatrixError(412, "M_UNKNOWN", "ETag does not match", { "org.matrix.msc4108.errcode": "M_CONCURRENT_WRITE" }, sessionHeaders(session));
    // The type is there for proxies that drop the ETag of answers without one.
    return new RawReply(202, "text/plain", "", { ...sessionHeaders(ctx.rendezvous.msc4108.write(session, textOf(body))), "Content-Length": "0" });
  },
});

export const deleteSession = endpoint({
  servlet: "MSC4108RendezvousSessionResource",
  method: "DELETE",
  path: SESSION,
  auth: "none",
  bodyType: "none",
  when: ({ experimental }) => experimental.msc4108Enabled,
  handle(ctx, { params }) {
    if (!ctx.rendezvous.msc4108.delete(params.sessionId)) throw notFound("Not found");
    return new Reply(204, undefined, CORS);
  },
});

/** Browsers ask before they send the headers above. */
export const createSessionOptions = endpoint({
  servlet: "MSC4108RendezvousServlet",
  method: "OPTIONS",
  path: MSC4108,
  auth: "none",
  when: ({ experimental }) => experimental.msc4108Enabled || experimental.msc4108DelegationEndpoint !== undefined,
  handle: () => new Reply(204, undefined, CORS),
});

export const sessionOptions = endpoint({
  servlet: "MSC4108RendezvousSessionResource",
  method: "OPTIONS",
  path: SESSION,
  auth: "none",
  when: ({ experimental }) => experimental.msc4108Enabled,
  handle: () => new Reply(204, undefined, CORS),
});

/** The bytes as they came, one character each. */
const textOf = (body: unknown): string => (Buffer.isBuffer(body) ? body.toString("latin1") : "");

function checkHeaders(headers: IncomingHttpHeaders): void {
  if (headers["content-length"] === undefined) throw missingParam("Missing required header: content-length");
  if (Number(headers["content-length"]) > MAX_RENDEZVOUS_BYTES) throw tooLarge();
  if (headers["content-type"] === undefined) throw missingParam("Missing required header: content-type");
  if (headers["content-type"].trim().toLowerCase() !== "text/plain") throw invalidParam("Content-Type must be text/plain");
}

const etagOf = (session: RendezvousSession): string => `"${session.token}"`;

/** Whether an `If-Match` or `If-None-Match` header names the session as it is. */
function names(header: string | undefined, session: RendezvousSession, weak: boolean): boolean {
  return (header ?? "").split(",").some((tag) => tag.trim() === "*" || (weak ? tag.trim().replace(/^W\//, "") : tag.trim()) === etagOf(session));
}

function sessionHeaders(session: RendezvousSession): Record<string, string> {
  return {
    ...CORS,
    "Cache-Control": "no-store, no-transform",
    Pragma: "no-cache",
    ETag: etagOf(session),
    Expires: new Date(session.expiresAt).toUTCString(),
    "Last-Modified": new Date(session.modifiedAt).toUTCString(),
  };
}

const when = ({ experimental }: Pick<Context["config"], "experimental">): boolean => experimental.msc4388Enabled;

/** MSC4388: may a session be made? */
export const sessionsAvailable = endpoint({
  servlet: "MSC4388CreateRendezvousServlet",
  method: "GET",
  path: MSC4388,
  auth: "optional",
  when,
  handle(ctx, { requester }) {
    checkRequester(ctx, requester);
    return { create_available: true };
  },
});

export const createJsonSession = endpoint({
  servlet: "MSC4388CreateRendezvousServlet",
  method: "POST",
  path: MSC4388,
  auth: "optional",
  bodyType: "raw",
  when,
  handle(ctx, { requester, body }) {
    checkRequester(ctx, requester);
    const { data } = parse(z.object({ data: z.string() }), body);
    const session = ctx.rendezvous.msc4388.create(data);
    return { id: session.id, sequence_token: session.token, expires_in_ms: session.expiresAt - ctx.clock.now() };
  },
});

export const readJsonSession = endpoint({
  servlet: "MSC4388UpdateRendezvousServlet",
  method: "GET",
  path: `${MSC4388}/:rendezvousId`,
  auth: "none",
  when,
  handle(ctx, { params, headers }) {
    refuseNavigation(headers);
    const session = ctx.rendezvous.msc4388.get(params.rendezvousId);
    if (session === undefined) throw notFound("Not found");
    return { data: session.data, sequence_token: session.token, expires_in_ms: session.expiresAt - ctx.clock.now() };
  },
});

export const writeJsonSession = endpoint({
  servlet: "MSC4388UpdateRendezvousServlet",
  method: "PUT",
  path: `${MSC4388}/:rendezvousId`,
  auth: "none",
  bodyType: "raw",
  when,
  handle(ctx, { params, body }) {
    const { data, sequence_token: token } = parse(z.object({ data: z.string(), sequence_token: z.string() }), body);
    const session = ctx.rendezvous.msc4388.get(params.rendezvousId);
    if (session === undefined) throw notFound("Not found");
    if (token === session.token) return { sequence_token: ctx.rendezvous.msc4388.write(session, data).token };
    // A client that did not hear of its success tries again.
    if (token === session.previousToken && data === session.data) return { sequence_token: session.token };
    throw new MatrixError(409, "IO_ELEMENT_MSC4388_CONCURRENT_WRITE", "sequence_token does not match");
  },
});

export const deleteJsonSession = endpoint({
  servlet: "MSC4388UpdateRendezvousServlet",
  method: "DELETE",
  path: `${MSC4388}/:rendezvousId`,
  auth: "none",
  bodyType: "none",
  when,
  handle(ctx, { params }) {
    if (!ctx.rendezvous.msc4388.delete(params.rendezvousId)) throw notFound("Not found");
    return new Reply(200, null);
  },
});

function checkRequester(ctx: Pick<Context, "config">, requester: Requester | undefined): void {
  if (!ctx.config.experimental.msc4388RequiresAuthentication) return;
  if (requester === undefined) throw missingToken();
  if (requester.isGuest) throw new MatrixError(403, "M_GUEST_ACCESS_FORBIDDEN", "Guest access not allowed");
}

function parse<T extends { data: string }>(schema: z.ZodType<T>, body: unknown): T {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body as Buffer));
  } catch {
    json = undefined;
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw invalidParam("Invalid JSON in request body");
  if (Buffer.byteLength(parsed.data.data) > MAX_RENDEZVOUS_BYTES) throw tooLarge();
  return parsed.data;
}

/** A browser must not show to its user what somebody put here: only scripts may read it, by what the browser says of the request. */
function refuseNavigation(headers: IncomingHttpHeaders): void {
  const { "sec-fetch-dest": destination, "sec-fetch-mode": mode, "sec-fetch-user": user, "sec-fetch-site": site } = headers;
  if (destination !== undefined && destination !== "empty") throw forbidden("Rendezvous content is not accessible from the request destination");
  if (mode === "navigate") throw forbidden("Rendezvous content is not accessible via top-level navigation");
  if (user === "?1") throw forbidden("Rendezvous content is not accessible from requests with user activation");
  if (site === "none") throw forbidden("Rendezvous content is not accessible from requests from user interaction");
}

export const rendezvousRoutes = [
  createSession,
  readSession,
  writeSession,
  deleteSession,
  createSessionOptions,
  sessionOptions,
  sessionsAvailable,
  createJsonSession,
  readJsonSession,
  writeJsonSession,
  deleteJsonSession,
];
