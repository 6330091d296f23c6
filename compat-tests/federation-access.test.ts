import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { testCertificates } from "../src/testing/certificates.ts";
import { TestIdentityServer } from "../src/testing/identity-server.ts";
import { type Answer, C, enc, type Json, type MatrixClient } from "./harness/client.ts";
import { agree, becomes, endParties, joinVia, membership, type Party, PASSWORD, PATIENCE_MS, room, sees, sharedRoom, startParty } from "./harness/parties.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { scratchFolder, waitFor } from "./harness/scratch.ts";
import { requireServers, sides } from "./sides.ts";

/** Two homeservers, an identity server beside them, and who lets whom in. */
describe("federation: who is let in", function () {
  this.timeout(10 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer | undefined;
  let identity: TestIdentityServer;
  const parties: Party[] = [];

  before("two servers can be had", async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    identity = await TestIdentityServer.start();
    // Synapse's OpenSSL takes the one, Node the other.
    const authority = join(scratchFolder("access-authority"), "ca.crt");
    writeFileSync(authority, testCertificates().ca);
    const environment = { SSL_CERT_FILE: authority, NODE_EXTRA_CA_CERTS: authority };
    const starting = [a, b].map((kind, index) => {
      // Server ACLs name hosts without their ports: each has a name of its own.
      const host = index === 0 ? ("localhost" as const) : ("127.0.0.1" as const);
      const home = { name: `access-${index}-${kind}`, postgres: postgres!, host, extra: { rc_third_party_invite: { per_second: 1e6, burst_count: 1e6 } } };
      return startParty(kind, index === 0 ? "anna" : "bert", home, { environment });
    });
    parties.push(...(await Promise.all(starting)));
  });
  after(async () => {
    await endParties(parties, postgres);
    await identity?.close();
  });

  const agreed = (roomId: string): Promise<void> => agree(parties as [Party, Party], roomId);
  const bothWays: [number, number][] = [
    [0, 1],
    [1, 0],
  ];

  describe("invites by address", () => {
    let guests = 0;
    const byAddress = (party: Party, roomId: string, address: string): Promise<Answer> =>
      party.user.request("POST", room(roomId, "invite"), {
        body: { medium: "email", address, id_server: identity.name, id_access_token: TestIdentityServer.TOKEN },
      });
    /** A user with an address of which nobody knows yet. */
    const newcomer = async (party: Party): Promise<{ guest: MatrixClient; address: string }> => {
      const name = `guest${++guests}`;
      const guest = party.server.client();
      await guest.register(name, PASSWORD);
      return { guest, address: `${name}@example.org` };
    };
    /** Has the user bind the address at the identity server, by way of the homeserver. */
    const binds = async (guest: MatrixClient, address: string): Promise<void> => {
      const session = { sid: `session-${address}`, client_secret: "a_secret" };
      identity.sessions.set(session.sid, { medium: "email", address, clientSecret: session.client_secret, code: "", validatedAt: 1 });
      await guest.post(`${C}/account/3pid/bind`, { ...session, id_server: identity.name, id_access_token: TestIdentityServer.TOKEN });
    };
    /** The identity server tells the user's homeserver about the invites. */
    const tells = (party: Party, address: string): Promise<Answer> =>
      party.server.client().request("POST", "/_matrix/federation/v1/3pid/onbind", { body: identity.noticeOf("email", address) });
    const invited = (guest: MatrixClient, roomId: string): Promise<Json> =>
      waitFor(`the invite of ${guest.userId}`, PATIENCE_MS, async () => (await guest.sync()).rooms?.invite?.[roomId]);

    for (const [m, j] of bothWays) {
      const [makerKind, joinerKind] = m === 0 ? [a, b] : [b, a];
      describe(`${makerKind} invites, a user of ${joinerKind} owns the address (${m})`, () => {
        let maker: Party;
        let joiner: Party;
        before(() => {
          [maker, joiner] = [parties[m]!, parties[j]!];
        });

        for (const version of ["2", "11", "12"]) {
          it(`version ${version}: the invite waits, is exchanged when the address is bound, and lets its owner in`, async () => {
            const roomId = await maker.user.createRoom({ preset: "private_chat", room_version: version, name: "By letter" });
            const { guest, address } = await newcomer(joiner);
            assert.equal((await byAddress(maker, roomId, address)).status, 200);
            const kept = identity.invites.at(-1)!;
            assert.deepEqual([kept.address, kept.room_id, kept.sender, kept.room_name], [address, roomId, maker.user.userId, "By letter"]);
            const waiting = await maker.user.get(room(roomId, `state/m.room.third_party_invite/${kept.token}`));
            assert.equal(waiting.public_key, identity.publicKey);
            assert.equal(waiting.public_keys[0].public_key, identity.publicKey);

            await binds(guest, address);
            const told = await tells(joiner, address);
            assert.equal(told.status, 200, told.raw.toString());
            await becomes(maker, roomId, guest.userId, "invite");
            const { events } = (await invited(guest, roomId)).invite_state as { events: Json[] };
            const invite = events.find(({ type, state_key: key }) => type === "m.room.member" && key === guest.userId);
            assert.equal(invite.content.third_party_invite.signed.mxid, guest.userId);
            await guest.post(room(roomId, "join"));
            await becomes(maker, roomId, guest.userId, "join");
            const hello = await guest.text(roomId, "your letter came");
            assert.equal((await sees(maker, roomId, hello)).sender, guest.userId);
          });
        }

        it("the server that is told is in the room already, and makes the invite itself", async () => {
          const roomId = await sharedRoom(maker, joiner);
          await maker.user.state(roomId, "m.room.join_rules", { join_rule: "invite" });
          const { guest, address } = await newcomer(joiner);
          assert.equal((await byAddress(maker, roomId, address)).status, 200);
          const { token } = identity.invites.at(-1)!;
          await waitFor("the invite in the other server's room", PATIENCE_MS, async () =>
            (await joiner.user.request("GET", room(roomId, `state/m.room.third_party_invite/${token}`))).status === 200 ? true : undefined,
          );
          await binds(guest, address);
          const told = await tells(joiner, address);
          assert.equal(told.status, 200, told.raw.toString());
          await becomes(maker, roomId, guest.userId, "invite");
          await invited(guest, roomId);
          await guest.post(room(roomId, "join"));
          await becomes(maker, roomId, guest.userId, "join");
          await agreed(roomId);
        });

        it("an address that somebody owns already is invited by its owner's name", async () => {
          const { guest, address } = await newcomer(joiner);
          await binds(guest, address);
          const roomId = await maker.user.createRoom({ preset: "private_chat" });
          const kept = identity.invites.length;
          assert.equal((await byAddress(maker, roomId, address)).status, 200);
          assert.equal(identity.invites.length, kept);
          await becomes(maker, roomId, guest.userId, "invite");
          await invited(guest, roomId);
        });

        it("an invite that was taken back, whose key is good no more, or that is for somebody else, lets nobody in", async () => {
          const { guest, address } = await newcomer(joiner);
          const { guest: other } = await newcomer(joiner);
          const roomId = await maker.user.createRoom({ preset: "private_chat" });
          assert.equal((await byAddress(maker, roomId, address)).status, 200);
          const { token } = identity.invites.at(-1)!;
          await binds(guest, address);

          identity.keyValid = false;
          const unsound = await tells(joiner, address);
          identity.keyValid = true;
          const stolen = identity.noticeOf("email", address) as Json;
          stolen.invites[0].mxid = other.userId;
          const theft = await joiner.server.client().request("POST", "/_matrix/federation/v1/3pid/onbind", { body: stolen });
          await maker.user.state(roomId, "m.room.third_party_invite", {}, token);
          const late = await tells(joiner, address);
          for (const answer of [unsound, theft, late]) assert.ok(answer.status >= 400, `${answer.status} ${answer.raw.toString()}`);
          for (const { userId } of [guest, other]) assert.equal(await membership(maker, roomId, userId), undefined);
        });
      });
    }
  });

  describe("server ACLs", () => {
    for (const [m, j] of bothWays) {
      const [denierKind, deniedKind] = m === 0 ? [a, b] : [b, a];
      it(`${denierKind} shuts ${deniedKind} out of a room: takes neither events nor EDUs from it; and lets it in again (${m})`, async () => {
        const [denier, denied] = [parties[m]!, parties[j]!];
        const { userId } = denied.user;
        const powers = { power_level_content_override: { users: { [denier.user.userId]: 100, [userId]: 100 } }, room_version: "11" };
        const open = await sharedRoom(denier, denied, powers);
        const closed = await sharedRoom(denier, denied, powers);
        const late = denied.server.client();
        await late.register(`late${m}`, PASSWORD);
        const first = await denier.user.text(closed, "read me");
        await sees(denied, closed, first);
        const host = denied.home.serverName.split(":")[0]!;
        const shut = { allow: ["*"], deny: [host, "*.elsewhere.example"], allow_ip_literals: true };
        const aclOf = (party: Party): Promise<Json> => party.user.get(room(closed, "state/m.room.server_acl"));
        await denier.user.state(closed, "m.room.server_acl", shut);
        await waitFor("the ACL at the other server", PATIENCE_MS, async () =>
          (await denied.user.request("GET", room(closed, "state/m.room.server_acl"))).body?.deny?.includes(host) ? true : undefined,
        );

        // What is sent into the open room comes after what is sent into the closed one: once it is there, the other has been judged.
        const judged = async (): Promise<void> => {
          await sees(denier, open, await denied.user.text(open, "the door is open here"));
        };
        const since = (await denier.user.sync()).next_batch as string;
        const message = await denied.user.text(closed, "let me in");
        const topic = await denied.user.state(closed, "m.room.topic", { topic: "the denied's" });
        await judged();
        for (const [typing, roomId] of [
          [true, closed],
          [true, open],
        ] as const)
          await denied.user.put(room(roomId, `typing/${enc(userId)}`), { typing, timeout: 30_000 });
        const marker = await denier.user.text(open, "read me, too");
        await sees(denied, open, marker);
        await denied.user.post(room(closed, `receipt/m.read/${enc(first)}`));
        await denied.user.post(room(open, `receipt/m.read/${enc(marker)}`));
        const ephemeral = async (roomId: string): Promise<string> =>
          JSON.stringify((await denier.user.sync({ since })).rooms?.join?.[roomId]?.ephemeral?.events ?? []);
        await waitFor("typing and receipt in the open room", PATIENCE_MS, async () => {
          const text = await ephemeral(open);
          return text.includes("m.typing") && text.includes(userId) && text.includes(marker) ? true : undefined;
        });
        assert.equal((await ephemeral(closed)).includes(userId), false);
        for (const eventId of [message, topic])
          assert.equal((await denier.user.request("GET", room(closed, `event/${enc(eventId)}`))).status, 404, "the denied server's events are not there");

        const refused = await denied.user.request("POST", `${C}/join/${enc(closed)}?server_name=${enc(denier.home.serverName)}`);
        assert.equal(refused.status, 200, "who is in the room already is in the room");
        await sees(denied, closed, await denier.user.text(closed, "you hear me still"));

        // No more may anybody come from there.
        const empty = await denier.user.createRoom({
          preset: "public_chat",
          initial_state: [{ type: "m.room.server_acl", state_key: "", content: shut }],
        });
        const outside = await late.request("POST", `${C}/join/${enc(empty)}?server_name=${enc(denier.home.serverName)}`);
        assert.equal(outside.status, 403, outside.raw.toString());
        assert.equal(await membership(denier, empty, late.userId), undefined);

        await denier.user.state(closed, "m.room.server_acl", { allow: ["*"], deny: [], allow_ip_literals: true });
        await waitFor("the open door at the other server", PATIENCE_MS, async () => ((await aclOf(denied)).deny.length === 0 ? true : undefined));
        const later = await denied.user.text(closed, "here I am");
        await sees(denier, closed, later);
        await sees(denied, closed, await denier.user.text(closed, "welcome"));
        await sees(denier, closed, await denied.user.text(closed, "thank you"));
        await agreed(closed);
        await denier.user.state(empty, "m.room.server_acl", { allow: ["*"], deny: [], allow_ip_literals: true });
        await joinVia(denied, empty, denier, late);
        await becomes(denier, empty, late.userId, "join");
      });
    }

    it("a server that is called by its address is shut out where addresses are", async () => {
      const [denier, denied] = parties as [Party, Party];
      const roomId = await denier.user.createRoom({
        preset: "public_chat",
        initial_state: [{ type: "m.room.server_acl", state_key: "", content: { allow: ["*"], deny: [], allow_ip_literals: false } }],
      });
      const answer = await denied.user.request("POST", `${C}/join/${enc(roomId)}?server_name=${enc(denier.home.serverName)}`);
      assert.equal(answer.status, 403, answer.raw.toString());
      await denier.user.state(roomId, "m.room.server_acl", { allow: ["*"], deny: [], allow_ip_literals: true });
      await joinVia(denied, roomId, denier);
      await becomes(denier, roomId, denied.user.userId, "join");
    });
  });
});
