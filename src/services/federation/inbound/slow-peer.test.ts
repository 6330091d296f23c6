import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import { Readable } from "node:stream";
import { after, before, describe, it } from "mocha";
import { authorizationHeader } from "../../../outbound/federation/client.ts";
import { FakeClock } from "../../../testing/fake-clock.ts";
import { type FederatedTestServer, startFederatedServer } from "../../../testing/federated-server.ts";
import { FederationPeer, PeerRoom } from "../../../testing/federation-peer.ts";
import { makeRoom } from "../../../testing/rooms.ts";
import type { TestUser } from "../../../testing/server.ts";

const CONNECTIONS = 100;

/** A peer that takes its time, to keep the server from talking with others. */
describe("a hostile server that speaks in drops", function () {
  this.timeout(60_000);

  describe("in what it sends (slow loris)", () => {
    let clock: FakeClock;
    let server: FederatedTestServer;
    let peer: FederationPeer;
    let alice: TestUser;

    before(async () => {
      clock = new FakeClock(Date.now());
      server = await startFederatedServer({ clock });
      peer = await FederationPeer.start();
      alice = await server.register("alice");
    });
    after(() => Promise.all([server?.close(), peer?.close()]));

    it("is cut, each of its connections, while honest servers and users are served", async () => {
      const { hostname, port } = new URL(server.url);
      const drips = Array.from({ length: CONNECTIONS }, (_, index) => {
        const drip = { socket: connect(Number(port), hostname), text: "", closed: false };
        drip.socket.on("data", (chunk: Buffer) => (drip.text += chunk.toString("latin1")));
        drip.socket.on("close", () => (drip.closed = true));
        drip.socket.on("error", () => {});
        const length = index % 2 === 0 ? "Content-Length: 5000000" : "Transfer-Encoding: chunked";
        // Half of them are strangers, who are refused at once, and go on all the same.
        const path = `/_matrix/federation/v1/send/loris${index}`;
        const own = { serverName: peer.name, signingKey: peer.key };
        const authorization = index % 4 < 2 ? "" : authorizationHeader(own, { method: "PUT", destination: server.name }, path, "{}");
        drip.socket.write(
          `PUT ${path} HTTP/1.1\r\nHost: ${server.name}\r\nAuthorization: ${authorization}\r\nContent-Type: application/json\r\n${length}\r\n\r\n`,
        );
        return drip;
      });
      const drop = ({ socket }: { socket: Socket }, index: number): void => void (socket.destroyed || socket.write(index % 2 === 0 ? "{" : "1\r\n{\r\n"));
      for (let second = 0; second < 10; second++) {
        drips.forEach(drop);
        clock.advance(1_000);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok(
        drips.every(({ closed }) => !closed),
        "slow is not hostile yet",
      );
      const roomId = await makeRoom(server.ctx, alice.userId);
      const room = await peer.join(server, roomId, "bob");
      const message = room.message(peer.user("bob"), "and I am heard");
      assert.deepEqual(await peer.send(server, [message]), { [message.eventId]: {} });
      await server.as(alice).get("/_matrix/client/v3/account/whoami").expect(200);
      const isOpen = ({ closed }: { closed: boolean }): boolean => !closed;
      for (const end = Date.now() + 20_000; drips.some(isOpen); await new Promise((resolve) => setTimeout(resolve, 10))) {
        assert.ok(Date.now() < end, `${drips.filter(isOpen).length} connections are open still`);
        drips.forEach(drop);
        clock.advance(1_000);
      }
      drips.forEach(({ text }, index) => assert.match(text, index % 4 < 2 ? /^HTTP\/1\.1 40[01] / : /^HTTP\/1\.1 408 /));
      await server.as(alice).get("/_matrix/client/v3/account/whoami").expect(200);
    });

    it("keeps a room from nobody by events whose gaps it takes long not to fill", async () => {
      const honest = await FederationPeer.start();
      try {
        const roomId = await makeRoom(server.ctx, alice.userId);
        const room = await peer.join(server, roomId, "bob");
        const theirs = await honest.join(server, roomId, "carol");
        const release = server.ctx.inbound.rooms.hold(roomId);
        const gaps = Array.from({ length: 10 }, (_, index) =>
          room.build({
            type: "m.room.message",
            sender: peer.user("bob"),
            content: { body: String(index) },
            prevEventIds: [`$${String(index).padStart(43, "n")}`],
            depth: 100,
          }),
        );
        const message = theirs.message(honest.user("carol"), "as it should be");
        const stored = async (): Promise<boolean> => (await server.ctx.events.one(message.eventId)) !== undefined;
        const before: boolean[] = [];
        peer.answers.push(async ({ path: [, what] }) => {
          if (what !== "get_missing_events") return undefined;
          before.push(await stored());
          clock.advance(50_000);
          return { status: 200, body: { events: [] } };
        });
        await peer.send(server, gaps);
        await honest.send(server, [message]);
        release();
        await server.ctx.inbound.rooms.whenIdle();
        assert.deepEqual(before, [true, true, true], "the honest event was taken before anything was asked, and three questions were enough");
        assert.ok(await stored());
      } finally {
        await honest.close();
      }
    });
  });

  describe("in what it answers", () => {
    let server: FederatedTestServer;
    let peer: FederationPeer;
    let honest: FederationPeer;
    let alice: TestUser;

    before(async () => {
      server = await startFederatedServer({ config: { federation: { max_short_retries: 0, max_long_retries: 0, client_timeout: "1s" } } });
      [peer, honest] = [await FederationPeer.start(), await FederationPeer.start()];
      alice = await server.register("alice");
      peer.answers.push(() => ({ status: 200, body: drops() }));
    });
    after(() => Promise.all([server?.close(), peer?.close(), honest?.close()]));

    /** One space after the other, which JSON may begin with. */
    const drops = (): Readable =>
      Readable.from(
        (async function* () {
          for (;;) {
            yield " ";
            await new Promise((resolve) => setTimeout(resolve, 20).unref());
          }
        })(),
      );
    const id = encodeURIComponent;

    it("is given up by what asked it, and keeps nobody from asking others", async () => {
      const theirs = PeerRoom.create(honest, honest.user("creator"));
      honest.answers.push(({ path: [, what] }) => (what === "query" ? { status: 200, body: { displayname: "An honest one" } } : undefined));
      const asks = {
        join: () => server.as(alice).post(`/_matrix/client/v3/join/${id(theirs.roomId)}?server_name=${peer.name}`),
        alias: () => server.as(alice).get(`/_matrix/client/v3/directory/room/${id(`#x:${peer.name}`)}`),
        rooms: () => server.as(alice).get(`/_matrix/client/v3/publicRooms?server=${peer.name}`),
      };
      let answered = 0;
      const slow = Object.entries(asks).map(async ([name, ask]) => {
        await server.ctx.backoff.reset(peer.name);
        const { status } = await ask();
        answered++;
        assert.ok(status >= 400 && status !== 500, `${name}: ${status}`);
      });
      const { body } = await server
        .as(alice)
        .get(`/_matrix/client/v3/profile/${id(honest.user("creator"))}`)
        .expect(200);
      assert.equal(body.displayname, "An honest one");
      assert.ok(answered < slow.length, "the slow ones were under way");
      await Promise.all(slow);
    });

    it("does not delay what is sent to others", async () => {
      const roomId = await makeRoom(server.ctx, alice.userId);
      const slow = await peer.join(server, roomId, "slow");
      const room = await honest.join(server, roomId, "fast");
      for (const [one, other] of [
        [slow, room],
        [room, slow],
      ] as const)
        for (const event of one.state.values()) other.learn(event);
      await server
        .as(alice)
        .put(`/_matrix/client/v3/rooms/${id(roomId)}/send/m.room.message/1`, { msgtype: "m.text", body: "to both" })
        .expect(200);
      const got = (of: FederationPeer): boolean => of.requests.some(({ path, body }) => path[1] === "send" && JSON.stringify(body).includes("to both"));
      for (const end = Date.now() + 20_000; !got(honest); await new Promise((resolve) => setTimeout(resolve, 5)))
        assert.ok(Date.now() < end, "the honest one has it");
      await server.ctx.federationSender.settled();
      assert.equal(await server.ctx.backoff.mayTry(peer.name), false, "the slow one counts as one that does not answer");
    });
  });
});
