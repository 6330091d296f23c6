import type { IncomingMessage, ServerResponse } from "node:http";
import type { z } from "zod";
import type { Config } from "../../config/config.ts";
import type { JsonObject } from "../../lib/json.ts";
import type { Context } from "../../services/context.ts";
import type { Requester } from "../../services/requester.ts";
import type { Query } from "./query.ts";

/**
 * An endpoint is one value: path, method, who may call, what the body looks like, and what it does. Routing, validation, metrics
 * labels, worker roles and `npm run routes` come from the list of them in `handlers/routes.ts`.
 */

/**
 * Who may call:
 * - `none`: anyone, no token looked at;
 * - `optional`: a token is checked when there is one; `requester` may be undefined;
 * - `guest`: users and guests;
 * - `user`: users, no guests (403 M_GUEST_ACCESS_FORBIDDEN);
 * - `admin`: server admins (403 M_FORBIDDEN otherwise);
 * - `federation`: another server, by its X-Matrix signature; `origin` is its name;
 * - `mas`: the authentication service that accounts are delegated to, by the shared secret.
 */
export type AuthKind = "none" | "optional" | "guest" | "user" | "admin" | "federation" | "mas";

export type Method = "GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS";

/** Names of the `:params` in a path. */
export type PathParams<P extends string> = { readonly [K in ParamNames<P>]: string };
type ParamNames<P extends string> = P extends `${string}:${infer Rest}`
  ? Rest extends `${infer Name}/${infer More}`
    ? Clean<Name> | ParamNames<`/${More}`>
    : Clean<Rest>
  : never;
type Clean<N extends string> = N extends `${infer Name}=${string}` ? Name : N;

type RequesterFor<A extends AuthKind> = A extends "none" | "federation" | "mas" ? undefined : A extends "optional" ? Requester | undefined : Requester;

export interface EndpointRequest<Params, Body, A extends AuthKind> {
  readonly params: Params;
  readonly query: Query;
  /** The parsed body: the schema's output, or the JSON object when the endpoint has no schema. `{}` for an empty body where `emptyBody` allows it. */
  readonly body: Body;
  readonly requester: RequesterFor<A>;
  /** The calling server (auth `federation`). */
  readonly origin: A extends "federation" ? string : undefined;
  /** The client's address, by X-Forwarded-For where the listener says so. */
  readonly ip: string;
  readonly userAgent: string;
  /** Aborts when the client goes away or the server stops: long polls answer at once then. */
  readonly signal: AbortSignal;
  readonly method: string;
  /** Path and query as the client sent them. */
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  /** The bare request and response: for media streams and metrics only. */
  readonly raw: { readonly req: IncomingMessage; readonly res: ServerResponse };
}

export interface EndpointSpec<P extends string, A extends AuthKind, S extends z.ZodType | undefined> {
  /** Synapse's servlet name: the label in metrics and logs. */
  servlet: string;
  method: Method | readonly Method[];
  /** Path with `:params` and alternatives in brackets: "/_matrix/client/(r0|v3)/rooms/:roomId/send/:eventType". `:name=a|b` stands for the literals a and b. A trailing `*name` (or `:name=prefix/*`) takes the rest of the path. */
  path: P | readonly P[];
  auth: A;
  /** zod schema of the JSON body. Errors become M_MISSING_PARAM, M_INVALID_PARAM or M_BAD_JSON as Synapse's validation has them. */
  body?: S;
  /** `json` (default for PUT, POST, DELETE with a schema or not), `none`: the body is not read (media streams read `raw.req`), `raw`: a Buffer up to `maxBody`, `form`: url-encoded parameters as an object of strings. */
  bodyType?: "json" | "none" | "raw" | "form";
  /** An absent body counts as `{}`, or also one that is no JSON at all, as old clients send it. Default true for POST and DELETE without schema. */
  emptyBody?: boolean | "or no JSON";
  /** Keep floats and integers beyond 53 bits as they were written (event contents). See `lib/lossless-json.ts`. */
  lossless?: boolean;
  /** Largest body in bytes; default 50 KiB * 100 as Synapse's limit for JSON requests. */
  maxBody?: number;
  /** Rate limit class; documentation for worker roles, checked by services where Synapse checks later. */
  limit?: string;
  /** Locked users may call (logout). */
  allowLocked?: boolean;
  /** Guests, locked and expired accounts... may call with an expired account (account validity). */
  allowExpired?: boolean;
  /** Log at debug level (health checks). */
  quiet?: boolean;
  /** The route exists only where this holds; else it answers 404 M_UNRECOGNIZED. */
  when?: (config: Config) => boolean;
  handle(ctx: Context, request: EndpointRequest<PathParams<P>, S extends z.ZodType ? z.output<S> : JsonObject, A>): Promise<unknown> | unknown;
}

/** An endpoint with its types erased, as the router keeps it. */
export interface Endpoint {
  readonly servlet: string;
  readonly methods: readonly Method[];
  readonly paths: readonly string[];
  readonly auth: AuthKind;
  readonly body: z.ZodType | undefined;
  readonly bodyType: "json" | "none" | "raw" | "form";
  readonly emptyBody: boolean | "or no JSON";
  readonly lossless: boolean;
  readonly maxBody: number;
  readonly limit: string | undefined;
  readonly allowLocked: boolean;
  readonly allowExpired: boolean;
  readonly quiet: boolean;
  readonly when: ((config: Config) => boolean) | undefined;
  readonly handle: (ctx: Context, request: EndpointRequest<Record<string, string>, never, never>) => Promise<unknown> | unknown;
}

const MAX_JSON_BODY = 100 * 65536; // as Synapse: a hundred full-size events

/** An endpoint from its description, with defaults filled in. */
export function endpoint<const P extends string, const A extends AuthKind, S extends z.ZodType | undefined = undefined>(spec: EndpointSpec<P, A, S>): Endpoint {
  const methods = typeof spec.method === "string" ? [spec.method] : spec.method;
  const paths = (typeof spec.path === "string" ? [spec.path] : spec.path).flatMap(expandPath);
  const bodyless = methods.every((method) => method === "GET" || method === "HEAD" || method === "OPTIONS");
  return {
    servlet: spec.servlet,
    methods,
    paths,
    auth: spec.auth,
    body: spec.body,
    bodyType: spec.bodyType ?? (bodyless ? "none" : "json"),
    emptyBody: spec.emptyBody ?? (spec.body === undefined && !methods.includes("PUT")),
    lossless: spec.lossless ?? false,
    maxBody: spec.maxBody ?? MAX_JSON_BODY,
    limit: spec.limit,
    allowLocked: spec.allowLocked ?? false,
    allowExpired: spec.allowExpired ?? false,
    quiet: spec.quiet ?? false,
    when: spec.when,
    handle: spec.handle as unknown as Endpoint["handle"],
  };
}

/** "/a/(b|c)/:d" -> ["/a/b/:d", "/a/c/:d"] */
export function expandPath(path: string): string[] {
  const match = /\(([^()]*)\)/.exec(path);
  if (match === null) return [path];
  return match[1]!.split("|").flatMap((choice) => expandPath(path.slice(0, match.index) + choice + path.slice(match.index + match[0].length)));
}
