import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Json } from "../../lib/json.ts";
import { type Schema, violations } from "./schema-check.ts";

interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly answers: Readonly<Record<string, Schema | null>>;
}

/** Lies in the source tree, whether this runs from there or from the build. */
const FILE = path
  .join(path.dirname(fileURLToPath(import.meta.url)), "matrix-spec.json")
  .replace(`${path.sep}dist${path.sep}src${path.sep}`, `${path.sep}src${path.sep}`);

let ours: Contract | undefined;

/** What the specification says of answers: matrix-spec.json, which `scripts/extract-openapi.mjs` makes of its OpenAPI documents. */
export class Contract {
  private readonly answered = new Set<Operation>();
  private readonly operations: readonly { operation: Operation; pattern: RegExp; literals: number }[];

  private constructor(operations: readonly Operation[]) {
    this.operations = operations
      .map((operation) => {
        const segments = operation.path.split("/");
        const pattern = segments
          .map((segment) => (segment === "{stateKey}" ? "[^/]*" : segment.startsWith("{") ? "[^/]+" : segment.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")))
          .join("/");
        return { operation, pattern: new RegExp(`^${pattern}$`), literals: segments.filter((segment) => !segment.startsWith("{")).length };
      })
      .sort((a, b) => b.literals - a.literals);
  }

  /** That of the specification's version that Myelin keeps to. */
  static ofSpecification(): Contract {
    return (ours ??= new Contract((JSON.parse(readFileSync(FILE, "utf8")) as { operations: Operation[] }).operations));
  }

  get operationIds(): readonly string[] {
    return this.operations.map(({ operation }) => operation.id);
  }

  /** The operation of a request; undefined where the specification has none. */
  operationOf(method: string, path: string): string | undefined {
    return this.find(method, path)?.id;
  }

  /** Notes that a request had what it asked for. */
  note(method: string, url: string, status: number): void {
    const operation = status < 400 ? this.find(method, url.split("?")[0]!) : undefined;
    if (operation !== undefined) this.answered.add(operation);
  }

  /** The operations of a homeserver of which no request was granted yet. */
  get unanswered(): readonly string[] {
    const answered = new Set([...this.answered].map(routeOf));
    return this.operations.filter(({ operation }) => !answered.has(routeOf(operation)) && !OF_OTHERS.has(operation.id)).map(({ operation }) => operation.id);
  }

  /**
   * How an answer differs from what the specification says of it; nothing where it says nothing. Errors must have the standard form,
   * but for the answers of user-interactive authentication. `url` may have a query.
   */
  check(method: string, url: string, status: number, body: Json | undefined): string[] {
    const operation = this.find(method, url.split("?")[0]!);
    if (operation === undefined) return [];
    const schema = operation.answers[String(status)];
    if (schema === undefined && status < 300) return [`status ${status}: the specification knows none such`];
    if (schema === null || (schema === undefined && status < 400)) return [];
    if (status === 401 && (violations(ERROR, body).length === 0 || violations(INTERACTIVE, body).length === 0)) return [];
    const found = violations(schema ?? ERROR, body);
    return found.filter((each) => !AS_SYNAPSE.some((known) => known.test(`${operation.id} ${each}`)) && !(FILTERED.test(url) && CHOSEN.test(each)));
  }

  private find(method: string, url: string): Operation | undefined {
    const path = url.replace(/^\/_matrix\/(client|media)\/(?:r0|api\/v1)\//, "/_matrix/$1/v3/");
    return this.operations.find(({ operation, pattern }) => operation.method === method && pattern.test(path))?.operation;
  }
}

/** The same for operations that differ in what stands in the query or the body alone. */
const routeOf = ({ method, path }: Operation): string => `${method} ${path.trim().replace(/\{\w+\}/g, "{}")}`;

/** What policy servers answer, and queries that nobody has defined. */
const OF_OTHERS: ReadonlySet<string> = new Set(["askPolicyServerToSign", "getWellknownPolicy", "queryInfo"]);

/** Filters may say which fields of events are wanted. */
const FILTERED = /[?&]filter=/;
const CHOSEN = /\[\d+\]\.\w+: is missing$/;

/** Where Synapse does not keep to the specification, and its clients are used to it. */
const AS_SYNAPSE: readonly RegExp[] = [
  // Who has no name or picture.
  /\S*\.(?:avatar_url|display_?name): is null/,
  /^getDevices? answer\S*(?:last_seen_ip|last_seen_ts): is null/,
  /^getNotifications answer\S*(?:next_token|profile_tag): is null/,
  // What clients wrote there themselves.
  /^getRoomTags(?:ByUser)? answer.tags\S*order: is/,
  /^getUserProfile answer.m.tz: is/,
  /^getRoomKeysVersion(?:Current)? answer.algorithm: /,
  /avatar_url: does not match/,
  /^(?:getEvents|peekEvents) answer.chunk\[\d+\]\.room_id: does not match/,
  // Those of mails have no language.
  /^getPushers answer\S*\.lang: is null/,
  // Transactions with too much in them are refused without a word.
  /^sendTransaction answer\.errcode: is missing/,
  // What the authentication service says of itself, as it says it.
  /^getAuthMetadata answer/,
  // What application services said, as they said it.
  /^getProtocols answer/,
  /^getProtocolMetadata answer/,
  // No TURN server is an empty object.
  /^getTurnServer answer\.\w+: is missing/,
  // Typing and receipts come between the events, without what only events have.
  /^(?:getEvents|peekEvents) answer.chunk\[\d+\]\.\w+: is missing/,
  /^getUserDevices answer\.(?:master|self_signing)_key: is null/,
  /^search answer\S*\.order: is number/,
  // Events have had no origin for long.
  /^(?:make(?:Join|Knock|Leave)|sendInvite\w*) answer\S*event\.origin: is missing/,
  // Its page says that there is none.
  /^getWellKnown answer: is missing/,
  // Delayed events (MSC4140) are answered with their delay_id.
  /^(?:sendMessage|setRoomStateWithKey) answer.event_id: is missing/,
];

const INTERACTIVE: Schema = { type: "object", required: ["flows", "session"], properties: { flows: { type: "array" }, session: { type: "string" } } };
const ERROR: Schema = { type: "object", required: ["errcode"], properties: { errcode: { type: "string" }, error: { type: "string" } } };
