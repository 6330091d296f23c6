import { createServer as createHttpsServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import type { TLSSocket } from "node:tls";
import type supertest from "supertest";
import { isJsonObject, type Json, type JsonObject, stringify } from "../lib/json.ts";
import { parseJson } from "../lib/lossless-json.ts";
import { authorizationHeader } from "../outbound/federation/client.ts";
import { canonicalJson } from "../protocol/canonical-json.ts";
import { authTypesForEvent } from "../protocol/event-auth/auth-types.ts";
import { buildEvent, hashAndSign } from "../protocol/event/build.ts";
import { type MatrixEvent, type StateKey, stateKeyOf } from "../protocol/event/event.ts";
import { makeEventFromJson } from "../protocol/event/format.ts";
import { referenceHash } from "../protocol/event/hash.ts";
import { signingKeyFromSeed, signJson, type SigningKey } from "../protocol/event/sign.ts";
import { roomVersion, type RoomVersion } from "../protocol/room-versions.ts";
import { testCertificates } from "./certificates.ts";
import { serveRaw } from "./raw-requests.ts";
import type { TestServer } from "./server.ts";

/** A request that the peer received. */
export interface PeerRequest {
  readonly method: string;
  /** Decoded segments after `/_matrix/federation/`. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  readonly body: Json;
}

interface Answered {
  readonly status: number;
  /** Text is sent as it is, and what a stream gives, as it comes. */
  readonly body: unknown;
  /** Default: JSON. */
  readonly contentType?: string;
}

/** Answers a request; undefined: somebody else may. */
export type PeerAnswer = (request: PeerRequest) => Answered | undefined | Promise<Answered | undefined>;

let peers = 0;

/**
 * Another server, without a database: it has a name and a key, signs properly, and says whatever the test has it say.
 */
export class FederationPeer {
  /** Requests received, keys aside. */
  readonly requests: PeerRequest[] = [];
  /** Asked in order; the first that answers wins. */
  readonly answers: PeerAnswer[] = [];
  /** Takes each transaction as it comes, unread, once `takeRaw` was called. */
  taking: (transaction: Buffer) => void = () => {};
  private readonly rawSockets = new Set<TLSSocket>();
  private count = 0;
  /** As `old_verify_keys` has them. */
  private readonly oldKeys: JsonObject = {};

  private constructor(
    private readonly https: Server,
    /** `localhost:<port>` */
    readonly name: string,
    public key: SigningKey,
  ) {}

  static async start(): Promise<FederationPeer> {
    const { certificate, privateKey } = testCertificates();
    let peer: FederationPeer | undefined;
    const https = createHttpsServer({ cert: certificate, key: privateKey }, (req, res) => {
      const chunks: Buffer[] = [];
      req.on("data", (chunk: Buffer) => chunks.push(chunk));
      req.on("end", () => {
        void peer!
          .answer(req.method ?? "GET", req.url ?? "/", Buffer.concat(chunks).toString("utf8"))
          .then(({ status, body, contentType = "application/json" }) => {
            res.writeHead(status, { "Content-Type": contentType });
            if (body instanceof Readable) {
              res.on("close", () => body.destroy());
              body.pipe(res);
            } else res.end(typeof body === "string" ? body : stringify(body));
          });
      });
    });
    https.keepAliveTimeout = 600_000; // who keeps a connection for later finds it open
    await new Promise<void>((resolve) => https.listen(0, "127.0.0.1", resolve));
    const { port } = https.address() as AddressInfo;
    return (peer = new FederationPeer(https, `localhost:${port}`, signingKeyFromSeed("peer", new Uint8Array(32).fill(200 + (peers++ % 50)))));
  }

  user(localpart: string): string {
    return `@${localpart}:${this.name}`;
  }

  /**
   * For who measures: from now on transactions go to `taking`, at little more cost than that of reading their bytes. Connections that there are end.
   */
  takeRaw(): void {
    this.https.closeAllConnections();
    this.https.removeAllListeners("secureConnection");
    this.https.on("secureConnection", (socket: TLSSocket) => {
      this.rawSockets.add(socket);
      socket.on("close", () => this.rawSockets.delete(socket));
      serveRaw(socket, ({ method, url, body }) => {
        if (url.startsWith("/_matrix/federation/v1/send/")) {
          this.taking(body);
          return '{"pdus":{}}';
        }
        return this.answer(method, url, body.toString("utf8")).then(({ status, body: said }) => (status === 200 ? stringify(said) : undefined));
      });
    });
  }

  /** Signs with another key from now on; the one that it had expired at that time (milliseconds). Returns the old one. */
  rotateKey(expiredTs: number): SigningKey {
    const old = this.key;
    this.oldKeys[old.keyId] = { key: old.base64, expired_ts: expiredTs };
    this.key = signingKeyFromSeed(`${old.version}_next`, new Uint8Array(32).fill(100 + (peers++ % 50)));
    return old;
  }

  async close(): Promise<void> {
    this.https.closeAllConnections();
    for (const socket of this.rawSockets) socket.destroy();
    await new Promise((resolve) => this.https.close(resolve));
  }

  /** A signed request to a server under test; `signAs` replaces what the signature says. */
  ask(
    server: TestServer,
    method: "get" | "post" | "put",
    path: string,
    content?: JsonObject,
    signAs: { origin?: string; destination?: string; key?: SigningKey } = {},
  ): supertest.Test {
    const header = authorizationHeader(
      { serverName: signAs.origin ?? this.name, signingKey: signAs.key ?? this.key },
      { method: method.toUpperCase() as "GET", destination: signAs.destination ?? server.ctx.config.server.serverName },
      path,
      content === undefined ? undefined : canonicalJson(content),
    );
    const request = server.anonymous.request(method, path).set("Authorization", header);
    return content === undefined ? request : request.set("Content-Type", "application/json").send(stringify(content));
  }

  /** Sends a transaction; returns the results by event id. */
  async send(server: TestServer, pdus: readonly (MatrixEvent | JsonObject)[], edus: readonly JsonObject[] = []): Promise<Record<string, { error?: string }>> {
    const { body } = await this.ask(server, "put", `/_matrix/federation/v1/send/txn${++this.count}`, {
      origin: this.name,
      origin_server_ts: 1,
      pdus: pdus.map((pdu) => ("json" in pdu && "eventId" in pdu ? (pdu as MatrixEvent).json : (pdu as JsonObject))),
      edus: [...edus],
    }).expect(200);
    await server.ctx.inbound.rooms.whenIdle();
    return (body as { pdus: Record<string, { error?: string }> }).pdus;
  }

  /** Joins a room of the server under test by make_join and send_join. */
  async join(server: TestServer, roomId: string, localpart: string): Promise<PeerRoom> {
    const userId = this.user(localpart);
    const versions = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"].map((version) => `ver=${version}`).join("&");
    const made = await this.ask(
      server,
      "get",
      `/_matrix/federation/v1/make_join/${encodeURIComponent(roomId)}/${encodeURIComponent(userId)}?${versions}`,
    ).expect(200);
    const version = roomVersion(made.body.room_version as string)!;
    const join = this.complete(made.body.event as JsonObject, version);
    const sent = await this.ask(
      server,
      "put",
      `/_matrix/federation/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(join.eventId)}`,
      join.json,
    ).expect(200);
    const room = new PeerRoom(this, roomId, version);
    for (const json of [...(sent.body.auth_chain as JsonObject[]), ...(sent.body.state as JsonObject[])]) room.learn(makeEventFromJson(json, version));
    for (const json of sent.body.state as JsonObject[]) room.setState(makeEventFromJson(json, version));
    room.add(join);
    return room;
  }

  /** Finishes and signs a template as make_join gives it. */
  complete(template: JsonObject, version: RoomVersion): MatrixEvent {
    const json = { ...template, ...(version.eventFormat === 1 ? { event_id: this.oldEventId() } : {}) };
    return hashAndSign(json, version, this.name, [this.key]);
  }

  oldEventId(): string {
    return `$${Date.now()}${++this.count}:${this.name}`;
  }

  private async answer(method: string, url: string, text: string): Promise<Answered> {
    const { pathname, searchParams } = new URL(url, "https://peer");
    if (pathname.startsWith("/_matrix/key/v2/server")) return { status: 200, body: this.keyDocument() };
    const request: PeerRequest = {
      method,
      path: pathname
        .replace(/^\/_matrix\/(federation\/)?/, "")
        .split("/")
        .map(decoded),
      query: searchParams,
      body: text === "" ? null : parseJson(text),
    };
    this.requests.push(request);
    for (const answer of this.answers) {
      const found = await answer(request);
      if (found !== undefined) return found;
    }
    // Refused transactions would have the server leave the peer in peace, and ask it nothing more.
    if (request.path[1] === "send") return { status: 200, body: { pdus: {} } };
    return { status: 404, body: { errcode: "M_NOT_FOUND", error: "The peer does not know" } };
  }

  private keyDocument(): JsonObject {
    const document = {
      server_name: this.name,
      valid_until_ts: Date.now() + 86_400_000,
      verify_keys: { [this.key.keyId]: { key: this.key.base64 } },
      old_verify_keys: this.oldKeys,
    };
    return signJson(document, this.name, this.key);
  }
}

/** Segments that are not encoded as they should be stay as they are: nobody's odd names end the tests. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** What an event is to be made of; whatever is not said is filled in as an honest server would. */
export interface PeerEvent {
  readonly type: string;
  readonly sender: string;
  readonly stateKey?: string;
  readonly content?: JsonObject;
  readonly prevEventIds?: readonly string[];
  readonly authEventIds?: readonly string[];
  readonly depth?: number | bigint;
  readonly roomId?: string;
  readonly originServerTs?: number;
  readonly redacts?: string;
}

/** A room as the peer knows it. */
export class PeerRoom {
  readonly events = new Map<string, MatrixEvent>();
  readonly state = new Map<StateKey, MatrixEvent>();
  /** The state before each event that was added. */
  readonly statesBefore = new Map<string, ReadonlyMap<StateKey, MatrixEvent>>();
  tips: string[] = [];

  constructor(
    readonly peer: FederationPeer,
    readonly roomId: string,
    readonly version: RoomVersion,
  ) {}

  /** A new room on the peer, public, with its creator. */
  static create(peer: FederationPeer, creator: string, versionId = "11"): PeerRoom {
    const version = roomVersion(versionId)!;
    const first = buildEvent(
      {
        roomVersion: version,
        roomId: version.roomIdIsCreateHash ? undefined : `!made${Date.now()}${Math.floor(performance.now())}:${peer.name}`,
        type: "m.room.create",
        stateKey: "",
        sender: creator,
        content: { room_version: versionId, ...(version.implicitCreator ? {} : { creator }) },
        originServerTs: Date.now(),
        depth: 1,
        prevEventIds: [],
        authEventIds: [],
        ...(version.eventFormat === 1 ? { eventId: peer.oldEventId() } : {}),
      },
      peer.name,
      [peer.key],
    );
    const room = new PeerRoom(peer, first.roomId, version);
    room.add(first);
    room.make({ type: "m.room.member", sender: creator, stateKey: creator, content: { membership: "join" } });
    room.make({
      type: "m.room.power_levels",
      sender: creator,
      stateKey: "",
      content: version.creatorsHavePower ? { users: {} } : { users: { [creator]: 100 } },
    });
    room.make({ type: "m.room.join_rules", sender: creator, stateKey: "", content: { join_rule: "public" } });
    return room;
  }

  /** An event, hashed and signed by the peer, on the tips unless told otherwise. It is not added. */
  build(event: PeerEvent): MatrixEvent {
    const { type, sender, stateKey, content = {} } = event;
    const prevEventIds = event.prevEventIds ?? this.tips;
    const authEventIds =
      event.authEventIds ?? authTypesForEvent(this.version, { type, sender, stateKey, content }).flatMap((key) => this.state.get(key)?.eventId ?? []);
    const depths = prevEventIds.map((id) => Number(this.events.get(id)?.depth ?? 0));
    return buildEvent(
      {
        roomVersion: this.version,
        roomId: event.roomId ?? this.roomId,
        type,
        sender,
        stateKey,
        content,
        originServerTs: event.originServerTs ?? Date.now(),
        depth: event.depth ?? Math.max(0, ...depths) + 1,
        prevEventIds,
        authEventIds,
        redacts: event.redacts,
        ...(this.version.eventFormat === 1
          ? {
              eventId: this.peer.oldEventId(),
              referenceHash: (id: string) => (this.events.has(id) ? referenceHash(this.events.get(id)!.json, this.version) : undefined),
            }
          : {}),
      },
      this.peer.name,
      [this.peer.key],
    );
  }

  /** Builds an event and adds it. */
  make(event: PeerEvent): MatrixEvent {
    const made = this.build(event);
    this.add(made);
    return made;
  }

  message(sender: string, body: string, more: Partial<PeerEvent> = {}): MatrixEvent {
    return this.make({ type: "m.room.message", sender, content: { msgtype: "m.text", body }, ...more });
  }

  /** The event is the newest now. */
  add(event: MatrixEvent): void {
    this.statesBefore.set(event.eventId, new Map(this.state));
    this.learn(event);
    this.tips = [...this.tips.filter((id) => !event.prevEventIds.includes(id)), event.eventId];
    this.setState(event);
  }

  learn(event: MatrixEvent): void {
    this.events.set(event.eventId, event);
  }

  setState(event: MatrixEvent): void {
    if (event.stateKey !== undefined) this.state.set(stateKeyOf(event.type, event.stateKey), event);
  }

  /** Has the peer answer honestly about the room's history. */
  serve(): void {
    this.peer.answers.push(({ path: [version, what, first, second], query, body }) => {
      if (version !== "v1") return undefined;
      const ok = (answer: JsonObject): { status: number; body: unknown } => ({ status: 200, body: answer });
      const json = (events: Iterable<MatrixEvent>): JsonObject[] => [...events].map((event) => event.json);
      if (what === "event" && this.events.has(first!)) return ok({ pdus: json([this.events.get(first!)!]) });
      if (first !== this.roomId) return undefined;
      if (what === "event_auth" && this.events.has(second!)) return ok({ auth_chain: json(this.authChain([this.events.get(second!)!])) });
      if (what === "state_ids" || what === "state") {
        const state = this.statesBefore.get(query.get("event_id") ?? "");
        if (state === undefined) return undefined;
        const chain = this.authChain([...state.values()]);
        if (what === "state") return ok({ pdus: json(state.values()), auth_chain: json(chain) });
        return ok({ pdu_ids: [...state.values()].map((event) => event.eventId), auth_chain_ids: chain.map((event) => event.eventId) });
      }
      if (what === "get_missing_events" && isJsonObject(body))
        return ok({ events: json(this.between(body.earliest_events as string[], body.latest_events as string[], Number(body.limit))) });
      return undefined;
    });
  }

  authChain(events: readonly MatrixEvent[]): MatrixEvent[] {
    const found = new Map<string, MatrixEvent>();
    const stack = events.flatMap((event) => event.authEventIds);
    for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
      const event = this.events.get(id);
      if (event === undefined || found.has(id)) continue;
      found.set(id, event);
      stack.push(...event.authEventIds);
    }
    return [...found.values()];
  }

  private between(earliest: readonly string[], latest: readonly string[], limit: number): MatrixEvent[] {
    const found = new Map<string, MatrixEvent>();
    const queue = latest.flatMap((id) => this.events.get(id)?.prevEventIds ?? []);
    for (let id = queue.shift(); id !== undefined && found.size < limit; id = queue.shift()) {
      const event = this.events.get(id);
      if (event === undefined || found.has(id) || earliest.includes(id)) continue;
      found.set(id, event);
      queue.push(...event.prevEventIds);
    }
    return [...found.values()].reverse();
  }
}
