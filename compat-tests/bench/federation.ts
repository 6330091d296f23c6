import supertest from "supertest";
import { stringify } from "../../src/lib/json.ts";
import { hashAndSign } from "../../src/protocol/event/build.ts";
import { type MatrixEvent, stateKeyOf } from "../../src/protocol/event/event.ts";
import { FederationPeer, type PeerEvent, PeerRoom } from "../../src/testing/federation-peer.ts";
import type { TestServer } from "../../src/testing/server.ts";
import { C, enc } from "../harness/client.ts";
import { sleep } from "../harness/scratch.ts";
import type { Scenario, Stage } from "./scenarios.ts";
import type { Target } from "./targets.ts";

/**
 * Federation: a peer that signs and serves lives in the process of the measurement. What it sends is made beforehand; what it serves costs
 * all servers alike. Only servers that the measurement starts can be reached by it.
 */
export const isFederated = ({ serverName }: Target): boolean => serverName !== undefined;

/** What the scenarios keep of each server that is measured. */
interface Neighbour {
  readonly peer: FederationPeer;
  readonly server: TestServer;
  room: PeerRoom;
  pdus: MatrixEvent[];
  others: FederationPeer[];
}

const neighbours = new WeakMap<Target, Neighbour>();
const open = new Set<FederationPeer>();
const PDUS_AT_ONCE = 50;
const PATIENCE_MS = 300_000;
/** Attempts at joining a room of many servers. */
const JOINS = 5;
const WARM_UPS = 4;
/** Messages of a conversation. */
const SAID = 10;
let transactions = 0;

/** Ends the peers. */
export async function closePeers(): Promise<void> {
  await Promise.all([...open].map((peer) => peer.close()));
  open.clear();
}

async function startPeer(): Promise<FederationPeer> {
  const peer = await FederationPeer.start();
  open.add(peer);
  return peer;
}

/** As much of a test server as a peer needs to talk to it. */
function asServer({ baseUrl, serverName }: Target): TestServer {
  const request = (method: "get" | "post" | "put", path: string): supertest.Test => supertest(baseUrl)[method](path);
  return { ctx: { config: { server: { serverName } } }, anonymous: { request } } as unknown as TestServer;
}

async function neighbourOf({ target }: Stage): Promise<Neighbour> {
  let own = neighbours.get(target);
  if (own === undefined) {
    const peer = await startPeer();
    own = { peer, server: asServer(target), room: PeerRoom.create(peer, peer.user("creator")), pdus: [], others: [] };
    neighbours.set(target, own);
  }
  return own;
}

/** A room of the peer with so many members, by turns of these servers. */
function makeRoom(peer: FederationPeer, members: number, servers: readonly FederationPeer[]): PeerRoom {
  const room = PeerRoom.create(peer, peer.user("creator"));
  for (let index = 0; index < members; index++) {
    const server = servers[index % servers.length]!;
    const userId = server.user(`member${index}`);
    const own = grow(
      room,
      { type: "m.room.member", sender: userId, stateKey: userId, content: { membership: "join", displayname: `Member ${index}` } },
      server,
    );
    room.setState(own);
  }
  return room;
}

/** Puts an event on the tip; `PeerRoom.add` would keep the state before each. */
function grow(room: PeerRoom, event: PeerEvent, by = room.peer): MatrixEvent {
  const built = room.build(event);
  const signed = by === room.peer ? built : hashAndSign({ ...built.json, signatures: {} }, room.version, by.name, [by.key]);
  room.learn(signed);
  room.tips = [signed.eventId];
  return signed;
}

/** Lets servers join the room. The answer is written once: it is the same for all. */
function letJoin(room: PeerRoom): void {
  const { peer } = room;
  const state = [...room.state.values()];
  const parts = [
    `"state":[${state.map(({ json }) => stringify(json)).join(",")}]`,
    `"auth_chain":[${room
      .authChain(state)
      .map(({ json }) => stringify(json))
      .join(",")}]`,
  ];
  peer.answers.unshift(({ path: [, what, roomId, subject], body }) => {
    if (roomId !== room.roomId) return undefined;
    if (what === "make_join") {
      const join = room.build({ type: "m.room.member", sender: subject!, stateKey: subject!, content: { membership: "join" } });
      const { signatures: _signatures, hashes: _hashes, ...event } = join.json;
      return { status: 200, body: { room_version: room.version.id, event } };
    }
    if (what !== "send_join") return undefined;
    room.tips = [subject!];
    const members = `"members_omitted":false,"origin":${JSON.stringify(peer.name)},"servers_in_room":[${JSON.stringify(peer.name)}]`;
    return { status: 200, body: `{${parts.join(",")},${members},"event":${stringify(body)}}` };
  });
  room.serve();
}

