import { Agent, request as httpRequest } from "node:http";
import type { Endpoint } from "../../handlers/http/endpoint.ts";
import { Query } from "../../handlers/http/query.ts";
import { Router } from "../../handlers/http/router.ts";
import { routes } from "../../handlers/routes.ts";
import { isJsonObject, type Json } from "../../lib/json.ts";
import { currentRequest } from "../../lib/request-context.ts";
import { Contract } from "../openapi/contract.ts";
import { Dice } from "./dice.ts";
import { Pool } from "./pool.ts";
import { type FuzzRequest, makeRequest, REFUSALS } from "./requests.ts";
import { makeWorld, type World } from "./world.ts";

export interface FuzzOptions {
  readonly requests: number;
  readonly seed: number;
  /** Requests in flight at once; default 8. */
  readonly concurrency?: number;
  /** Only servlets whose name matches. */
  readonly only?: RegExp;
  readonly onProgress?: (done: number) => void;
  readonly onFailure?: (failure: FuzzFailure) => void;
}

export interface FuzzFailure {
  readonly what: string;
  readonly servlet: string;
  readonly request: string;
  readonly answer: string;
}

export interface FuzzReport {
  readonly requests: number;
  readonly byStatus: ReadonlyMap<number, number>;
  /** Servlets that answered with success at least once. */
  readonly succeeded: ReadonlySet<string>;
  readonly servlets: ReadonlySet<string>;
  /** Operations of the contract that were answered with success, as it says. */
  readonly operations: ReadonlySet<string>;
  readonly failures: readonly FuzzFailure[];
  readonly databaseUrl: string;
  /** The query parameters that each servlet asked for. */
  readonly queries: ReadonlyMap<string, ReadonlySet<string>>;
}

/** Requests that may wait for something to happen: cut off, they are none the worse. */
const WAITING = /^(SyncRestServlet|EventsRestServlet|SlidingSyncRestServlet|EventStreamRestServlet|MSC4108RendezvousServlet)$/;
/** A file that is announced and not uploaded yet is waited for as long as the client says. */
const ASKS_TO_WAIT = /\/media\/.*[?&]timeout_ms=/;
const WAIT_MS = 700;
/** Longer than any answer that is not waited for on purpose should take, on a slow machine. */
const HANG_MS = 30_000;
const REPAIR_EVERY = 250;
const GRANTED = "an admin's request was granted to somebody else";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/**
 * Sends requests made from the route list, right ones and wrong ones, to a server of its own over HTTP, and tells every answer that no
 * server should give: a 5xx, none at all, an error in no form, a stranger let in, what the specification's documents do not have. `inspect` runs before the server is closed.
 */
