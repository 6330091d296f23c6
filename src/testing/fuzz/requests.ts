import { z } from "zod";
import type { Endpoint, Method } from "../../handlers/http/endpoint.ts";
import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { authorizationHeader } from "../../outbound/federation/client.ts";
import { canonicalJson } from "../../protocol/canonical-json.ts";
import { BODIES, type Material } from "./bodies.ts";
import type { Dice } from "./dice.ts";
import { mutate, rawJunk, wrongText, wrongValue } from "./junk.ts";
import type { Pool } from "./pool.ts";
import { pathValue, queryValue } from "./values.ts";
import type { TestUser } from "../server.ts";
import type { FederationPeer } from "../federation-peer.ts";
import { type Role, TEST_PASSWORD } from "./world.ts";

/** Whom requests are made for: the people of a server, and a server beside it. */
export interface Askers {
  person(role: Role): TestUser;
  readonly server: { readonly name: string };
  readonly peer: Pick<FederationPeer, "name" | "key" | "user">;
}

/** A request, and what must be true of its answer beside not being a failure of the server. */
export interface FuzzRequest {
  readonly endpoint: Endpoint;
  readonly method: string;
  /** As it goes over the wire. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  readonly role: Role;
  /** How the path was spoilt. */
  readonly spoilt: "path" | "method" | undefined;
  /** The room in its path. */
  readonly roomId: string | undefined;
}

/** Which roles may be refused before the body is looked at, by status and code. */
export const REFUSALS: Partial<Record<Role, { status: number; errcode: string }>> = {
  nobody: { status: 401, errcode: "M_MISSING_TOKEN" },
  foreign: { status: 401, errcode: "M_UNKNOWN_TOKEN" },
  deactivated: { status: 401, errcode: "M_UNKNOWN_TOKEN" },
};

const METHODS: readonly Method[] = ["GET", "POST", "PUT", "DELETE"];
const ODD_METHODS = ["PATCH", "TRACE", "HEAD", "OPTIONS", "PROPFIND"];

/** Makes a request to the endpoint: straight, or with one or two things wrong. */
export function makeRequest(world: Askers, endpoint: Endpoint, queryNames: readonly string[], dice: Dice, pool: Pool): FuzzRequest {
  const role = chooseRole(endpoint, dice);
  const person = world.person(role);
  // Other servers mostly ask about their own users.
  const userId = endpoint.auth === "federation" && dice.chance(0.5) ? world.peer.user("mallory") : person.userId;
  const material: Material = { dice, pool, password: TEST_PASSWORD, peer: world.peer.name, userId, deviceId: person.deviceId };
  const faults = chooseFaults(dice);
  const has = (fault: Fault): boolean => faults.includes(fault);

  let path = fillPath(dice.pick(endpoint.paths), material, has("parameter"));
  let spoilt: FuzzRequest["spoilt"];
  if (has("path")) {
    path = spoilPath(path, dice);
    spoilt = "path";
  }
  let method: string = dice.pick(endpoint.methods);
  if (has("method")) {
    method = dice.chance(0.7) ? dice.pick(METHODS) : dice.pick(ODD_METHODS);
    spoilt ??= "method";
  }

  const query = makeQuery(queryNames, material, has("query"));
  const headers: Record<string, string> = {};
  const token = person.accessToken;
  if (role !== "nobody" && endpoint.auth !== "federation") {
    if (dice.chance(0.9)) headers["Authorization"] = `Bearer ${token}`;
    else query.push(["access_token", token]);
  }
  if (role === "nobody" && dice.chance(0.2)) headers["Authorization"] = dice.pick(["Bearer", "Bearer  ", "Basic eDp5", "Bearer a b", "X-Matrix x"]);
  if (role === "appservice" && dice.chance(0.5)) query.push(["user_id", has("query") ? wrongText(dice) : `@bridge_1:${world.server.name}`]);

  const url = query.length === 0 ? path : `${path}?${query.map(([name, value]) => `${encode(name)}=${encode(value)}`).join("&")}`;
  const wantsBody = endpoint.bodyType !== "none" || (has("body") && method !== "GET" && method !== "HEAD");
  const json = wantsBody && endpoint.bodyType !== "raw" ? makeBody(endpoint, material, has("body")) : undefined;
  const body = wantsBody ? bodyBytes(endpoint, json, material, has("raw body")) : undefined;
  if (body !== undefined) headers["Content-Type"] = contentType(endpoint, dice, has("raw body"));
  if (endpoint.auth === "federation" && role !== "nobody") sign(world, headers, method, url, endpoint.bodyType === "none" ? undefined : json, role);
  return { endpoint, method, url, headers, body, role, spoilt, roomId: material.roomId };
}