async function joinVia(stage: Stage, room: PeerRoom): Promise<void> {
  await stage.target.users[0]!.post(`${C}/join/${enc(room.roomId)}?server_name=${enc(room.peer.name)}`);
}

async function send({ peer, server }: Neighbour, pdus: readonly MatrixEvent[]): Promise<void> {
  for (let at = 0; at < pdus.length; at += PDUS_AT_ONCE) {
    const content = { origin: peer.name, origin_server_ts: Date.now(), pdus: pdus.slice(at, at + PDUS_AT_ONCE).map(({ json }) => json), edus: [] };
    for (;;) {
      const { status } = await peer.ask(server, "put", `/_matrix/federation/v1/send/bench${transactions++}`, content);
      if (status === 200) break;
      if (status !== 429) throw new Error(`A transaction was answered with ${status}`);
      await sleep(10);
    }
  }
}

/** Waits until a local user can read the event. */
async function arrival(stage: Stage, roomId: string, eventId: string): Promise<void> {
  const begun = performance.now();
  for (;;) {
    const { status } = await stage.target.users[0]!.request("GET", `${C}/rooms/${enc(roomId)}/event/${enc(eventId)}`);
    if (status === 200) return;
    if (performance.now() > begun + PATIENCE_MS) throw new Error(`${stage.target.label}: ${eventId} did not arrive`);
    // Who asks all the time is what the server is busy with.
    await sleep(Math.min(250, Math.max(5, (performance.now() - begun) / 50)));
  }
}

/** Sends what is prepared, until the last of it can be read. */
async function sendAll(stage: Stage, _round: number, done: (ms: number) => void): Promise<void> {
  const own = await neighbourOf(stage);
  const begun = performance.now();
  await send(own, own.pdus);
  await arrival(stage, own.room.roomId, own.pdus.at(-1)!.eventId);
  for (const _ of own.pdus) done((performance.now() - begun) / own.pdus.length);
}

const join: Scenario = {
  name: "federated join",
  what: "a user joins a room of 10,000 members on another server",
  applies: isFederated,
  async arrange(stage) {
    const own = await neighbourOf(stage);
    own.room = makeRoom(own.peer, stage.scale.members, [own.peer]);
    letJoin(own.room);
  },
  async round(stage, _round, done) {
    const begun = performance.now();
    await joinVia(stage, (await neighbourOf(stage)).room);
    done(performance.now() - begun);
  },
};

const fork: Scenario = {
  name: "federated fork",
  what: "20 branches that contradict each other about the state of the large room, and the message that joins them",
  applies: isFederated,
  async arrange(stage, round) {
    const own = await neighbourOf(stage);
    const { room, peer } = own;
    const creator = peer.user("creator");
    const base = [...room.tips];
    const before = new Map(room.state);
    own.pdus = [];
    for (let branch = 0; branch < 20; branch++) {
      const topic = room.build({ type: "m.room.topic", sender: creator, stateKey: "", content: { topic: `${round} ${branch}` }, prevEventIds: base });
      const userId = peer.user(`member${branch % stage.scale.members}`);
      const name = { membership: "join", displayname: `${round} ${branch}` };
      const member = room.build({ type: "m.room.member", sender: userId, stateKey: userId, content: name, prevEventIds: [topic.eventId] });
      for (const event of [topic, member]) room.learn(event);
      // A server that takes them out of turn asks for the state there.
      room.statesBefore.set(topic.eventId, before).set(member.eventId, new Map(before).set(stateKeyOf("m.room.topic", ""), topic));
      own.pdus.push(topic, member);
    }
    const prevEventIds = own.pdus.filter(({ type }) => type === "m.room.member").map(({ eventId }) => eventId);
    own.pdus.push(grow(room, { type: "m.room.message", sender: creator, content: { msgtype: "m.text", body: "together" }, prevEventIds }));
  },
  round: sendAll,
};