export async function fuzz(options: FuzzOptions, inspect?: (world: World) => Promise<void>): Promise<FuzzReport> {
  const dice = new Dice(options.seed);
  const pool = new Pool(dice);
  const queryNames = watchQueries();
  const world = await makeWorld(dice, pool);
  const contract = Contract.ofSpecification();
  try {
    const base = new URL((world.server.anonymous.get("/") as unknown as { url: string }).url);
    const agent = new Agent({ keepAlive: true, maxSockets: options.concurrency ?? 8 });
    const endpoints = routes.filter(({ servlet, when }) => (options.only?.test(servlet) ?? true) && (when?.(world.server.ctx.config) ?? true));
    // An endpoint that stands for several actions is asked more often.
    const chances = endpoints.flatMap((endpoint) => Array<Endpoint>(/=([^/*]+)/.exec(endpoint.paths[0]!)?.[1]!.split("|").length ?? 1).fill(endpoint));
    const router = new Router(routes.filter(({ when }) => when?.(world.server.ctx.config) ?? true));
    const byStatus = new Map<number, number>();
    const succeeded = new Set<string>();
    const operations = new Set<string>();
    const failures: FuzzFailure[] = [];
    let sent = 0;
    let repair = true;

    const one = async (): Promise<void> => {
      const endpoint = dice.pick(chances);
      const request = makeRequest(world, endpoint, [...(queryNames.names.get(endpoint.servlet) ?? [])], dice, pool);
      const errorsBefore = world.errors.length;
      const waits = WAITING.test(endpoint.servlet) || ASKS_TO_WAIT.test(request.url);
      const answer = await send(agent, base, request, waits ? WAIT_MS : HANG_MS);
      const fail = (what: string): void => {
        const stack = world.errors
          .slice(errorsBefore)
          .map(({ message, error }) => `${message}: ${error instanceof Error ? error.stack : String(error)}`)
          .join("\n");
        const failure = { what, servlet: endpoint.servlet, request: describe(request), answer: `${describeAnswer(answer)}\n${stack}` };
        failures.push(failure);
        options.onFailure?.(failure);
      };
      if (answer === undefined) {
        if (!waits) fail("no answer");
        return;
      }
      byStatus.set(answer.status, (byStatus.get(answer.status) ?? 0) + 1);
      if (answer.status < 300) succeeded.add(endpoint.servlet);
      for (const what of faultsOf(world, router, request, answer)) {
        // An earlier request may have made an admin of them.
        if (what === GRANTED && (await world.server.ctx.accounts.user(world.person(request.role).userId))?.admin !== false) continue;
        fail(what);
      }
      const path = request.url.split("?")[0]!;
      const operation = request.spoilt === undefined ? contract.operationOf(request.method, path) : undefined;
      if (operation !== undefined && answer.status < 500) {
        for (const what of contract.check(request.method, request.url, answer.status, jsonOf(answer.text))) fail(`${operation} ${answer.status} ${what}`);
        if (answer.status < 300) operations.add(operation);
      }
      if (lostRights(request, answer)) repair = true;
      if (answer.status < 300 && answer.text.length < 30_000) pool.harvest(jsonOf(answer.text), request.roomId);
    };

    while (sent < options.requests) {
      await world.repair();
      repair = false;
      const end = Math.min(options.requests, sent + REPAIR_EVERY);
      const lane = async (): Promise<void> => {
        while (sent < end && !repair) {
          sent++;
          await one();
        }
      };
      await Promise.all(Array.from({ length: options.concurrency ?? 8 }, lane));
      options.onProgress?.(sent);
    }
    agent.destroy();
    await inspect?.(world);
    return {
      requests: sent,
      byStatus,
      succeeded,
      operations,
      servlets: new Set(endpoints.map(({ servlet }) => servlet)),
      failures,
      databaseUrl: world.server.database.url,
      queries: queryNames.names,
    };
  } finally {
    queryNames.stop();
    await world.close();
  }
}

/** Somebody whose requests should be granted was logged out, locked or suspended by an earlier request. */
function lostRights({ role }: FuzzRequest, { status, text }: Answer): boolean {
  return (
    /^(?:user|other|admin|guest)$/.test(role) &&
    (status === 401 || status === 403) &&
    /"M_(?:UNKNOWN_TOKEN|USER_LOCKED|USER_SUSPENDED|USER_DEACTIVATED)"/.test(text)
  );
}

/** What is wrong with the answer, in words; nothing for most. */
function faultsOf(world: World, router: Router, request: FuzzRequest, answer: Answer): string[] {
  const { endpoint, role } = request;
  const faults: string[] = [];
  // Another server may be unreachable or talk nonsense: the gateway's statuses say so, where the request needed one.
  const asksOthers = endpoint.servlet === "AppservicePingRestServlet" || mentionsOthers(world, request);
  const gateway = (answer.status === 502 || answer.status === 504) && asksOthers;
  // Media that was announced and has not come yet; answers to HEAD do not say so.
  const isMedia = /^(?:Download|Thumbnail)Resource$/.test(endpoint.servlet);
  const awaited = answer.status === 504 && (errcodeOf(answer.text) === "M_NOT_YET_UPLOADED" || (request.method === "HEAD" && isMedia));
  if (answer.status >= 500 && !gateway && !awaited) faults.push(`status ${answer.status}`);
  if (answer.status >= 400 && request.method !== "HEAD" && /json/.test(String(answer.headers["content-type"]))) {
    const body = jsonOf(answer.text);
    const interactive = answer.status === 401 && isJsonObject(body) && Array.isArray(body["flows"]);
    // As in Synapse, one old route answers with a bare text.
    const bare = body === "Event not found.";
    if (!interactive && !bare && (!isJsonObject(body) || typeof body["errcode"] !== "string" || typeof body["error"] !== "string"))
      faults.push("an error in no form");
  }
  const path = request.url.split("?")[0]!;
  const found = router.find(request.method, path);
  const expect = (status: number, errcode?: string): void => {
    if (answer.status !== status || (errcode !== undefined && errcodeOf(answer.text) !== errcode))
      faults.push(`expected ${status} ${errcode ?? ""} for ${request.spoilt === undefined ? `the role ${role}` : `a spoilt ${request.spoilt}`}`);
  };
  if (request.method === "OPTIONS" || request.method === "HEAD") return faults;
  if (found === "not found") expect(404, "M_UNRECOGNIZED");
  else if (found === "wrong method") expect(405, "M_UNRECOGNIZED");
  else if (found.endpoint === endpoint && endpoint.auth !== "none" && endpoint.auth !== "federation") {
    const refusal = REFUSALS[role];
    if (refusal !== undefined && !(role === "nobody" && endpoint.auth === "optional")) expect(refusal.status, refusal.errcode);
    // Locked users may log out: then the token is unknown.
    if (role === "locked" && !endpoint.allowLocked) expect(401);
    if (role === "guest" && (endpoint.auth === "user" || endpoint.auth === "admin")) expect(403);
    if (role !== "admin" && endpoint.auth === "admin" && answer.status < 400) faults.push(GRANTED);
  } else if (found.endpoint === endpoint && endpoint.auth === "federation" && (role === "nobody" || role === "foreign" || role === "deactivated")) {
    if (answer.status !== 401 && answer.status !== 403 && answer.status !== 400 && answer.status !== 413 && answer.status !== 415)
      faults.push("another server's request was taken without its signature");
  }
  return faults;
}

const mentionsOthers = (world: World, { url, body }: FuzzRequest): boolean => {
  const text = `${decodeURIComponent(url.replace(/%(?![0-9a-fA-F]{2})/g, "%25").replace(/%[89a-fA-F][0-9a-fA-F]/g, "?"))} ${body?.toString("utf8") ?? ""}`;
  return (
    text.includes(world.peer.name) ||
    /[?&](?:server|server_name|via|destination|user_id)=/.test(url) ||
    /[@!#$:][^ "']*:|https?:|mxc:|@example|id_server/.test(text)
  );
};

/** Sends it as it is; undefined when there is no answer in time. */
export function send(agent: Agent, base: URL, { method, url, headers, body }: FuzzRequest, timeoutMs: number): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    const request = httpRequest(
      {
        agent,
        host: base.hostname,
        port: base.port,
        method,
        path: url,
        headers: { ...headers, ...(body === undefined ? {} : { "Content-Length": String(body.length) }) },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text: Buffer.concat(chunks).toString("utf8") });
        });
        response.on("error", () => resolve(undefined));
      },
    );
    const timer = setTimeout(() => request.destroy(new Error("timeout")), timeoutMs);
    request.on("error", () => {
      clearTimeout(timer);
      resolve(undefined);
    });
    request.end(body);
  });
}

