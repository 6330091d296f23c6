import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { makeEventFromJson } from "../../protocol/event/format.ts";
import { signEventJson, signingKeyFromSeed, type SigningKey } from "../../protocol/event/sign.ts";
import { roomVersion } from "../../protocol/room-versions.ts";
import { query } from "../../storage/database.ts";
import { type FederatedTestServer, startFederatedServer } from "../../testing/federated-server.ts";
import { FederationPeer, type PeerRoom } from "../../testing/federation-peer.ts";
import { makeRoom } from "../../testing/rooms.ts";
import type { TestUser } from "../../testing/server.ts";

const KEY_ID = "ed25519:policy_server";

describe("a room with a policy server (MSC4284)", function () {
  this.timeout(30_000);
  let server: FederatedTestServer;
  /** In the room, and its policy server. */
  let policy: FederationPeer;
  let alice: TestUser;
  let roomId: string;
  let room: PeerRoom;
  let key: SigningKey;
  let asked: JsonObject[];
  let judge: (event: JsonObject) => { status: number; body: unknown } | Promise<{ status: number; body: unknown }>;
  let txn = 0;

  before(async () => {
    server = await startFederatedServer();
    alice = await server.register("alice");
    key = signingKeyFromSeed("policy_server", new Uint8Array(32).fill(77));
  });
  beforeEach(async () => {
    await policy?.close();
    policy = await FederationPeer.start();
    asked = [];
    judge = (event) => (JSON.stringify(event.content).includes("spam") ? refusal : sign(event));
    policy.answers.push(async ({ path, body }) => {
      if (!path.join("/").endsWith("policy/v1/sign") || !isJsonObject(body)) return undefined;
      asked.push(body);
      return await judge(body);
    });
    roomId = await makeRoom(server.ctx, alice.userId);
    room = await policy.join(server, roomId, "bob");
    await state("m.room.policy", { via: policy.name, public_keys: { ed25519: key.base64 } }).expect(200);
    for (const tip of (await server.ctx.persister.head(roomId)).storedTips.keys()) room.add((await server.ctx.events.one(tip))!);
  });
  after(async () => {
    await server.close();
    await policy.close();
  });

  const refusal = { status: 403, body: { errcode: "M_FORBIDDEN", error: "That is spam" } };
  const sign = (event: JsonObject, by: SigningKey = key) => {
    const signed = signEventJson({ ...event, signatures: {} }, roomVersion("11")!, policy.name, by);
    return { status: 200, body: signed.signatures };
  };
  const path = (rest: string): string => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/${rest}`;
  const write = (body: string) => server.as(alice).put(path(`send/m.room.message/${txn++}`), { msgtype: "m.text", body });
  const state = (type: string, content: object) => server.as(alice).put(path(`state/${type}/`), content);
  const stored = async (eventId: string): Promise<JsonObject> => {
    const [row] = await query<{ json: string }>(server.ctx.read, "SELECT json FROM event_json WHERE event_id = $1", [eventId]);
    return JSON.parse(row!.json) as JsonObject;
  };
  const signatureOn = (json: JsonObject): unknown => ((json.signatures as JsonObject)[policy.name] as JsonObject | undefined)?.[KEY_ID];

  it("has it sign what local users send, beside this server's own signature", async () => {
    const { body } = await write("hello").expect(200);
    const json = await stored((body as { event_id: string }).event_id);
    assert.equal(typeof signatureOn(json), "string");
    assert.ok((json.signatures as JsonObject)[server.name]);
    assert.equal(asked.length, 1);
    assert.equal((await server.as(alice).get(path(`event/${encodeURIComponent((body as { event_id: string }).event_id)}`))).status, 200);
    await state("m.room.topic", { topic: "judged, too" }).expect(200);
    assert.equal(asked.length, 2);
  });

  it("has what it refuses refused to the user, in its words, and goes on", async () => {
    const { status, body } = await write("spam");
    assert.deepEqual([status, body], [403, { errcode: "M_FORBIDDEN", error: "That is spam" }]);
    await write("no such thing").expect(200);
    const { chunk } = (await server.as(alice).get(path("messages?dir=b&limit=5")).expect(200)).body as { chunk: JsonObject[] };
    assert.deepEqual(
      chunk.filter(({ type }) => type === "m.room.message").map(({ content }) => (content as JsonObject).body),
      ["no such thing"],
    );
  });

  it("sends nothing without a signature by the key that the room names: not another's, not nonsense, and logs nobody out", async () => {
    const answers: unknown[] = [
      {},
      [],
      null,
      "x",
      { [policy.name]: { [KEY_ID]: 5 } },
      { [policy.name]: { [KEY_ID]: "AAAA" } },
      { [policy.name]: { [KEY_ID]: "A".repeat(60_000) } },
    ];
    for (const answer of answers) {
      judge = () => ({ status: 200, body: answer });
      const { status } = await write("hello");
      assert.ok(status === 403 || status === 502, `${JSON.stringify(answer)?.slice(0, 50)}: ${status}`);
    }
    judge = (event) => sign(event, signingKeyFromSeed("policy_server", new Uint8Array(32).fill(1)));
    await write("hello").expect(403);
    judge = () => ({ status: 401, body: { errcode: "M_UNKNOWN_TOKEN", error: "x", soft_logout: true } });
    const { status, body } = await write("hello");
    assert.deepEqual([status, (body as JsonObject).errcode], [400, "M_UNKNOWN"]);
  });

  it("is asked under the older path where it does not know the newer", async () => {
    let old = 0;
    policy.answers.unshift(({ path: asks, body }) => {
      const where = asks.join("/");
      if (where.endsWith("policy/v1/sign")) return { status: 404, body: { errcode: "M_UNRECOGNIZED", error: "?" } };
      if (!where.endsWith("policy/unstable/org.matrix.msc4284/sign")) return undefined;
      old++;
      return sign(body as JsonObject);
    });
    await write("hello").expect(200);
    assert.equal(old, 1);
  });

  it("does not keep others from writing while it takes its time", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => (release = resolve));
    judge = async (event) => {
      if (JSON.stringify(event.content).includes("slow")) await held;
      return sign(event);
    };
    const slow = write("slow");
    const answer = slow.then(({ status }) => status);
    await write("quick").expect(200);
    release();
    assert.equal(await answer, 200);
  });

  it("has events from others soft-failed that it does not sign; those that carry its signature it is not asked about", async () => {
    const bob = policy.user("bob");
    const good = room.message(bob, "good");
    const bad = room.build({ type: "m.room.message", sender: bob, content: { msgtype: "m.text", body: "spam" } });
    await policy.send(server, [good, bad]);
    assert.equal(asked.length, 2);
    assert.equal((await server.ctx.events.one(good.eventId))?.internal.soft_failed, undefined);
    assert.equal(typeof signatureOn(await stored(good.eventId)), "string");
    const { internal } = (await server.ctx.events.one(bad.eventId))!;
    assert.deepEqual([internal.soft_failed, internal.policy_server_spammy], [true, true]);
    assert.ok(!(await server.ctx.persister.head(roomId)).storedTips.has(bad.eventId));
    const built = room.build({ type: "m.room.message", sender: bob, content: { msgtype: "m.text", body: "signed" }, prevEventIds: [good.eventId] });
    await policy.send(server, [signEventJson(built.json, room.version, policy.name, key)]);
    assert.equal(asked.length, 2);
    assert.equal((await server.ctx.events.one(built.eventId))?.internal.soft_failed, undefined);
  });

  it("judges events by what is signed of them: what is not may have no canonical form", async () => {
    const bob = policy.user("bob");
    const plain = room.message(bob, "odd");
    const odd = makeEventFromJson({ ...plain.json, unsigned: { lone: "\ud800" } }, room.version);
    const judged = await server.ctx.policyServers.judge(roomId, [odd, room.message(bob, "good"), room.message(bob, "spam")]);
    assert.deepEqual(
      judged.map(({ internal }) => internal.soft_failed ?? false),
      [false, false, true],
    );
  });

  it("does not count where it cannot: when it is not in the room, has no key, or is this server; nor about who it is", async () => {
    for (const content of [
      { via: "elsewhere.example", public_keys: { ed25519: key.base64 } },
      { via: server.name, public_keys: { ed25519: key.base64 } },
      { via: policy.name },
      { via: policy.name, public_keys: { ed25519: 5 } },
      { via: 5, public_keys: [] },
    ]) {
      await state("m.room.policy", content).expect(200);
      await write("spam").expect(200);
    }
    assert.equal(asked.length, 0);
  });
});