const burst: Scenario = {
  name: "federated burst",
  what: "another server sends 1,000 messages, until the last can be read",
  applies: isFederated,
  async prepare(stage) {
    const own = await neighbourOf(stage);
    own.room = await own.peer.join(own.server, await stage.target.users[0]!.createRoom({ preset: "public_chat" }), "talker");
    own.room.serve();
  },
  async arrange(stage, round) {
    const own = await neighbourOf(stage);
    const sender = own.peer.user("talker");
    const before = new Map(own.room.state);
    own.pdus = Array.from({ length: stage.scale.burst }, (_, index) =>
      grow(own.room, { type: "m.room.message", sender, content: { msgtype: "m.text", body: `burst ${round} ${index}` } }),
    );
    // Synapse takes the events of a transaction in any order, fills the gaps ten events at a time, and asks for the state behind them.
    for (const { eventId } of own.pdus) own.room.statesBefore.set(eventId, before);
  },
  round: sendAll,
};

const fanOut: Scenario = {
  name: "federated fan-out",
  what: "a message to a room with 500 other servers, until each of them has it",
  applies: isFederated,
  async prepare(stage) {
    const own = await neighbourOf(stage);
    for (let index = 0; index < stage.scale.destinations; index++) own.others.push(await startPeer());
    // Members whose server did not give its key in time are left out of the room; the next attempt knows the keys of the others.
    for (let attempt = 1; ; attempt++) {
      own.room = makeRoom(own.peer, stage.scale.destinations, own.others);
      letJoin(own.room);
      await joinVia(stage, own.room);
      const { joined } = (await stage.target.users[0]!.get(`${C}/rooms/${enc(own.room.roomId)}/joined_members`)) as { joined: object };
      const lacking = stage.scale.destinations + 2 - Object.keys(joined).length;
      if (lacking === 0) break;
      if (attempt === JOINS) throw new Error(`${stage.target.label}: ${lacking} members were not let into the room`);
    }
    for (const peer of own.others) peer.takeRaw();
    await sleep(500); // connections that have ended are known to have
    // Connections are made, keys are known, code is compiled.
    for (let round = 0; round < WARM_UPS; round++) await deliver(stage, own, [`warm-up ${round}`], () => {});
  },
  repeat: 2,
  async round(stage, round, done) {
    await deliver(stage, await neighbourOf(stage), [`to all ${round}`], done);
  },
};

const conversation: Scenario = {
  name: "federated conversation",
  what: `${SAID} messages to a room with 500 other servers, one after the other, until each of them has all`,
  applies: isFederated,
  repeat: 2,
  async round(stage, round, done) {
    await deliver(
      stage,
      await neighbourOf(stage),
      Array.from({ length: SAID }, (_, index) => `said ${round} ${index}.`),
      done,
    );
  },
};

/** Sends the messages one after the other; an operation is from the moment at which one is sent until a server has it. */
async function deliver(stage: Stage, own: Neighbour, bodies: readonly string[], done: (ms: number) => void): Promise<void> {
  const sentAt = new Map<string, number>();
  const arrivals = own.others.map(
    (peer) =>
      new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`${stage.target.label}: nothing came to ${peer.name}`)), PATIENCE_MS);
        const missing = new Set(bodies);
        // What a server sends is not looked at any closer: what that takes would be a good part of what is measured.
        peer.taking = (transaction) => {
          for (const body of missing) {
            if (!sentAt.has(body)) break; // nor are those after it
            if (!transaction.includes(body)) continue;
            missing.delete(body);
            done(performance.now() - sentAt.get(body)!);
          }
          if (missing.size > 0) return;
          clearTimeout(late);
          peer.taking = () => {};
          resolve();
        };
      }),
  );
  for (const body of bodies) {
    sentAt.set(body, performance.now());
    await stage.target.users[0]!.text(own.room.roomId, body);
  }
  await Promise.all(arrivals);
}

/** In groups that need nothing of each other: the fork is in the room that was joined last. */
export const FEDERATION: readonly (readonly Scenario[])[] = [[join, fork], [burst], [fanOut, conversation]];