type Fault = "parameter" | "path" | "method" | "query" | "body" | "raw body";

function chooseFaults(dice: Dice): Fault[] {
  if (dice.chance(0.25)) return [];
  const faults: Fault[] = [];
  for (let count = dice.chance(0.25) ? 2 : 1; count > 0; count--) {
    const roll = dice.next();
    faults.push(roll < 0.45 ? "body" : roll < 0.65 ? "query" : roll < 0.8 ? "parameter" : roll < 0.88 ? "path" : roll < 0.93 ? "method" : "raw body");
  }
  return faults;
}

/** Asked less often by those who are needed for the rest. */
const ENDS_SESSIONS = /^(?:Logout|LogoutAll|DeactivateAccount|DeleteDevices|Device|Password|UserReplaceMaster)\w*Servlet/;

function chooseRole(endpoint: Endpoint, dice: Dice): Role {
  if (endpoint.auth === "admin" && dice.chance(0.8)) return "admin";
  if (ENDS_SESSIONS.test(endpoint.servlet) && dice.chance(0.8)) return dice.pick<Role>(["other", "locked", "foreign", "nobody"]);
  const roll = dice.next();
  if (roll < 0.6) return "user";
  if (roll < 0.72) return "other";
  return dice.pick<Role>(["guest", "suspended", "locked", "deactivated", "appservice", "appservice", "foreign", "nobody", "admin"]);
}

/** The path with a fitting value for each parameter, or a wrong one for one of them. */
export function fillPath(template: string, material: Material, faulty: boolean): string {
  const { dice } = material;
  const path = template.replace(/:(\w+)=([^/|]+)\/\*$/, "$2/*$1");
  const names = path.split("/").filter((segment) => /^[:*]/.test(segment));
  const wrong = faulty && names.length > 0 ? dice.pick(names) : undefined;
  return path
    .split("/")
    .map((segment) => {
      if (!/^[:*]/.test(segment)) return segment;
      const [, name, fixed] = /^[:*](\w+)(?:=(.*))?$/.exec(segment)!;
      if (fixed !== undefined) return dice.pick(fixed.split("|"));
      const value = segment === wrong ? wrongText(dice) : pathValue(name!, material);
      // What stands for the rest of a path keeps its slashes.
      if (segment.startsWith("*")) return encode(value).replaceAll("%2F", "/");
      return encode(value);
    })
    .join("/");
}