/** Learns which query parameters each servlet asks for, by listening in. */
export function watchQueries(): { names: ReadonlyMap<string, ReadonlySet<string>>; stop(): void } {
  const names = new Map<string, Set<string>>();
  const prototype = Query.prototype as unknown as Record<string, (name: string, ...rest: unknown[]) => unknown>;
  const methods = ["string", "requiredString", "strings", "oneOf", "integer", "natural", "boolean", "has"] as const;
  const originals = new Map(methods.map((method) => [method, prototype[method]!]));
  for (const [method, original] of originals) {
    prototype[method] = function (this: Query, name: string, ...rest: unknown[]) {
      const servlet = (currentRequest() as { servlet?: string } | undefined)?.servlet;
      if (servlet !== undefined && name !== "access_token") {
        let known = names.get(servlet);
        if (known === undefined) names.set(servlet, (known = new Set()));
        known.add(name);
      }
      return original.call(this, name, ...rest);
    };
  }
  return {
    names,
    stop: () => {
      for (const [method, original] of originals) prototype[method] = original;
    },
  };
}

function jsonOf(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

function errcodeOf(text: string): Json | undefined {
  const body = jsonOf(text);
  return isJsonObject(body) ? body["errcode"] : undefined;
}

function describe({ method, url, headers, body, role, spoilt }: FuzzRequest): string {
  const shown = body === undefined ? "" : body.toString("utf8").slice(0, 700);
  const long = url.length > 600 ? `${url.slice(0, 600)}…(${url.length})` : url;
  return `${method} ${long} as ${role}${spoilt === undefined ? "" : ` (${spoilt} spoilt)`} ${headers["Content-Type"] ?? ""}\n  ${shown}`;
}

const describeAnswer = (answer: Answer | undefined): string => (answer === undefined ? "none" : `${answer.status} ${answer.text.slice(0, 300)}`);

/** A report in a few lines; each kind of failure once, with its first example. */
export function describeReport(report: FuzzReport): string {
  const statuses = [...report.byStatus].sort(([a], [b]) => a - b).map(([status, count]) => `${status}: ${count}`);
  const kinds = new Map<string, FuzzFailure[]>();
  for (const failure of report.failures) {
    const kind = `${failure.servlet}: ${failure.what.replace(/\[\d+\]/g, "[]").replace(/[!$@#][^ :]*:[\w.:]*/g, "<id>")}`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), failure]);
  }
  return [
    `${report.requests} requests; ${statuses.join(", ")}`,
    `${report.succeeded.size} of ${report.servlets.size} servlets answered with success at least once`,
    `${report.failures.length} failures of ${kinds.size} kinds`,
    ...[...kinds].map(([kind, failures]) => `- ${kind} (${failures.length})\n  ${failures[0]!.request}\n  -> ${failures[0]!.answer}`),
  ].join("\n");
}
