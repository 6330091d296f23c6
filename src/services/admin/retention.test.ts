import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, it } from "mocha";
import { query } from "../../storage/database.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { startTestServer, type TestClient, type TestServer, type TestUser } from "../../testing/server.ts";

const C = "/_matrix/client/v3";
const DAY = 86_400_000;

describe("what is kept for a time only", () => {
  const store = mkdtempSync(path.join(tmpdir(), "myelin-retention-"));
  const clock = new FakeClock();
  let server: TestServer;
  let alice: TestUser;
  let as: TestClient;

  before(async function () {
    this.timeout(60_000);
    server = await startTestServer({
      clock,
      config: {
        media_store_path: store,
        enable_ephemeral_messages: true,
        redaction_retention_period: "7d",
        media_retention: { local_media_lifetime: "30d", remote_media_lifetime: "14d" },
        retention: {
          enabled: true,
          default_policy: { max_lifetime: "100d" },
          allowed_lifetime_min: "2d",
          allowed_lifetime_max: "200d",
          purge_jobs: [
            { longest_max_lifetime: "5d", interval: "1h" },
            { shortest_max_lifetime: "5d", interval: "1d" },
          ],
        },
      },
    });
    alice = await server.register("alice");
    as = server.as(alice);
  });
  after(async () => {
    await server.close();
    rmSync(store, { recursive: true, force: true });
  });

  const createRoom = async (maxLifetime?: number): Promise<string> => {
    const initial_state = maxLifetime === undefined ? [] : [{ type: "m.room.retention", state_key: "", content: { max_lifetime: maxLifetime } }];
    return await as.createRoom({ preset: "public_chat", initial_state });
  };
  const send = (roomId: string, body: string, more: object = {}): Promise<string> => as.send(roomId, { msgtype: "m.text", body, ...more });
  const stored = async (ids: readonly string[]): Promise<string[]> => {
    const rows = await query<{ event_id: string }>(server.ctx.read, "SELECT event_id FROM event_json WHERE event_id = ANY($1)", [ids]);
    return ids.filter((id) => rows.some((row) => row.event_id === id));
  };
  const storedJson = async (id: string): Promise<string> =>
    (await query<{ json: string }>(server.ctx.read, "SELECT json FROM event_json WHERE event_id = $1", [id]))[0]!.json;

  it("purges messages by the room's policy, within what the server allows, each job its own rooms", async () => {
    const short = await createRoom(DAY); // allowed from two days on
    const middle = await createRoom(10 * DAY);
    const plain = await createRoom();
    const old = { short: await send(short, "old"), middle: await send(middle, "old"), plain: await send(plain, "old") };
    clock.advance(DAY + 1000);
    const newer = { short: await send(short, "newer"), middle: await send(middle, "newer"), plain: await send(plain, "newer") };
    clock.advance(DAY);
    const last = { short: await send(short, "last"), middle: await send(middle, "last"), plain: await send(plain, "last") };

    await server.server.jobs.runOnce("purge_history_for_rooms_in_range-2");
    assert.deepEqual(await stored([old.short, old.middle, old.plain]), [old.short, old.middle, old.plain], "too early, or not its rooms");
    clock.advance(1000);
    await server.server.jobs.runOnce("purge_history_for_rooms_in_range");
    // More than two days old; what came before the newest of them is gone.
    assert.deepEqual(await stored([old.short, newer.short, last.short]), [newer.short, last.short]);
    await as.get(`${C}/rooms/${encodeURIComponent(short)}/event/${encodeURIComponent(old.short)}`).expect(404);
    assert.deepEqual(await stored([old.middle, old.plain]), [old.middle, old.plain]);

    clock.advance(9 * DAY);
    await server.server.jobs.runOnce("purge_history_for_rooms_in_range-2");
    assert.deepEqual(await stored([old.middle, newer.middle]), [newer.middle]);
    assert.deepEqual(await stored([old.plain]), [old.plain], "100 days by the default policy");
    clock.advance(100 * DAY);
    await server.server.jobs.runOnce("purge_history_for_rooms_in_range-2");
    assert.deepEqual(await stored([old.plain, last.plain]), [last.plain]);
    await send(plain, "the room goes on");
  });

  it("deletes media that nobody used, files and all, but no avatars", async () => {
    const upload = async (text: string): Promise<string> => {
      const { body } = await as.request("post", "/_matrix/media/v3/upload").set("Content-Type", "text/plain").send(text).expect(200);
      return (body.content_uri as string).split("/").pop()!;
    };
    const file = (id: string): string => path.join(store, "local_content", id.slice(0, 2), id.slice(2, 4), id.slice(4));
    const [unused, avatar] = [await upload("unused"), await upload("avatar")];
    await as.put(`${C}/profile/${alice.userId}/avatar_url`, { avatar_url: `mxc://test/${avatar}` }).expect(200);
    clock.advance(29 * DAY);
    await server.server.jobs.runOnce("apply_media_retention_rules");
    assert.ok(existsSync(file(unused)));
    clock.advance(2 * DAY);
    await server.server.jobs.runOnce("apply_media_retention_rules");
    assert.equal(existsSync(file(unused)), false);
    await as.get(`/_matrix/client/v1/media/download/test/${unused}`).expect(404);
    await as.get(`/_matrix/client/v1/media/download/test/${avatar}`).expect(200);
  });

  it("takes the content out of messages at their own time (MSC2228)", async () => {
    const roomId = await createRoom();
    const at = clock.now() + 60_000;
    const eventId = await send(roomId, "burn after reading", { "org.matrix.self_destruct_after": at });
    const content = async (): Promise<object> =>
      (await as.get(`${C}/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`).expect(200)).body.content as object;
    await server.server.jobs.runOnce("_expire_event");
    assert.equal(((await content()) as { body: string }).body, "burn after reading");
    clock.advance(60_000);
    await server.server.jobs.runOnce("_expire_event");
    assert.deepEqual(await content(), {});
    assert.ok(!(await storedJson(eventId)).includes("burn"));
    assert.deepEqual(await query(server.ctx.read, "SELECT event_id FROM event_expiry"), []);
  });

  it("takes redacted content out of the database when its time is over, and only what was redacted", async () => {
    const roomId = await createRoom();
    const [secret, other] = [await send(roomId, "secret"), await send(roomId, "other")];
    await as.put(`${C}/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(secret)}/r1`, {}).expect(200);
    clock.advance(6 * DAY);
    await server.server.jobs.runOnce("_censor_redactions");
    assert.match(await storedJson(secret), /secret/);
    clock.advance(2 * DAY);
    await server.server.jobs.runOnce("_censor_redactions");
    assert.doesNotMatch(await storedJson(secret), /secret/);
    assert.match(await storedJson(other), /other/);
    assert.deepEqual(await query(server.ctx.read, "SELECT redacts FROM redactions WHERE NOT have_censored"), []);
    const { body } = await as.get(`${C}/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(secret)}`).expect(200);
    assert.deepEqual([body.content, typeof body.unsigned.redacted_because], [{}, "object"]);
  });
});