function spoilPath(path: string, dice: Dice): string {
  const slashes = [...path.matchAll(/\//g)].map(({ index }) => index);
  const at = dice.pick(slashes);
  const choices: (() => string)[] = [
    () => `${path}/junk`,
    () => `${path}junk`,
    () => `${path}/`,
    () => `/junk${path}`,
    () => `/${path}`,
    () => `${path.slice(0, at)}/${path.slice(at)}`,
    () => `${path.slice(0, at)}/.${path.slice(at)}`,
    () => `${path.slice(0, at)}/..${path.slice(at)}`,
    () => `${path.slice(0, at)}/%2e%2e${path.slice(at)}`,
    () => `${path.slice(0, at)}%2f${path.slice(at + 1)}`,
    () => `${path.slice(0, at)};a=b${path.slice(at)}`,
    () => path.toUpperCase(),
    () => path.slice(0, at),
  ];
  const spoilt = dice.pick(choices)();
  return spoilt.startsWith("/") ? spoilt : `/${spoilt}`;
}

function makeQuery(names: readonly string[], material: Material, faulty: boolean): [string, string][] {
  const { dice } = material;
  const query: [string, string][] = [];
  for (const name of names) if (dice.chance(0.5)) query.push([name, queryValue(name, material)]);
  if (faulty) {
    const name = names.length > 0 && dice.chance(0.9) ? dice.pick(names) : dice.pick(["limit", "from", "since", "dir", "user_id", "device_id", "x"]);
    query.push([name, wrongText(dice)]);
    if (dice.chance(0.7)) query.reverse();
  }
  return query;
}

const schemas = new WeakMap<z.ZodType, JsonObject>();

function makeBody(endpoint: Endpoint, material: Material, faulty: boolean): Json {
  const { dice } = material;
  let body: Json = BODIES[endpoint.servlet]?.(material) ?? (endpoint.body === undefined ? {} : fromSchema(schemaOf(endpoint.body), dice));
  // Not every field every time.
  if (isJsonObject(body) && dice.chance(0.3)) body = Object.fromEntries(Object.entries(body).filter(() => dice.chance(0.7)));
  return faulty ? mutate(body, dice) : body;
}

function schemaOf(schema: z.ZodType): JsonObject {
  let known = schemas.get(schema);
  if (known === undefined) schemas.set(schema, (known = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as unknown as JsonObject));
  return known;
}

/** Some value that a JSON schema allows, roughly. */
function fromSchema(schema: JsonObject, dice: Dice): Json {
  if (Array.isArray(schema["enum"])) return dice.pick(schema["enum"]);
  if (schema["const"] !== undefined) return schema["const"];
  if (Array.isArray(schema["anyOf"])) return fromSchema(dice.pick(schema["anyOf"] as JsonObject[]), dice);
  const type = Array.isArray(schema["type"]) ? dice.pick(schema["type"]) : schema["type"];
  switch (type) {
    case "string":
      return `s${dice.below(100)}`;
    case "integer":
    case "number":
      return dice.below(50);
    case "boolean":
      return dice.chance(0.5);
    case "null":
      return null;
    case "array":
      return isJsonObject(schema["items"]) ? [fromSchema(schema["items"], dice)] : [];
    case "object":
      return Object.fromEntries(
        Object.entries((schema["properties"] ?? {}) as Record<string, JsonObject>).map(([name, inner]) => [name, fromSchema(inner, dice)]),
      );
    default:
      return wrongValue(dice);
  }
}

function bodyBytes(endpoint: Endpoint, json: Json | undefined, material: Material, junk: boolean): Buffer {
  if (junk) return rawJunk(material.dice);
  if (endpoint.bodyType !== "raw") return Buffer.from(JSON.stringify(json ?? {}), "utf8");
  // Pages take forms, push rules JSON.
  const sample = BODIES[endpoint.servlet]?.(material) ?? { session: material.pool.pick("session") ?? "x", token: "x" };
  const body = material.dice.chance(0.4) ? mutate(sample, material.dice) : sample;
  if (endpoint.servlet === "PushRuleRestServlet" || !isJsonObject(body)) return Buffer.from(JSON.stringify(body), "utf8");
  return Buffer.from(
    Object.entries(body)
      .map(([name, value]) => `${encode(name)}=${encode(typeof value === "string" ? value : JSON.stringify(value))}`)
      .join("&"),
  );
}

function contentType(endpoint: Endpoint, dice: Dice, junk: boolean): string {
  if (junk)
    return dice.pick([
      "application/json",
      "text/plain",
      "multipart/form-data; boundary=x",
      "Multipart/Form-Data",
      "image/png",
      "application/x-www-form-urlencoded",
    ]);
  return endpoint.bodyType === "raw" && endpoint.servlet !== "PushRuleRestServlet" ? "application/x-www-form-urlencoded" : "application/json";
}

/** Signs as the peer, for some roles wrongly. */
function sign(world: Askers, headers: Record<string, string>, method: string, url: string, json: Json | undefined, role: Role): void {
  let content: string | undefined;
  try {
    content = json === undefined ? undefined : canonicalJson(json);
  } catch {
    content = "{}"; // what canonical JSON cannot say cannot be signed either
  }
  const own = { serverName: role === "foreign" ? "nowhere.example" : world.peer.name, signingKey: world.peer.key };
  const header = authorizationHeader(own, { method: method as "GET", destination: world.server.name }, url, content);
  headers["Authorization"] = role === "deactivated" ? header.replace(/sig="[^"]{4}/, 'sig="AAAA') : header;
}

/** Percent-encoding that takes lone surrogates too. */
function encode(text: string): string {
  return encodeURIComponent(Buffer.from(text, "utf8").toString("utf8"));
}
