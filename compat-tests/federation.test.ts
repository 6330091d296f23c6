// More than 500 lines: one story of two servers, each part of which goes on with the rooms of those before.
import assert from "node:assert/strict";
import { C, enc, type Json, V1 } from "./harness/client.ts";
import { rotateKey } from "./harness/federated.ts";
import { crossSigningKeys, deviceKeys, oneTimeKeys } from "./harness/keys.ts";
import { checkInvariants, describeViolations } from "./harness/invariants.ts";
import {
  agree,
  becomes,
  endParties,
  hearsAgain,
  joinVia,
  membership,
  type Party,
  PASSWORD,
  PATIENCE_MS,
  publicRoom,
  room,
  sees,
  sharedRoom,
  startParty,
} from "./harness/parties.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { waitFor } from "./harness/scratch.ts";
import { type ServerKind, startServer } from "./harness/server.ts";
import { requireServers, sides } from "./sides.ts";

const VERSIONS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];

/** Two homeservers that talk with each other over TLS, each with its own database. */
describe("federation: two servers", function () {
  this.timeout(10 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  const parties: Party[] = [];

  before("two servers can be had", async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    const starting = [a, b].map((kind, index) => startParty(kind, index === 0 ? "anna" : "bert", { name: `fed-${index}-${kind}`, postgres }));
    parties.push(...(await Promise.all(starting)));
  });
  after(() => endParties(parties, postgres));

  const agreed = (roomId: string): Promise<void> => agree(parties as [Party, Party], roomId);

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
          const roomId = await sharedRoom(maker, joiner, { room_version: version });
          const first = await maker.user.text(roomId, "from the maker");
          await sees(joiner, roomId, first);
          const second = await joiner.user.text(roomId, "from the joiner");
          await sees(maker, roomId, second);
          await maker.user.state(roomId, "m.room.topic", { topic: "told" });
          await joiner.user.redact(roomId, second, "oops");
          await waitFor("redaction", PATIENCE_MS, async () => (Object.keys((await sees(maker, roomId, second)).content).length === 0 ? true : undefined));
          await agreed(roomId);
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
        await agreed(roomId);
      });

      it("restricted joins", async () => {
        const space = await sharedRoom(maker, joiner);
        const rules = { join_rule: "restricted", allow: [{ type: "m.room_membership", room_id: space }] };
        const roomId = await maker.user.createRoom({ preset: "private_chat", initial_state: [{ type: "m.room.join_rules", state_key: "", content: rules }] });
        await joinVia(joiner, roomId, maker);
        await becomes(maker, roomId, joiner.user.userId, "join");
        await agreed(roomId);
      });

      it("leaving and coming back; kicks and bans", async () => {
        const roomId = await sharedRoom(maker, joiner);
        await joiner.user.leave(roomId);
        await becomes(maker, roomId, joiner.user.userId, "leave");
        await maker.user.text(roomId, "in between");
        await joinVia(joiner, roomId, maker);
        await sees(maker, roomId, await joiner.user.text(roomId, "back"));
        await agreed(roomId);
        await maker.user.ban(roomId, joiner.user.userId);
        const banned = "SELECT 1 FROM local_current_membership WHERE room_id = $1 AND membership = 'ban'";
        await waitFor("ban", PATIENCE_MS, async () => ((await postgres.query(joiner.home.database, banned, [roomId])).length > 0 ? true : undefined));
        const again = await joiner.user.request("POST", `${C}/join/${enc(roomId)}?server_name=${enc(maker.home.serverName)}`);
        assert.equal(again.status, 403);
      });

      it("typing, receipts, presence", async () => {
        const roomId = await sharedRoom(maker, joiner);
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
        await sharedRoom(maker, joiner);
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

      it("encrypted rooms: cross-signing, signed device lists, one-time and fallback keys, devices that go", async () => {
        const talker = joiner.server.client();
        await talker.register(`talker${m}`, PASSWORD);
        const roomId = await publicRoom(maker, {
          initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
        });
        await talker.post(`${C}/join/${enc(roomId)}?server_name=${enc(maker.home.serverName)}`);
        await becomes(maker, roomId, talker.userId, "join");
        const { keys } = deviceKeys(talker.userId, talker.deviceId);
        const cross = crossSigningKeys(talker.userId);
        await talker.post(`${C}/keys/upload`, {
          device_keys: keys,
          one_time_keys: oneTimeKeys(talker.userId, talker.deviceId, 1, 2),
          fallback_keys: oneTimeKeys(talker.userId, talker.deviceId, 9, 1, true),
        });
        await talker.post(`${C}/keys/device_signing/upload`, cross.upload);
        const { signatures: _signatures, ...bare } = keys;
        await talker.post(`${C}/keys/signatures/upload`, {
          [talker.userId]: { [talker.deviceId]: cross.selfSigning.sign(bare, talker.userId, cross.selfSigning.publicKey) },
        });
        const ask = (): Promise<Json> => maker.user.post(`${C}/keys/query`, { device_keys: { [talker.userId]: [] } });
        const selfSigned = `ed25519:${cross.selfSigning.publicKey}`;
        await waitFor("the self-signed device", PATIENCE_MS, async () => {
          const { device_keys: devices, master_keys: masters, self_signing_keys: own } = await ask();
          const device = devices?.[talker.userId]?.[talker.deviceId];
          return device?.signatures?.[talker.userId]?.[selfSigned] && masters?.[talker.userId] && own?.[talker.userId] ? true : undefined;
        });
        const claim = async (): Promise<string[]> => {
          const body = await maker.user.post(`${C}/keys/claim`, { one_time_keys: { [talker.userId]: { [talker.deviceId]: "signed_curve25519" } } });
          assert.deepEqual(body.failures, {});
          return Object.keys(body.one_time_keys[talker.userId][talker.deviceId]);
        };
        const claimed = [await claim(), await claim(), await claim(), await claim()].flat();
        assert.equal(new Set(claimed.slice(0, 2)).size, 2, "one-time keys go once");
        assert.equal(claimed[2], claimed[3], "then comes the fallback key");
        const content = { algorithm: "m.megolm.v1.aes-sha2", ciphertext: "opaque", device_id: talker.deviceId, sender_key: "k", session_id: "s" };
        assert.equal((await sees(maker, roomId, await talker.send(roomId, "m.room.encrypted", content))).content.ciphertext, "opaque");

        const second = joiner.server.client();
        await second.login(`talker${m}`, PASSWORD);
        await second.post(`${C}/keys/upload`, { device_keys: deviceKeys(second.userId, second.deviceId).keys });
        await waitFor("the second device", PATIENCE_MS, async () => ((await ask()).device_keys[talker.userId]?.[second.deviceId] ? true : undefined));
        await second.post(`${C}/logout`);
        await waitFor("the second device to go", PATIENCE_MS, async () => ((await ask()).device_keys[talker.userId]?.[second.deviceId] ? undefined : true));
      });

      it("knocks in restricted rooms, upgraded rooms, new names, users who erase themselves", async () => {
        const space = await publicRoom(maker);
        const rules = { join_rule: "knock_restricted", allow: [{ type: "m.room_membership", room_id: space }] };
        const roomId = await maker.user.createRoom({ preset: "private_chat", initial_state: [{ type: "m.room.join_rules", state_key: "", content: rules }] });
        const refused = await joiner.user.request("POST", `${C}/join/${enc(roomId)}?server_name=${enc(maker.home.serverName)}`);
        assert.equal(refused.status, 403);
        await joiner.user.post(`${C}/knock/${enc(roomId)}?server_name=${enc(maker.home.serverName)}`);
        await becomes(maker, roomId, joiner.user.userId, "knock");
        await joinVia(joiner, space, maker);
        await joinVia(joiner, roomId, maker);
        await becomes(maker, roomId, joiner.user.userId, "join");

        const old = await sharedRoom(maker, joiner, { room_version: "10" });
        const { replacement_room: next } = await maker.user.post(room(old, "upgrade"), { new_version: "12" });
        await waitFor("the tombstone", PATIENCE_MS, async () =>
          (await joiner.user.request("GET", room(old, "state/m.room.tombstone"))).status === 200 ? true : undefined,
        );
        await joinVia(joiner, next, maker);
        await sees(maker, next, await joiner.user.text(next, "followed"));
        await agreed(next);

        const fleeting = joiner.server.client();
        await fleeting.register(`fleeting${m}`, PASSWORD);
        await fleeting.post(`${C}/join/${enc(space)}?server_name=${enc(maker.home.serverName)}`);
        await becomes(maker, space, fleeting.userId, "join");
        await fleeting.put(`${C}/profile/${enc(fleeting.userId)}/displayname`, { displayname: "Renamed" });
        await waitFor("the new name", PATIENCE_MS, async () =>
          (await maker.user.get(room(space, `state/m.room.member/${enc(fleeting.userId)}`))).displayname === "Renamed" ? true : undefined,
        );
        await fleeting.withPassword("POST", `${C}/account/deactivate`, { erase: true }, PASSWORD);
        await becomes(maker, space, fleeting.userId, "leave");
      });

      it("a join while the joiner's server knows but part of the state, of a room with many members", async () => {
        const roomId = await publicRoom(maker);
        for (let i = 0; i < 12; i++) {
          const guest = maker.server.client();
          await guest.register(`crowd${m}${i}`, PASSWORD);
          await guest.join(roomId);
        }
        await joinVia(joiner, roomId, maker);
        const sent = await joiner.user.text(roomId, "written at once");
        await sees(maker, roomId, sent);
        await waitFor("all members", PATIENCE_MS, async () => {
          const { joined } = await joiner.user.get(room(roomId, "joined_members"));
          return Object.keys(joined).length === 14 ? true : undefined;
        });
        await waitFor("the whole state", 60_000, async () =>
          (await postgres.query(joiner.home.database, "SELECT 1 FROM partial_state_rooms WHERE room_id = $1", [roomId])).length === 0 ? true : undefined,
        );
        await agreed(roomId);
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
        // Synapse remembers the list of another server for half a minute: it must not ask too early.
        for (const [party, query] of [
          [maker, {}],
          [joiner, { server: maker.home.serverName }],
        ] as const)
          await waitFor("directory", 60_000, async () => {
            const page = await party.user.get(`${C}/publicRooms`, query);
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
        const roomId = await sharedRoom(maker, joiner);
        const other = await sharedRoom(maker, joiner);
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
          await hearsAgain(away, present, roomId, missed);
          await sees(away, other, elsewhere);
          await waitFor("to-device message", 90_000, async () =>
            JSON.stringify((await away.user.sync()).to_device ?? {}).includes("m.missed") ? true : undefined,
          );
          await agreed(roomId);
        }
      });
    });
  }

  describe("apart and together", () => {
    // A test that fails while one is down takes no other with it.
    beforeEach(async () => {
      for (const party of parties) if (party.server.exited()) party.server = await startServer(party.kind, party.home);
    });

    it("both come to the same state after they changed it while they could not talk", async () => {
      const [one, two] = parties as [Party, Party];
      const roomId = await sharedRoom(one, two, { power_level_content_override: { users: { [one.user.userId]: 100, [two.user.userId]: 100 } } });
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
      await agreed(roomId);
    });

    it("bans, powers and rules that contradict each other are settled alike in rooms of all kinds of versions", async () => {
      const [one, two] = parties as [Party, Party];
      const victim = two.server.client();
      await victim.register("victim", PASSWORD);
      const rooms: { roomId: string; levels: { users: Record<string, number> } }[] = [];
      for (const version of ["1", "2", "6", "11", "12"]) {
        const users = { ...(version === "12" ? {} : { [one.user.userId]: 100 }), [two.user.userId]: 90 };
        const levels = { users, events: {}, state_default: 50 };
        const roomId = await sharedRoom(one, two, { room_version: version, power_level_content_override: levels });
        await victim.join(roomId);
        await becomes(one, roomId, victim.userId, "join");
        rooms.push({ roomId, levels });
      }
      await two.server.stop();
      for (const { roomId, levels } of rooms) {
        await one.user.ban(roomId, victim.userId);
        await one.user.state(roomId, "m.room.power_levels", { ...levels, users: { ...levels.users, [two.user.userId]: 50 } });
        await one.user.state(roomId, "m.room.topic", { topic: "one" });
      }
      await one.server.stop();
      two.server = await startServer(two.kind, two.home);
      for (const { roomId, levels } of rooms) {
        await victim.text(roomId, "I know of nothing");
        await two.user.state(roomId, "m.room.power_levels", { ...levels, users: { ...levels.users, [victim.userId]: 50 } });
        await two.user.state(roomId, "m.room.topic", { topic: "two" });
        await victim.state(roomId, "m.room.name", { name: "victim's" });
      }
      one.server = await startServer(one.kind, one.home);
      for (const { roomId } of rooms) {
        const [first, second] = [await one.user.text(roomId, "one is back"), await two.user.text(roomId, "two is back")];
        await sees(two, roomId, first);
        await sees(one, roomId, second);
        await sees(two, roomId, await one.user.text(roomId, "together"));
        await sees(one, roomId, await two.user.text(roomId, "at last"));
        assert.equal(await membership(two, roomId, victim.userId), "ban");
        await agreed(roomId);
      }
    });

    it("a server that has changed its signing key goes on, and is believed about what it signed before", async () => {
      for (const [changing, other] of [parties, [...parties].reverse()] as [Party, Party][]) {
        const roomId = await sharedRoom(changing, other);
        await sees(other, roomId, await changing.user.text(roomId, "by the old key"));
        await other.server.stop();
        const unseen = await changing.user.text(roomId, "by the old key, seen late");
        await changing.server.stop();
        rotateKey(changing.home);
        changing.server = await startServer(changing.kind, changing.home);
        other.server = await startServer(other.kind, other.home);
        await sees(other, roomId, await changing.user.text(roomId, "by the new key"));
        await sees(other, roomId, unseen);
        const { old_verify_keys: old, verify_keys: keys } = await changing.user.get("/_matrix/key/v2/server");
        assert.deepEqual([Object.keys(old).length, Object.keys(keys).length], [1, 1]);
        await sees(changing, roomId, await other.user.text(roomId, "well received"));
        const later = await sharedRoom(changing, other);
        await sees(other, later, await changing.user.text(later, "a room of the new key"));
        await agreed(roomId);
      }
    });

    it("rooms go on without a gap when one of the servers is swapped for the other program, and back", async () => {
      const [one, two] = parties as [Party, Party];
      const roomId = await sharedRoom(one, two);
      const direct = await sharedRoom(two, one, { room_version: "6" });
      const all: string[] = [];
      const talk = async (stage: string): Promise<void> => {
        const since = await Promise.all(parties.map(async ({ user }) => (await user.sync()).next_batch as string));
        for (const [party, other] of [
          [one, two],
          [two, one],
        ] as const) {
          const id = await party.user.text(roomId, `${stage} of ${party.home.serverName}`);
          all.push(id);
          await sees(other, roomId, id);
          await sees(other, direct, await party.user.text(direct, stage));
          await other.user.post(room(roomId, `receipt/m.read/${enc(id)}`));
        }
        await agreed(roomId);
        await agreed(direct);
        for (const [index, { user }] of parties.entries()) {
          const { timeline } = (await user.sync({ since: since[index]! })).rooms.join[roomId];
          assert.deepEqual(
            (timeline.events as Json[]).map((event) => event.event_id).filter((id) => all.includes(id)),
            all.slice(-2),
          );
        }
      };
      const swap = async (party: Party, kind: ServerKind): Promise<void> => {
        const other = party === one ? two : one;
        const before = await Promise.all(parties.map(async ({ user }) => (await user.sync()).next_batch as string));
        await party.server.stop();
        const missed = [await other.user.text(roomId, "while nobody was there"), await other.user.text(roomId, "still nobody")];
        party.server = await startServer(kind, party.home);
        missed.push(await other.user.text(roomId, "is anybody there?"));
        await hearsAgain(party, other, roomId, missed);
        all.push(...missed);
        // Whoever goes on where he was reads all of it, in its order, and is told of no gap.
        const filter = JSON.stringify({ room: { timeline: { limit: 50 } } });
        for (const [index, { user, kind: was }] of parties.entries()) {
          const { timeline } = (await user.sync({ since: before[index]!, filter })).rooms.join[roomId];
          const ids = (timeline.events as Json[]).map((event) => event.event_id as string);
          assert.deepEqual([timeline.limited, ids.filter((id) => missed.includes(id))], [false, missed], was);
        }
      };
      await talk("before");
      for (const party of [one, two]) {
        await swap(party, party.kind === "synapse" ? "myelin" : "synapse");
        await talk("swapped");
        await swap(party, party.kind);
        await talk("back");
      }
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
