import assert from "node:assert/strict";
import { C, enc, type Json, type MatrixClient, V1 } from "./harness/client.ts";
import { makeFederatedHome } from "./harness/federated.ts";
import type { Home } from "./harness/home.ts";
import { checkInvariants, describeViolations } from "./harness/invariants.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { waitFor } from "./harness/scratch.ts";
import { startServer, type RunningServer, type ServerKind } from "./harness/server.ts";
import { requireServers, sides } from "./sides.ts";

/** A homeserver with one user on it. */
interface Party {
  readonly kind: ServerKind;
  readonly home: Home;
  server: RunningServer;
  readonly user: MatrixClient;
}

const VERSIONS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
const PATIENCE_MS = 20_000;

/** Two homeservers that talk with each other over TLS, each with its own database. */
describe("federation: two servers", function () {
  this.timeout(5 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  const parties: Party[] = [];

  before("two servers can be had", async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    for (const [index, kind] of [a, b].entries()) {
      const home = await makeFederatedHome({ name: `fed-${index}-${kind}`, postgres });
      const server = await startServer(kind, home);
      const user = server.client();
      await user.register(index === 0 ? "anna" : "bert", "a long password of ours");
      parties.push({ kind, home, server, user });
    }
  });

  after(async () => {
    for (const { server, home } of parties) {
      if (!server.exited()) await server.stop().catch(() => server.kill());
      if (process.env["COMPAT_KEEP"] === undefined) await postgres.dropDatabase(home.database);
    }
    await postgres?.stop();
  });

  const room = (roomId: string, rest: string): string => `${C}/rooms/${enc(roomId)}/${rest}`;
  const joinVia = (party: Party, roomId: string, via: Party): Promise<Json> =>
    party.user.post(`${C}/join/${enc(roomId)}?server_name=${enc(via.home.serverName)}`);
  const sees = (party: Party, roomId: string, eventId: string): Promise<Json> =>
    waitFor(`${eventId} at ${party.kind}`, PATIENCE_MS, async () => {
      const answer = await party.user.request("GET", room(roomId, `event/${enc(eventId)}`));
      return answer.status === 200 ? (answer.body as Json) : undefined;
    });
  const membership = async (party: Party, roomId: string, userId: string): Promise<string | undefined> => {
    const answer = await party.user.request("GET", room(roomId, `state/m.room.member/${enc(userId)}`));
    return answer.status === 200 ? answer.body.membership : undefined;
  };
  const becomes = (party: Party, roomId: string, userId: string, wanted: string): Promise<true> =>
    waitFor(`${userId} is ${wanted} at ${party.kind}`, PATIENCE_MS, async () => ((await membership(party, roomId, userId)) === wanted ? true : undefined));
  const stateOf = async (party: Party, roomId: string): Promise<string[]> =>
    ((await party.user.get(room(roomId, "state"))) as Json[]).map((event) => event.event_id as string).sort();
  const extremities = async (party: Party, roomId: string): Promise<string[]> =>
    (await postgres.query<{ event_id: string }>(party.home.database, "SELECT event_id FROM event_forward_extremities WHERE room_id = $1", [roomId]))
      .map((row) => row.event_id)
      .sort();
  const agree = async (roomId: string): Promise<void> => {
    const [one, two] = parties as [Party, Party];
    await waitFor("the same extremities", PATIENCE_MS, async () =>
      JSON.stringify(await extremities(one, roomId)) === JSON.stringify(await extremities(two, roomId)) ? true : undefined,
    );
    assert.deepEqual(await stateOf(one, roomId), await stateOf(two, roomId));
  };
  const publicRoom = (party: Party, more: Json = {}): Promise<string> => party.user.createRoom({ preset: "public_chat", ...more });
  const shared = async (maker: Party, joiner: Party, more: Json = {}): Promise<string> => {
    const roomId = await publicRoom(maker, more);
    await joinVia(joiner, roomId, maker);
    return roomId;
  };

  for (const [m, j] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const [makerKind, joinerKind] = m === 0 ? [a, b] : [b, a];
    describe(`${makerKind} makes rooms, ${joinerKind} comes in (${m})`, () => {
      let maker: Party;
      let joiner: Party;
      before(() => {
        [maker, joiner] = [parties[m]!, parties[j]!];
      });

      for (const version of VERSIONS) {
        it(`version ${version}: join, messages, state and redactions both ways`, async () => {
          const roomId = await shared(maker, joiner, { room_version: version });
          const first = await maker.user.text(roomId, "from the maker");
          await sees(joiner, roomId, first);
          const second = await joiner.user.text(roomId, "from the joiner");
          await sees(maker, roomId, second);
          await maker.user.state(roomId, "m.room.topic", { topic: "told" });
          await joiner.user.redact(roomId, second, "oops");
          await waitFor("redaction", PATIENCE_MS, async () => (Object.keys((await sees(maker, roomId, second)).content).length === 0 ? true : undefined));
          await agree(roomId);
        });
      }

      it("invites: accepted, rejected, withdrawn", async () => {
        for (const end of ["join", "leave", "withdrawn"]) {
          const roomId = await maker.user.createRoom({ preset: "private_chat" });
          await maker.user.invite(roomId, joiner.user.userId);
          await waitFor("invite", PATIENCE_MS, async () => (((await joiner.user.sync()).rooms?.invite ?? {})[roomId] === undefined ? undefined : true));
          if (end === "withdrawn") {
            await maker.user.kick(roomId, joiner.user.userId);
            await waitFor("withdrawal", PATIENCE_MS, async () => (((await joiner.user.sync()).rooms?.invite ?? {})[roomId] === undefined ? true : undefined));
          } else {
            await joiner.user.post(room(roomId, end));
            await becomes(maker, roomId, joiner.user.userId, end);
          }
        }
      });

      it("knocks, and the invite that answers", async () => {
        const roomId = await maker.user.createRoom({
          preset: "private_chat",
          initial_state: [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }],
        });
        await joiner.user.post(`${C}/knock/${enc(roomId)}?server_name=${enc(maker.home.serverName)}`, { reason: "please" });
        await becomes(maker, roomId, joiner.user.userId, "knock");
        await maker.user.invite(roomId, joiner.user.userId);
        await joiner.user.post(room(roomId, "join"));
        await becomes(maker, roomId, joiner.user.userId, "join");
        await agree(roomId);
      });

      it("restricted joins", async () => {
        const space = await shared(maker, joiner);
        const rules = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: space }] };
        const roomId = await maker.user.createRoom({ preset: "private_chat", initial_state: [{ type: "m.room.join_rules", state_key: "", content: rules }] });
        await joinVia(joiner, roomId, maker);
        await becomes(maker, roomId, joiner.user.userId, "join");
        await agree(roomId);
      });

      it("leaving and coming back; kicks and bans", async () => {
        const roomId = await shared(maker, joiner);
        await joiner.user.leave(roomId);
        await becomes(maker, roomId, joiner.user.userId, "leave");
        await maker.user.text(roomId, "in between");
        await joinVia(joiner, roomId, maker);
        await sees(maker, roomId, await joiner.user.text(roomId, "back"));
        await agree(roomId);
        await maker.user.ban(roomId, joiner.user.userId);
        const banned = "SELECT 1 FROM local_current_membership WHERE room_id = $1 AND membership = 'ban'";
        await waitFor("ban", PATIENCE_MS, async () => ((await postgres.query(joiner.home.database, banned, [roomId])).length > 0 ? true : undefined));
        const again = await joiner.user.request("POST", `${C}/join/${enc(roomId)}?server_name=${enc(maker.home.serverName)}`);
        assert.equal(again.status, 403);
      });

      it("typing, receipts, presence", async () => {
        const roomId = await shared(maker, joiner);
        const eventId = await maker.user.text(roomId, "read me");
        await sees(joiner, roomId, eventId);
        await joiner.user.put(room(roomId, `typing/${enc(joiner.user.userId)}`), { typing: true, timeout: 30_000 });
        await joiner.user.post(room(roomId, `receipt/m.read/${enc(eventId)}`));
        await joiner.user.put(`${C}/presence/${enc(joiner.user.userId)}/status`, { presence: "online", status_msg: `via ${joiner.kind}` });
        await waitFor("typing and receipt", PATIENCE_MS, async () => {
          const text = JSON.stringify((await maker.user.sync()).rooms?.join?.[roomId]?.ephemeral?.events ?? []);
          return text.includes("m.typing") && text.includes("m.receipt") && text.includes(joiner.user.userId) ? true : undefined;
        });
        await waitFor("presence", PATIENCE_MS, async () => {
          const answer = await maker.user.request("GET", `${C}/presence/${enc(joiner.user.userId)}/status`);
          return answer.body?.status_msg === `via ${joiner.kind}` ? true : undefined;
        });
      });

      it("device lists, keys and to-device messages", async () => {
        await shared(maker, joiner);
        const { user } = joiner;
        const since = (await maker.user.sync()).next_batch;
        await user.post(`${C}/keys/upload`, {
          device_keys: {
            user_id: user.userId,
            device_id: user.deviceId,
            algorithms: ["m.olm.v1"],
            keys: { [`curve25519:${user.deviceId}`]: "c".repeat(43), [`ed25519:${user.deviceId}`]: "a".repeat(43) },
            signatures: { [user.userId]: {} },
          },
          one_time_keys: { "signed_curve25519:AAAAAQ": { key: "b".repeat(43), signatures: { [user.userId]: {} } } },
        });
        await waitFor("changed device list", PATIENCE_MS, async () =>
          (await maker.user.sync({ since })).device_lists?.changed?.includes(user.userId) ? true : undefined,
        );
        const found = await maker.user.post(`${C}/keys/query`, { device_keys: { [user.userId]: [] } });
        assert.deepEqual(found.failures, {});
        assert.ok(found.device_keys[user.userId][user.deviceId]);
        const claimed = await maker.user.post(`${C}/keys/claim`, { one_time_keys: { [user.userId]: { [user.deviceId]: "signed_curve25519" } } });
        assert.ok(claimed.one_time_keys[user.userId][user.deviceId]);
        await maker.user.put(`${C}/sendToDevice/m.compat/${Date.now()}`, { messages: { [user.userId]: { [user.deviceId]: { hello: makerKind } } } });
        await waitFor("to-device message", PATIENCE_MS, async () =>
          JSON.stringify((await user.sync()).to_device ?? {}).includes("m.compat") ? true : undefined,
        );
      });

      it("media, profiles, aliases, directory, space", async () => {
        const upload = await maker.user.call("POST", "/_matrix/media/v3/upload?filename=note.txt", {
          body: Buffer.from("over the wire"),
          headers: { "content-type": "text/plain" },
        });
        const [, , origin, mediaId] = (upload.content_uri as string).split("/") as [string, string, string, string];
        const media = await joiner.user.request("GET", `${V1}/media/download/${origin}/${mediaId}`);
        assert.equal(media.raw.toString(), "over the wire");
        assert.match(String(media.headers["content-disposition"]), /note\.txt/);

        await maker.user.put(`${C}/profile/${enc(maker.user.userId)}/displayname`, { displayname: "The maker" });
        assert.equal((await joiner.user.get(`${C}/profile/${enc(maker.user.userId)}`)).displayname, "The maker");

        const roomId = await publicRoom(maker, { visibility: "public", room_alias_name: `agora${m}`, name: "Agora", creation_content: { type: "m.space" } });
        const alias = `#agora${m}:${maker.home.serverName}`;
        assert.equal((await joiner.user.get(`${C}/directory/room/${enc(alias)}`)).room_id, roomId);
        // Synapse remembers the list of another server for half a minute.
        await waitFor("directory", 60_000, async () => {
          const page = await joiner.user.get(`${C}/publicRooms`, { server: maker.home.serverName });
          return (page.chunk as Json[]).some((entry) => entry.room_id === roomId) ? true : undefined;
        });
        const summary = await joiner.user.get(`/_matrix/client/unstable/im.nheko.summary/summary/${enc(roomId)}`, { via: maker.home.serverName });
        assert.equal(summary.name, "Agora");
        await joiner.user.join(alias);
        assert.equal((await joiner.user.get(`${V1}/rooms/${enc(roomId)}/hierarchy`)).rooms[0].room_id, roomId);
      });

      it("history from before the join, and the event nearest to a time", async () => {
        const roomId = await publicRoom(maker);
        const old: string[] = [];
        for (let i = 0; i < 25; i++) old.push(await maker.user.text(roomId, `old ${i}`));
        await joinVia(joiner, roomId, maker);
        const seen = new Set<string>();
        let from: string | undefined;
        for (let page = 0; page < 10; page++) {
          const { chunk, end } = await joiner.user.get(room(roomId, "messages"), { dir: "b", limit: 10, from });
          for (const event of chunk as Json[]) seen.add(event.event_id);
          if (end === undefined) break;
          from = end;
        }
        assert.deepEqual(
          old.filter((id) => !seen.has(id)),
          [],
        );
        const nearest = await joiner.user.get(`${V1}/rooms/${enc(roomId)}/timestamp_to_event`, { ts: 0, dir: "f" });
        assert.equal((await sees(joiner, roomId, nearest.event_id)).type, "m.room.create");
      });

      it("catch-up after the joiner was away, and after the maker was", async () => {
        const roomId = await shared(maker, joiner);
        const other = await shared(maker, joiner);
        for (const [away, present] of [
          [joiner, maker],
          [maker, joiner],
        ] as const) {
          await sees(away, roomId, await present.user.text(roomId, "before"));
          await away.server.stop();
          const missed = [await present.user.text(roomId, "missed 1"), await present.user.text(roomId, "missed 2")];
          const elsewhere = await present.user.text(other, "missed 3");
          await present.user.put(`${C}/sendToDevice/m.missed/${Date.now()}`, { messages: { [away.user.userId]: { "*": { n: 1 } } } });
          away.server = await startServer(away.kind, away.home);
          // A sign of life, as any server gives soon after its start.
          await away.user.get(`${C}/profile/${enc(present.user.userId)}`);
          await away.user.text(roomId, "here again");
          for (const id of missed) await sees(away, roomId, id);
          await sees(away, other, elsewhere);
          await waitFor("to-device message", 90_000, async () =>
            JSON.stringify((await away.user.sync()).to_device ?? {}).includes("m.missed") ? true : undefined,
          );
          await agree(roomId);
        }
      });
    });
  }

  describe("apart and together", () => {
    it("both come to the same state after they changed it while they could not talk", async () => {
      const [one, two] = parties as [Party, Party];
      const roomId = await shared(one, two, { power_level_content_override: { users: { [one.user.userId]: 100, [two.user.userId]: 100 } } });
      await sees(one, roomId, await two.user.text(roomId, "before"));
      await two.server.stop();
      await one.user.state(roomId, "m.room.topic", { topic: "one" });
      await one.user.state(roomId, "m.room.name", { name: "one" });
      await one.server.stop();
      two.server = await startServer(two.kind, two.home);
      await two.user.state(roomId, "m.room.topic", { topic: "two" });
      await two.user.state(roomId, "m.room.join_rules", { join_rule: "invite" });
      one.server = await startServer(one.kind, one.home);
      await one.user.get(`${C}/profile/${enc(two.user.userId)}`);
      await two.user.get(`${C}/profile/${enc(one.user.userId)}`);
      const [first, second] = [await one.user.text(roomId, "one is back"), await two.user.text(roomId, "two is back")];
      await sees(two, roomId, first);
      await sees(one, roomId, second);
      await sees(two, roomId, await one.user.text(roomId, "together"));
      await agree(roomId);
    });

    it("both leave sound databases", async () => {
      for (const { server, home, kind } of parties) {
        await waitFor(
          "background updates are done",
          120_000,
          async () => ((await postgres.query(home.database, "SELECT 1 FROM background_updates LIMIT 1")).length === 0 ? true : undefined),
          1000,
        );
        await server.stop();
        const violations = await checkInvariants(postgres, home.database);
        assert.equal(violations.length, 0, `${kind}: invariants broken:\n${describeViolations(violations)}`);
      }
    });
  });
});
