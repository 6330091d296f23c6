import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const C = "/_matrix/client/v3";
const SLIDING = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
const PROFILES = "org.matrix.msc4262.profiles";
const id = encodeURIComponent;

describe("profiles in syncs", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let count = 0;
  before(async function () {
    this.timeout(60_000);
    server = await startTestServer({ config: { include_profile_updates_in_sync: true } });
  });
  after(() => server.close());
  beforeEach(async () => {
    count++;
    [alice, bob] = [await server.register(`alice${count}`), await server.register(`bob${count}`)];
  });

  const newRoom = async (): Promise<string> => (await server.as(alice).post(`${C}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id;
  const join = (user: TestUser, roomId: string) =>
    server
      .as(user)
      .post(`${C}/rooms/${id(roomId)}/join`, {})
      .expect(200);
  const leave = (user: TestUser, roomId: string) =>
    server
      .as(user)
      .post(`${C}/rooms/${id(roomId)}/leave`, {})
      .expect(200);
  const setField = (user: TestUser, field: string, value: unknown) =>
    server
      .as(user)
      .put(`${C}/profile/${user.userId}/${field}`, { [field]: value })
      .expect(200);

  describe("/sync (MSC4429)", () => {
    const sync = async (user: TestUser, since?: string, lazy = false, fields: readonly string[] = ["displayname", "m.tz"], timeout = 0) => {
      const filter = JSON.stringify({ "org.matrix.msc4429.profile_fields": { ids: fields }, ...(lazy && { room: { state: { lazy_load_members: true } } }) });
      const { body } = await server
        .as(user)
        .get(`${C}/sync?timeout=${timeout}&set_presence=offline&filter=${id(filter)}${since === undefined ? "" : `&since=${since}`}`)
        .expect(200);
      return { since: body.next_batch as string, users: body["org.matrix.msc4429.users"] };
    };

    it("give all at first, then what changed, who came and who left", async () => {
      const roomId = await newRoom();
      await setField(alice, "m.tz", "Europe/London");
      const first = await sync(bob);
      assert.deepEqual(first.users, { [bob.userId]: { profile_updates: { displayname: `bob${count}` } } });
      await join(bob, roomId);
      const all = await sync(bob);
      assert.deepEqual(all.users, {
        [bob.userId]: { profile_updates: { displayname: `bob${count}` } },
        [alice.userId]: { profile_updates: { displayname: `alice${count}`, "m.tz": "Europe/London" } },
      });
      const quiet = await sync(bob, all.since);
      assert.equal(quiet.users, undefined);
      const ofAlice = await sync(alice);

      await setField(alice, "m.tz", "Asia/Tokyo");
      await setField(alice, "org.example.other", "x");
      const changed = await sync(bob, quiet.since);
      assert.deepEqual(changed.users, { [alice.userId]: { profile_updates: { "m.tz": "Asia/Tokyo" } } });
      await server.as(alice).delete(`${C}/profile/${alice.userId}/m.tz`).expect(200);
      const removed = await sync(bob, changed.since);
      assert.deepEqual(removed.users, { [alice.userId]: { profile_updates: { "m.tz": null } } });

      await leave(bob, roomId);
      const gone = await sync(alice, ofAlice.since);
      assert.deepEqual(gone.users[bob.userId], { profile_updates: null });
      await setField(bob, "displayname", "Bob away");
      assert.equal((await sync(alice, gone.since)).users, undefined);
      await join(bob, roomId);
      assert.deepEqual((await sync(alice, gone.since)).users, { [bob.userId]: { profile_updates: { displayname: "Bob away" } } });
    });

    it("wake a waiting client, and are not sent to who did not ask for the field", async () => {
      const roomId = await newRoom();
      await join(bob, roomId);
      const { since } = await sync(bob);
      const waiting = sync(bob, since, false, ["m.tz"], 20_000);
      await setField(alice, "m.tz", "Asia/Tokyo");
      assert.deepEqual((await waiting).users, { [alice.userId]: { profile_updates: { "m.tz": "Asia/Tokyo" } } });
      assert.equal((await sync(bob, since, false, [])).users, undefined);
    });

    it("give with lazily loaded members those of who sent something, once", async () => {
      const roomId = await newRoom();
      await join(bob, roomId);
      const first = await sync(bob, undefined, true);
      assert.deepEqual(Object.keys(first.users).sort(), [alice.userId, bob.userId]);
      const say = (text: string) =>
        server
          .as(alice)
          .put(`${C}/rooms/${id(roomId)}/send/m.room.message/${text}`, { msgtype: "m.text", body: text })
          .expect(200);
      await say("one");
      const second = await sync(bob, first.since, true);
      assert.deepEqual(second.users, { [alice.userId]: { profile_updates: { displayname: `alice${count}` } } });
      await say("two");
      assert.equal((await sync(bob, second.since, true)).users, undefined);
    });

    it("leave those alone who still share another room, and keep nobody's changes from before they left", async () => {
      const [one, two] = [await newRoom(), await newRoom()];
      await join(bob, one);
      await join(bob, two);
      await setField(bob, "m.tz", "Europe/Paris");
      const before = await sync(alice);
      await leave(bob, one);
      const rows =
        "SELECT u.action FROM profile_updates AS u JOIN profile_updates_per_user AS p USING (stream_id) WHERE u.user_id = $1 AND p.user_id = $2 ORDER BY 1";
      assert.equal((await sync(alice, before.since)).users, undefined);
      assert.deepEqual(await query(server.ctx.read, rows, [bob.userId, alice.userId]), [
        { action: "joined_room" },
        { action: "joined_room" },
        { action: "update" },
      ]);
      await leave(bob, two);
      assert.deepEqual((await sync(alice, before.since)).users, { [bob.userId]: { profile_updates: null } });
      assert.deepEqual(await query(server.ctx.read, rows, [bob.userId, alice.userId]), [{ action: "left_room" }]);
    });
  });

  describe("sliding sync (MSC4262)", () => {
    const sync = async (user: TestUser, pos?: string, options: { fields?: string[]; lazy?: boolean; timeout?: number } = {}) => {
      const required = options.lazy ? [["m.room.member", "$LAZY"]] : [];
      const { body } = await server
        .as(user)
        .post(`${SLIDING}?timeout=${options.timeout ?? 0}${pos === undefined ? "" : `&pos=${id(pos)}`}`, {
          lists: { a: { ranges: [[0, 9]], required_state: required, timeline_limit: 1 } },
          extensions: { [PROFILES]: { enabled: true, ...(options.fields && { fields: options.fields }) } },
        })
        .expect(200);
      return { pos: body.pos as string, users: body.extensions[PROFILES]?.users };
    };

    it("gives all at first, then what changed, what was removed, who came and who left", async () => {
      const roomId = await newRoom();
      await join(bob, roomId);
      await setField(alice, "m.tz", "Europe/London");
      const first = await sync(bob);
      assert.deepEqual(first.users, {
        [bob.userId]: { updated: { displayname: `bob${count}`, avatar_url: null } },
        [alice.userId]: { updated: { displayname: `alice${count}`, avatar_url: null, "m.tz": "Europe/London" } },
      });
      assert.deepEqual((await sync(bob, undefined, { fields: ["m.tz"] })).users, { [alice.userId]: { updated: { "m.tz": "Europe/London" } } });
      const quiet = await sync(bob, first.pos);
      assert.equal(quiet.users, undefined);

      const waiting = sync(bob, quiet.pos, { timeout: 20_000 });
      await setField(alice, "m.tz", "Asia/Tokyo");
      const changed = await waiting;
      assert.deepEqual(changed.users, { [alice.userId]: { updated: { "m.tz": "Asia/Tokyo" } } });
      await server.as(alice).delete(`${C}/profile/${alice.userId}/m.tz`).expect(200);
      assert.deepEqual((await sync(bob, changed.pos)).users, { [alice.userId]: { removed: ["m.tz"] } });
      const ofAlice = await sync(alice);

      await leave(bob, roomId);
      const gone = await sync(alice, ofAlice.pos);
      assert.deepEqual(gone.users, { [bob.userId]: null });
      await join(bob, roomId);
      assert.deepEqual((await sync(alice, gone.pos)).users, { [bob.userId]: { updated: { displayname: `bob${count}`, avatar_url: null } } });
    });

    it("gives with lazily loaded members those whom the answer shows, and nothing where it is off", async () => {
      const roomId = await newRoom();
      await join(bob, roomId);
      const first = await sync(alice, undefined, { lazy: true, fields: ["displayname"] });
      // The last event is Bob's, who joined; one's own profile is always there.
      assert.deepEqual(Object.keys(first.users).sort(), [alice.userId, bob.userId]);
      await server
        .as(bob)
        .put(`${C}/rooms/${id(roomId)}/send/m.room.message/one`, { msgtype: "m.text", body: "one" })
        .expect(200);
      assert.deepEqual((await sync(alice, first.pos, { lazy: true, fields: ["displayname"] })).users, {
        [bob.userId]: { updated: { displayname: `bob${count}` } },
      });
    });
  });
});
