import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, it } from "mocha";
import { FederationPeer } from "../testing/federation-peer.ts";
import { type FederatedTestServer, startFederatedServer } from "../testing/federated-server.ts";
import type { TestClient, TestUser } from "../testing/server.ts";
import { routes } from "./routes.ts";

const C = "/_matrix/client/v3";
const id = encodeURIComponent;

/** What went wrong in other servers at the edge, by the number or name of the advisory; more stands beside what it concerns. */
describe("advisories about clients and media", function () {
  this.timeout(60_000);
  let server: FederatedTestServer;
  let peer: FederationPeer;
  let alice: TestUser;
  let bob: TestUser;
  let as: Record<"alice" | "bob", TestClient>;

  before(async () => {
    server = await startFederatedServer();
    peer = await FederationPeer.start();
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
    as = { alice: server.as(alice), bob: server.as(bob) };
  });
  after(async () => {
    await server.close();
    await peer.close();
  });

  let txn = 0;
  const createRoom = (body: object = {}): Promise<string> => as.alice.createRoom(body);
  const send = (roomId: string, body: string, client = as.alice): Promise<string> => client.send(roomId, body);
  const port = (): number => Number(new URL((server.anonymous.get("/") as unknown as { url: string }).url).port);

  /** Bytes to the server as they are; resolves with all that came back when the server closes, or after the number of answers. */
  const raw = (bytes: string, answers: number): Promise<string> =>
    new Promise((resolve, reject) => {
      let text = "";
      const socket = connect(port(), "127.0.0.1", () => socket.write(bytes));
      socket.setTimeout(20_000, () => socket.destroy(new Error("no answer")));
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString("utf8");
        if ([...text.matchAll(/HTTP\/1\.1 \d/g)].length >= answers && /\}\s*$/.test(text)) socket.end();
      });
      socket.on("close", () => resolve(text));
      socket.on("error", (error) => (text === "" ? reject(error) : resolve(text)));
    });

  it("CVE-2024-52805, advisory 7: refuses multipart bodies in any case of its name, on every route that takes JSON", async () => {
    const taking = routes.filter(({ bodyType, auth, when }) => bodyType === "json" && auth === "none" && when === undefined);
    assert.ok(taking.length > 5);
    const body = `--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n${"b".repeat(100_000)}\r\n--x--\r\n`;
    for (const { methods, paths } of taking) {
      const path = paths[0]!.replace(/:\w+=([^/|]+)[^/]*/g, "$1").replace(/[:*]\w+/g, "x");
      for (const type of ["multipart/form-data; boundary=x", "Multipart/Form-Data; boundary=x", " MULTIPART/mixed"]) {
        const answer = await server.anonymous
          .request(methods[0]!.toLowerCase() as "post", path)
          .set("Content-Type", type)
          .send(body);
        assert.equal(answer.status, 415, `${path} ${type}: ${answer.text}`);
      }
    }
  });

  it("CVE-2024-41671: answers pipelined requests in their order, each to whom it belongs", async () => {
    const whoami = (user: TestUser): string => `GET ${C}/account/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${user.accessToken}\r\n\r\n`;
    const order = [alice, bob, bob, alice, bob, alice];
    const text = await raw(order.map(whoami).join(""), order.length);
    assert.deepEqual(
      [...text.matchAll(/"user_id":"([^"]+)"/g)].map(([, userId]) => userId),
      order.map(({ userId }) => userId),
    );
  });

  it("CVE-2020-10108, CVE-2020-10109: refuses requests of which it is unclear where they end", async () => {
    const head = `POST ${C}/login HTTP/1.1\r\nHost: x\r\n`;
    for (const [what, request] of Object.entries({
      "two lengths": `${head}Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}`,
      "a length and chunks": `${head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
      "a bare line feed in a header": `${head}X-A: b\nContent-Length: 2\r\n\r\n{}`.replace("X-A", "X-A\rX-B"),
      "a space before the colon": `${head}Content-Length : 2\r\n\r\n{}`,
    })) {
      const text = await raw(`${request}GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n\r\n`, 99);
      assert.match(text, /^HTTP\/1\.1 400/, what);
      assert.equal([...text.matchAll(/HTTP\/1\.1 \d/g)].length, 1, what);
    }
  });

  it("CVE-2024-37303: never fetches media of other servers for those who show no token", async () => {
    const asked = peer.requests.length;
    for (const path of [
      `/_matrix/media/v3/download/${peer.name}/abc`,
      `/_matrix/media/r0/download/${peer.name}/abc/x.png`,
      `/_matrix/media/v3/thumbnail/${peer.name}/abc?width=32&height=32`,
      `/_matrix/media/v1/thumbnail/${peer.name}/abc?width=32&height=32&method=crop`,
    ])
      await server.anonymous.get(path).expect(404);
    await server.anonymous.get(`/_matrix/client/v1/media/download/${peer.name}/abc`).expect(401);
    assert.equal(peer.requests.length, asked);
  });

  it("CVE-2021-39163: strangers learn nothing of a private room", async () => {
    const roomId = await createRoom({ preset: "private_chat", name: "Secret name", topic: "Secret topic" });
    for (const path of [
      `${C.replace("v3", "v1")}/room_summary/${id(roomId)}`,
      `/_matrix/client/v1/rooms/${id(roomId)}/hierarchy`,
      `${C}/rooms/${id(roomId)}/state`,
      `${C}/rooms/${id(roomId)}/members`,
      `${C}/rooms/${id(roomId)}/joined_members`,
      `${C}/rooms/${id(roomId)}/messages?dir=b`,
      `${C}/rooms/${id(roomId)}/initialSync`,
      `${C}/rooms/${id(roomId)}/aliases`,
    ]) {
      for (const client of [as.bob, server.anonymous]) {
        const answer = await client.get(path);
        assert.ok(answer.status >= 400 && answer.status < 500, `${path}: ${answer.status}`);
        assert.doesNotMatch(answer.text, /Secret|joined_members":\s*\d/);
      }
    }
    const { body } = await as.bob.post(`${C}/publicRooms`, { filter: { generic_search_term: "Secret" } }).expect(200);
    assert.deepEqual(body.chunk, []);
  });

  it("CVE-2021-21393: has no groups", async () => {
    for (const path of [`${C}/create_group`, `${C}/joined_groups`, `${C}/groups/${id("+a:test")}/profile`, "/_matrix/federation/v1/groups/x/profile"])
      assert.equal((await as.alice.get(path).expect(404)).body.errcode, "M_UNRECOGNIZED");
  });

  it("CVE-2020-26890: takes no numbers into events that others cannot read", async () => {
    const roomId = await createRoom();
    for (const [n, value] of ["NaN", "Infinity", "-Infinity", "1e999", "1.5", "-0.0", "9007199254740993", '"\\ud800"', "01", "+1", ".5"].entries()) {
      const answer = await as.alice
        .request("put", `${C}/rooms/${id(roomId)}/send/m.x/n${n}`)
        .set("Content-Type", "application/json")
        .send(`{"value":${value}}`);
      assert.equal(answer.status, 400, `${value}: ${answer.text}`);
      assert.match(answer.body.errcode as string, /^M_(?:NOT_JSON|BAD_JSON)$/);
    }
    const twice = await as.alice
      .request("put", `${C}/rooms/${id(roomId)}/send/m.x/twice`)
      .set("Content-Type", "application/json")
      .send('{"a":1,"a":2}')
      .expect(200);
    const { body } = await as.alice.get(`${C}/rooms/${id(roomId)}/event/${id(twice.body.event_id as string)}`).expect(200);
    assert.deepEqual(body.content, { a: 2 });
  });

  it("advisory 71: shows redacted events redacted, whichever way they are asked for", async () => {
    const roomId = await createRoom({ preset: "public_chat" });
    await as.bob.post(`${C}/rooms/${id(roomId)}/join`).expect(200);
    const root = await send(roomId, "root");
    const filter = (await as.bob.post(`${C}/user/${id(bob.userId)}/filter`, {}).expect(200)).body.filter_id as string;
    const reply = (
      await as.alice
        .put(`${C}/rooms/${id(roomId)}/send/m.room.message/a${++txn}`, {
          msgtype: "m.text",
          body: "TELLTALE",
          "m.relates_to": { rel_type: "m.thread", event_id: root },
        })
        .expect(200)
    ).body.event_id as string;
    await as.alice.put(`${C}/rooms/${id(roomId)}/state/m.room.topic`, { topic: "TELLTALE" }).expect(200);
    const topic = (await as.alice.get(`${C}/rooms/${id(roomId)}/state/m.room.topic?format=event`).expect(200)).body.event_id as string;
    for (const eventId of [reply, topic]) await as.alice.put(`${C}/rooms/${id(roomId)}/redact/${id(eventId)}/a${++txn}`, {}).expect(200);
    const room = `${C}/rooms/${id(roomId)}`;
    for (const path of [
      `${room}/event/${id(reply)}`,
      `${room}/context/${id(reply)}?limit=20`,
      `${room}/messages?dir=b&limit=50`,
      `${room}/state`,
      `${room}/initialSync`,
      `/_matrix/client/v1/rooms/${id(roomId)}/threads`,
      `/_matrix/client/v1/rooms/${id(roomId)}/relations/${id(root)}?recurse=true`,
      `${C}/sync?filter=${filter}`,
      `${C}/events/${id(reply)}`,
      `${C}/notifications`,
      `${C}/initialSync?limit=20`,
      `/_matrix/client/v1/room_summary/${id(roomId)}`,
    ]) {
      const answer = await as.bob.get(path);
      assert.ok(answer.status < 500, path);
      assert.doesNotMatch(answer.text, /TELLTALE/, path);
    }
    const sliding = { lists: { a: { ranges: [[0, 9]], required_state: [["*", "*"]], timeline_limit: 20 } } };
    assert.doesNotMatch((await as.bob.post("/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0", sliding).expect(200)).text, /TELLTALE/);
    const search = { search_categories: { room_events: { search_term: "TELLTALE" } } };
    assert.equal((await as.bob.post(`${C}/search`, search).expect(200)).body.search_categories.room_events.results.length, 0);
  });

  it("CVE-2024-53867, SEC10: sliding sync tells those who left nothing of what came later", async () => {
    for (const [n, how] of (["leave", "kick", "ban"] as const).entries()) {
      const roomId = await createRoom({ preset: "public_chat" });
      await as.bob.post(`${C}/rooms/${id(roomId)}/join`).expect(200);
      const ask = async (pos: string | undefined, conn: string): Promise<{ pos: string; text: string }> => {
        const query = pos === undefined ? "timeout=0" : `timeout=0&pos=${id(pos)}`;
        const body = {
          conn_id: conn,
          lists: { a: { ranges: [[0, 99]], required_state: [["*", "*"]], timeline_limit: 20 } },
          room_subscriptions: { [roomId]: { required_state: [["*", "*"]], timeline_limit: 20 } },
        };
        const answer = await as.bob.post(`/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?${query}`, body).expect(200);
        return { pos: answer.body.pos as string, text: answer.text };
      };
      const first = await ask(undefined, `kept${n}`);
      if (how === "leave") await as.bob.post(`${C}/rooms/${id(roomId)}/leave`).expect(200);
      else await as.alice.post(`${C}/rooms/${id(roomId)}/${how}`, { user_id: bob.userId }).expect(200);
      await as.alice.put(`${C}/rooms/${id(roomId)}/state/m.room.name`, { name: "AFTERWARDS" }).expect(200);
      await as.alice.put(`${C}/rooms/${id(roomId)}/state/m.room.topic`, { topic: "AFTERWARDS" }).expect(200);
      await send(roomId, "AFTERWARDS");
      const resumed = await ask(first.pos, `kept${n}`);
      const again = await ask(resumed.pos, `kept${n}`);
      const anew = await ask(undefined, `new${n}`);
      for (const { text } of [resumed, again, anew]) assert.doesNotMatch(text, /AFTERWARDS/, how);
    }
  });

  it("advisory 85: no token acts for another account", async () => {
    const other = id(alice.userId);
    const roomId = await createRoom({ preset: "public_chat" });
    await as.bob.post(`${C}/rooms/${id(roomId)}/join`).expect(200);
    const attempts: [method: "get" | "put" | "post" | "delete", path: string, body?: object][] = [
      ["put", `${C}/profile/${other}/displayname`, { displayname: "x" }],
      ["put", `${C}/profile/${other}/avatar_url`, { avatar_url: "mxc://a/b" }],
      ["get", `${C}/user/${other}/account_data/m.direct`],
      ["put", `${C}/user/${other}/account_data/m.direct`, {}],
      ["put", `${C}/user/${other}/rooms/${id(roomId)}/account_data/m.x`, {}],
      ["get", `${C}/user/${other}/rooms/${id(roomId)}/tags`],
      ["put", `${C}/user/${other}/rooms/${id(roomId)}/tags/u.x`, {}],
      ["post", `${C}/user/${other}/filter`, {}],
      ["get", `${C}/user/${other}/filter/0`],
      ["post", `${C}/user/${other}/openid/request_token`, {}],
      ["put", `${C}/presence/${other}/status`, { presence: "online" }],
      ["put", `${C}/rooms/${id(roomId)}/typing/${other}`, { typing: true }],
      ["put", `${C}/rooms/${id(roomId)}/state/m.room.member/${other}`, { membership: "join", displayname: "x" }],
      ["put", `/_synapse/admin/v2/users/${other}`, { admin: true }],
      ["get", `/_synapse/admin/v1/whois/${other}`],
      ["delete", `${C}/devices/${id(alice.deviceId)}`, {}],
    ];
    for (const [method, path, body] of attempts) {
      const answer = await (method === "get" ? as.bob.get(path) : as.bob[method](path, body));
      assert.ok([400, 401, 403, 404].includes(answer.status), `${method} ${path}: ${answer.status} ${answer.text}`);
    }
    await as.alice.get(`${C}/account/whoami`).expect(200);
    // Nor does a name in the query make a user somebody else: that is for application services.
    const { body } = await as.bob.get(`${C}/account/whoami?user_id=${other}`);
    assert.equal(body.user_id, bob.userId);
  });

  it("advisory 67: no page may be framed by another site", async () => {
    for (const path of [
      "/_matrix/static/",
      "/_matrix/static/client/login/",
      "/_synapse/client/media_upload_limit_exceeded",
      `${C}/auth/m.login.dummy/fallback/web?session=x`,
    ]) {
      const answer = await server.anonymous.get(path);
      if (!/html/.test(answer.headers["content-type"] ?? "")) continue;
      assert.equal(answer.headers["x-frame-options"], "DENY", path);
      assert.match(answer.headers["content-security-policy"]!, /frame-ancestors 'none'/, path);
    }
  });
});
