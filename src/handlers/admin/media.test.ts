import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { query } from "../../storage/database.ts";
import { startTestServer, type TestClient, type TestServer, type TestUser } from "../../testing/server.ts";

describe("admin API: media", () => {
  const store = mkdtempSync(path.join(tmpdir(), "myelin-media-"));
  let server: TestServer;
  let admin: TestClient;
  let alice: TestUser;
  const later = Date.now() + 86_400_000;

  before(async () => {
    server = await startTestServer({ config: { media_store_path: store } });
    admin = server.as(await server.register("admin", { admin: true }));
    alice = await server.register("alice");
  });
  after(async () => {
    await server.close();
    rmSync(store, { recursive: true, force: true });
  });

  const upload = async (text: string): Promise<string> => {
    const { body } = await server.as(alice).request("post", "/_matrix/media/v3/upload?filename=a.txt").set("Content-Type", "text/plain").send(text).expect(200);
    return (body.content_uri as string).split("/").pop()!;
  };
  const file = (id: string): string => path.join(store, "local_content", id.slice(0, 2), id.slice(2, 4), id.slice(4));
  const get = async (id: string): Promise<number> => (await server.as(alice).get(`/_matrix/client/v1/media/download/test/${id}`)).status;

  it("lists a user's uploads in order and by pages", async () => {
    const ids = [await upload("one"), await upload("two, longer"), await upload("three is the longest")];
    const { body } = await admin.get(`/_synapse/admin/v1/users/${alice.userId}/media?order_by=media_length&limit=2`).expect(200);
    assert.deepEqual([body.total, body.next_token, body.media.map((one: { media_id: string }) => one.media_id)], [3, 2, ids.slice(0, 2)]);
    assert.deepEqual(Object.keys(body.media[0]).sort(), [
      "authenticated",
      "created_ts",
      "last_access_ts",
      "media_id",
      "media_length",
      "media_type",
      "quarantined_by",
      "safe_from_quarantine",
      "sha256",
      "upload_name",
      "url_cache",
      "user_id",
    ]);
    assert.equal((await admin.get(`/_synapse/admin/v1/media/test/${ids[0]}`).expect(200)).body.media_info.upload_name, "a.txt");
    await admin.get("/_synapse/admin/v1/media/test/none").expect(404);
    await admin.get("/_synapse/admin/v1/media/elsewhere/none").expect(404);
    await admin.get("/_synapse/admin/v1/users/@nobody:test/media").expect(404);
    await admin.get(`/_synapse/admin/v1/users/${alice.userId}/media?order_by=secret`).expect(400);
    await admin.get(`/_synapse/admin/v1/users/${alice.userId}/media?limit=-1`).expect(400);
    await server.as(alice).get(`/_synapse/admin/v1/users/${alice.userId}/media`).expect(403);
    await server.anonymous.get(`/_synapse/admin/v1/users/${alice.userId}/media`).expect(401);
    const usage = (await admin.get("/_synapse/admin/v1/statistics/users/media").expect(200)).body;
    assert.deepEqual(usage, { users: [{ user_id: alice.userId, displayname: "alice", media_count: 3, media_length: 34 }], total: 1 });
    await admin.get("/_synapse/admin/v1/statistics/users/media?from_ts=2&until_ts=1").expect(400);
    assert.ok(Array.isArray((await admin.get("/_synapse/admin/v1/statistics/database/rooms").expect(200)).body.rooms));
  });

  it("quarantines what is equal too, spares what is protected, and tells of it as a stream", async () => {
    const [one, copy, safe] = [await upload("evil"), await upload("evil"), await upload("evil, but protected")];
    const { next_batch: from } = (await admin.get("/_synapse/admin/v1/media/quarantine_changes").expect(200)).body;
    await admin.request("post", `/_synapse/admin/v1/media/protect/${safe}`).expect(200);
    await admin.request("post", "/_synapse/admin/v1/media/protect/none").expect(404);
    await admin.request("post", `/_synapse/admin/v1/media/quarantine/test/${one}`).expect(200);
    await admin.request("post", `/_synapse/admin/v1/media/quarantine/test/${safe}`).expect(200);
    assert.deepEqual([await get(one), await get(copy), await get(safe)], [404, 404, 200]);
    const changes = (await admin.get(`/_synapse/admin/v1/media/quarantine_changes?from=${from}`).expect(200)).body;
    assert.deepEqual(changes.changes.map((change: { media_id: string }) => change.media_id).sort(), [one, copy].sort());
    assert.deepEqual(changes.changes[0], { origin: "test", media_id: changes.changes[0].media_id, quarantined: true });
    await admin.get("/_synapse/admin/v1/media/quarantine_changes?from=1000000").expect(400);
    await admin.request("post", `/_synapse/admin/v1/media/unquarantine/test/${one}`).expect(200);
    assert.deepEqual([await get(one), await get(copy)], [200, 200]);
    await admin.request("post", `/_synapse/admin/v1/media/unprotect/${safe}`).expect(200);
    const { num_quarantined: count } = (await admin.request("post", `/_synapse/admin/v1/user/${alice.userId}/media/quarantine`).expect(200)).body;
    assert.equal(count, 6);
    assert.equal(await get(safe), 404);
  });

  it("finds and quarantines the media of a room", async () => {
    const id = await upload("in the room");
    const { room_id: roomId } = (await server.as(alice).post("/_matrix/client/v3/createRoom").expect(200)).body;
    const content = { msgtype: "m.image", body: "x", url: `mxc://test/${id}`, info: { thumbnail_url: "mxc://elsewhere/thumb" } };
    await server.as(alice).put(`/_matrix/client/v3/rooms/${roomId}/send/m.room.message/1`, content).expect(200);
    assert.deepEqual((await admin.get(`/_synapse/admin/v1/room/${roomId}/media`).expect(200)).body, {
      local: [`mxc://test/${id}`],
      remote: ["mxc://elsewhere/thumb"],
    });
    assert.deepEqual((await admin.request("post", `/_synapse/admin/v1/room/${roomId}/media/quarantine`).expect(200)).body, { num_quarantined: 1 });
    assert.deepEqual((await admin.request("post", "/_synapse/admin/v1/quarantine_media/!none:test").expect(200)).body, { num_quarantined: 0 });
  });

  it("deletes media by id, by user, and by age", async () => {
    const id = await upload("delete me");
    assert.ok(existsSync(file(id)));
    assert.deepEqual((await admin.delete(`/_synapse/admin/v1/media/test/${id}`).expect(200)).body, { deleted_media: [id], total: 1 });
    assert.ok(!existsSync(file(id)));
    await admin.delete(`/_synapse/admin/v1/media/test/${id}`).expect(404);
    await admin.delete(`/_synapse/admin/v1/media/elsewhere/${id}`).expect(400);

    const [avatar, small, large] = [await upload("my face, a large one"), await upload("s"), await upload("large enough to go")];
    await server
      .as(alice)
      .put(`/_matrix/client/v3/profile/${alice.userId}/avatar_url`, { avatar_url: `mxc://test/${avatar}` })
      .expect(200);
    const { body } = await admin.request("post", `/_synapse/admin/v1/media/delete?before_ts=${later}&size_gt=3`).expect(200);
    assert.deepEqual(body, { deleted_media: [large], total: 1 }, "what is in quarantine, small or an avatar stays");
    for (const query of ["", "?before_ts=1000", `?before_ts=-1`, `?before_ts=${later}&size_gt=x`])
      await admin.request("post", `/_synapse/admin/v1/media/delete${query}`).expect(400);
    await admin.request("post", `/_synapse/admin/v1/media/elsewhere/delete?before_ts=${later}`).expect(400);
    const rest = (await admin.request("delete", `/_synapse/admin/v1/users/${alice.userId}/media`).expect(200)).body;
    assert.ok(rest.total > 5 && rest.deleted_media.includes(small) && rest.deleted_media.includes(avatar));
  });

  it("deletes copies of remote media that nobody used for long", async () => {
    await server.ctx.transaction("pretend", (txn) =>
      query(
        txn,
        `INSERT INTO remote_media_cache (media_origin, media_id, media_type, created_ts, last_access_ts, media_length, filesystem_id, quarantined_by)
         VALUES ('else', 'old', 'text/plain', 1, 1, 1, 'aabbccdd', NULL), ('else', 'new', 'text/plain', 1, $1, 1, 'aabbccde', NULL), ('else', 'evil', 'text/plain', 1, 1, 1, 'aabbccdf', 'x')`,
        [later],
      ),
    );
    assert.deepEqual((await admin.request("post", `/_synapse/admin/v1/purge_media_cache?before_ts=${later - 1}`).expect(200)).body, { deleted: 1 });
    const left = await query<{ media_id: string }>(server.ctx.read, "SELECT media_id FROM remote_media_cache ORDER BY 1");
    assert.deepEqual(
      left.map((row) => row.media_id),
      ["evil", "new"],
    );
    await admin.request("post", "/_synapse/admin/v1/purge_media_cache").expect(400);
  });
});
