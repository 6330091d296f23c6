import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { JsonObject } from "../../../lib/json.ts";
import { query } from "../../../storage/database.ts";
import { upsertThreepid } from "../../../storage/threepids/user-threepids.ts";
import { FakeClock } from "../../../testing/fake-clock.ts";
import { MailServer } from "../../../testing/mail-server.ts";
import { makeRoom, requesterOf } from "../../../testing/rooms.ts";
import { startTestServer, type TestServer, type TestUser } from "../../../testing/server.ts";
import { sendEvent } from "../../events/send.ts";
import { PusherPool } from "./pusher-pool.ts";

const V3 = "/_matrix/client/v3";
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe("Mails about unread messages", function () {
  this.timeout(60_000);
  let server: TestServer;
  let mails: MailServer;
  let clock: FakeClock;
  let pool: PusherPool;
  let alice: TestUser;
  let bob: TestUser;
  let room: string;
  let folder: string;
  let count = 0;

  const emailOptions = (more: object = {}): Record<string, unknown> => ({
    email: {
      smtp_host: "127.0.0.1",
      smtp_port: mails.port,
      enable_tls: false,
      notif_from: "%(app)s <noreply@test>",
      app_name: "Myelin",
      enable_notifs: true,
      client_base_url: "https://chat.test",
      ...more,
    },
  });

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "templates-"));
    mails = await MailServer.start();
    clock = new FakeClock();
    server = await startTestServer({ clock, config: emailOptions() });
    await startPool();
  });
  after(async () => {
    await pool.close();
    await server.close();
    await mails.close();
    await rm(folder, { recursive: true });
  });

  beforeEach(async () => {
    mails.refuse = false;
    count++;
    alice = await server.register(`alice${count}`);
    bob = await server.register(`bob${count}`);
    room = await makeRoom(server.ctx, alice.userId, { members: [bob.userId] });
    await state("m.room.name", { name: "Harbour" });
    await setPusher();
    mails.mails.length = 0;
  });
  afterEach(async () => {
    await server.as(bob).post(`${V3}/logout/all`).expect(200);
    await pool.settled();
  });

  async function startPool(): Promise<void> {
    pool = new PusherPool(() => server.ctx, server.ctx.config);
    await pool.start(server.ctx.publisher);
  }
  async function later(ms: number): Promise<void> {
    await pool.settled();
    clock.advance(ms);
    await pool.settled();
  }
  const address = (): string => `bob${count}@example.org`;
  async function setPusher(data: object = {}): Promise<void> {
    const threepid = { medium: "email", address: address(), validated_at: 1, added_at: 1 };
    await server.ctx.transaction("test", (txn) => upsertThreepid(txn, bob.userId, threepid));
    const body = { kind: "email", app_id: "m.email", app_display_name: "Email Notifications", device_display_name: address(), pushkey: address(), lang: "en" };
    await server
      .as(bob)
      .post(`${V3}/pushers/set`, { ...body, data })
      .expect(200);
    await pool.settled();
  }
  const state = (type: string, content: JsonObject, roomId = room) => sendEvent(server.ctx, requesterOf(alice.userId), { roomId, type, stateKey: "", content });
  const send = async (content: string | JsonObject, roomId = room, type = "m.room.message"): Promise<string> => {
    const whole = typeof content === "string" ? { msgtype: "m.text", body: content } : content;
    return (await sendEvent(server.ctx, requesterOf(alice.userId), { roomId, type, content: whole })).eventId;
  };
  const read = (eventId: string, roomId = room) =>
    server
      .as(bob)
      .post(`${V3}/rooms/${roomId}/receipt/m.read/${encodeURIComponent(eventId)}`)
      .expect(200);
  const rename = async (displayname: string): Promise<void> => {
    const path = `${V3}/rooms/${room}/state/m.room.member/${alice.userId}`;
    await server.as(alice).put(path, { membership: "join", displayname }).expect(200);
  };
  const rows = () =>
    query<{ last_success: number | null; last_stream_ordering: number; throttle_ms: number | null; last_sent_ts: number | null }>(
      server.ctx.read,
      `SELECT last_success, last_stream_ordering, throttle_ms, last_sent_ts FROM pushers LEFT JOIN pusher_throttle ON pusher = id WHERE user_name = $1`,
      [bob.userId],
    );

  it("come when a message has waited ten minutes, once, with what was said", async () => {
    await send("the boat is in");
    await later(10 * MINUTE - 1);
    assert.deepEqual(mails.mails, []);
    await later(1);
    assert.equal(mails.mails.length, 1);
    const { headers, html, text, to } = mails.last;
    assert.deepEqual(to, [address()]);
    assert.equal(headers.get("subject"), `[Myelin] You have a message on Myelin from alice${count} in the Harbour room...`);
    assert.match(headers.get("from")!, /^"?Myelin"? <noreply@test>$/);
    for (const body of [html, text]) {
      assert.match(body, /the boat is in/);
      assert.match(body, /Harbour/);
      assert.ok(body.includes(`https://chat.test/#/room/${room}`), body);
    }
    const [row] = await rows();
    assert.equal(row!.last_success, clock.now());
    assert.deepEqual([row!.throttle_ms, row!.last_sent_ts], [10 * MINUTE, clock.now()]);
    await later(48 * HOUR);
    assert.equal(mails.mails.length, 1);
  });

  it("do not come about what was read in time, and the pusher notes how far it got", async () => {
    await read(await send("seen"));
    await later(30 * MINUTE);
    await later(2_000);
    assert.deepEqual(mails.mails, []);
    const [row] = await rows();
    assert.equal(row!.last_stream_ordering, server.ctx.streams.events.currentToken());
    assert.notEqual(row!.last_success, null);
  });

  it("tell of all that is unread when the first of it is due", async () => {
    const other = await makeRoom(server.ctx, alice.userId, { members: [bob.userId] });
    await state("m.room.name", { name: "Office" }, other);
    await send("early");
    clock.advance(9 * MINUTE);
    await send("late", other);
    await later(MINUTE);
    assert.equal(mails.mails.length, 1);
    assert.match(mails.last.text, /early/);
    assert.match(mails.last.text, /late/);
    assert.equal(mails.last.headers.get("subject"), "[Myelin] You have messages on Myelin in the Harbour room and others...");
    await later(HOUR);
    assert.equal(mails.mails.length, 1);
  });

  it("come less and less about a room that goes on, to once a day, and about another room in time", async () => {
    const other = await makeRoom(server.ctx, alice.userId, { members: [bob.userId] });
    await send("one");
    await later(10 * MINUTE);
    assert.equal(mails.mails.length, 1);
    await send("two");
    await later(10 * MINUTE);
    assert.equal(mails.mails.length, 2);
    assert.equal((await rows())[0]!.throttle_ms, 24 * HOUR);
    await send("three");
    await later(HOUR);
    assert.equal(mails.mails.length, 2);
    await send("elsewhere", other);
    await later(10 * MINUTE);
    assert.equal(mails.mails.length, 3);
    assert.match(mails.last.text, /three/);
    assert.match(mails.last.text, /elsewhere/);
    await send("four");
    await later(23 * HOUR);
    assert.equal(mails.mails.length, 3);
    await later(HOUR);
    assert.equal(mails.mails.length, 4);
    assert.match(mails.last.text, /four/);
  });

  it("come in time again after a room was silent for half a day", async () => {
    await send("one");
    await later(10 * MINUTE);
    await send("two");
    await later(10 * MINUTE);
    assert.equal((await rows())[0]!.throttle_ms, 24 * HOUR);
    clock.advance(24 * HOUR);
    await send("after the silence");
    await later(10 * MINUTE);
    assert.equal(mails.mails.length, 3);
    assert.equal((await rows())[0]!.throttle_ms, 10 * MINUTE);
  });

  it("come neither twice nor too soon because of a restart, and what waited comes", async () => {
    await send("one");
    await later(10 * MINUTE);
    await send("two");
    await later(10 * MINUTE);
    await send("three");
    await pool.close();
    clock.advance(HOUR);
    await startPool();
    await later(HOUR);
    assert.equal(mails.mails.length, 2);
    await later(22 * HOUR);
    assert.equal(mails.mails.length, 3);
    assert.match(mails.last.text, /three/);
    assert.doesNotMatch(mails.last.text, /one/);
  });

  it("are tried again after a minute and longer pauses when the mail server does not take them", async () => {
    mails.refuse = true;
    await send("patience");
    await later(10 * MINUTE);
    assert.deepEqual(await rows().then(([row]) => row!.throttle_ms), null);
    await later(MINUTE);
    mails.refuse = false;
    await send("another message ends no pause");
    await later(2 * MINUTE - 1);
    assert.deepEqual(mails.mails, []);
    await later(1);
    assert.equal(mails.mails.length, 1);
  });

  it("can be turned off by their link, by a person and by a mail program (RFC 8058)", async () => {
    for (const method of ["get", "post"] as const) {
      await setPusher();
      await send(method);
      await later(25 * HOUR);
      const { headers, html, text } = mails.last;
      assert.equal(headers.get("list-unsubscribe-post"), "List-Unsubscribe=One-Click");
      const link = /^<(https:\/\/test\/_synapse\/client\/unsubscribe\?.*)>$/.exec(headers.get("list-unsubscribe")!)![1]!;
      assert.ok(text.includes(link));
      assert.ok(html.includes(link.replaceAll("&", "&amp;")));
      await server.anonymous.request(method, link.slice("https://test".length)).expect(200);
      assert.deepEqual(await rows(), []);
      mails.mails.length = 0;
      await send("nobody hears");
      await later(25 * HOUR);
      assert.deepEqual(mails.mails, []);
    }
  });

  it("are called as the client wishes, which cannot name another sender", async () => {
    await setPusher({ brand: 'Evil" <ceo@bank.example>, "Chat' });
    await send("hello");
    await later(25 * HOUR);
    assert.match(mails.last.headers.get("from")!, /^"?Evil ceobank\.example Chat"? <noreply@test>$/);
    assert.match(mails.last.headers.get("subject")!, /^\[Evil ceobank\.example Chat\] You have a message/);
  });

  it("hold no markup of those who write: names, rooms, bodies, links (CVE-2021-21333)", async () => {
    await rename('<img src=x onerror="alert(1)">{{ 7 * 7 }}{% include "mail.css" %}');
    await state("m.room.name", { name: "</title><script>alert(1)</script>{{ app_name }}" });
    await send("<b>plain</b> https://example.org/a?b=1&c=<script>.");
    await send({
      msgtype: "m.text",
      body: "html",
      format: "org.matrix.custom.html",
      formatted_body:
        '<b onclick="x()">bold</b><script>alert(2)</script><a href="javascript:alert(3)">bad</a><a href="https://ok.example/?x=&quot;">good</a>' +
        '<img src="https://spy.example/pixel"><font color="red;background:url(//spy)">f</font><style>*{}</style><p><i>open https://bare.example',
    });
    await later(10 * MINUTE);
    const { headers, html, text } = mails.last;
    assert.doesNotMatch(html, /<script|<img|onerror="|onclick|javascript:|spy|alert\(2\)/);
    assert.match(html, /&lt;img src=x/);
    assert.match(html, /\{\{ 7 \* 7 \}\}/);
    assert.doesNotMatch(html + text + headers.get("subject"), /49/);
    assert.match(text, /\{% include "mail\.css" %\}/);
    assert.match(html, /<b>bold<\/b>/);
    assert.match(html, /<a>bad<\/a><a href="https:\/\/ok\.example\/\?x=&quot;" rel="nofollow">good<\/a>/);
    assert.match(html, /<i>open <a href="https:\/\/bare\.example" rel="nofollow">https:\/\/bare\.example<\/a><\/i><\/p>/);
    assert.match(html, /&lt;b&gt;plain&lt;\/b&gt; <a href="https:\/\/example\.org\/a\?b=1&amp;c=" rel="nofollow">/);
  });

  it("have no headers but their own, whatever a room or a person is called", async () => {
    await rename("Eve\r\nBcc: all@example.org\r\n\r\nbody");
    await state("m.room.name", { name: `x\r\nX-Evil: 1\n${"long ".repeat(2_000)}` });
    await send("hello");
    await later(10 * MINUTE);
    const { headers, source, to } = mails.last;
    assert.deepEqual(to, [address()]);
    for (const name of ["bcc", "x-evil"]) assert.equal(headers.has(name), false);
    assert.doesNotMatch(source, /^(?:Bcc|X-Evil):/im);
    assert.match(mails.last.text, /^x X-Evil: 1 long/m);
    assert.ok(headers.get("subject")!.length < 500);
  });

  it("name the person in a room without name, and the number of persons", async () => {
    await state("m.room.name", { name: "" });
    await send("one");
    await later(10 * MINUTE);
    assert.equal(mails.last.headers.get("subject"), `[Myelin] You have a message on Myelin from alice${count}...`);
    clock.advance(25 * HOUR);
    await send("two");
    await send("three");
    await later(10 * MINUTE);
    assert.equal(mails.last.headers.get("subject"), `[Myelin] You have messages on Myelin from alice${count}...`);
  });

  it("tell of invitations, to rooms, spaces and chats", async () => {
    const cases: [object, string][] = [
      [{ name: "Club" }, `[Myelin] alice${count} has invited you to join the Club room on Myelin...`],
      [{ name: "World", creation_content: { type: "m.space" } }, `[Myelin] alice${count} has invited you to join the World space on Myelin...`],
      [{}, `[Myelin] alice${count} has invited you to chat on Myelin...`],
    ];
    for (const [creation, subject] of cases) {
      mails.mails.length = 0;
      await server
        .as(alice)
        .post(`${V3}/createRoom`, { ...creation, invite: [bob.userId] })
        .expect(200);
      await later(10 * MINUTE);
      assert.equal(mails.last.headers.get("subject"), subject);
      assert.match(mails.last.text, /You are invited to this room/);
      clock.advance(25 * HOUR);
    }
  });

  it("show the message before, nothing of encrypted ones, and say what pictures are called", async () => {
    await read(await send("context"));
    await send({ algorithm: "m.megolm.v1.aes-sha2", ciphertext: "hidden" }, room, "m.room.encrypted");
    await send({ msgtype: "m.image", body: "cat.jpg", url: "mxc://test/cat" });
    await send({ msgtype: "m.emote", body: "waves" });
    await later(10 * MINUTE);
    const { html, text } = mails.last;
    assert.match(text, /context/);
    assert.match(text, /an encrypted message/);
    assert.match(text, /\(a picture\) cat\.jpg/);
    assert.match(text, new RegExp(`\\* alice${count} waves`));
    assert.doesNotMatch(html + text, /hidden/);
    assert.equal(text.match(/waves/g)!.length, 1, "what stands in two notifications is shown once");
  });

  it("do not go to an address that is somebody else's now, nor about rooms that the user has left", async () => {
    await send("left behind");
    await server.as(bob).post(`${V3}/rooms/${room}/leave`).expect(200);
    await later(25 * HOUR);
    assert.deepEqual(mails.mails, []);
    const other = await makeRoom(server.ctx, alice.userId, { members: [bob.userId] });
    await send("secret", other);
    await server.ctx.transaction("test", (txn) => upsertThreepid(txn, alice.userId, { medium: "email", address: address(), validated_at: 1, added_at: 1 }));
    await later(25 * HOUR);
    assert.deepEqual(mails.mails, []);
    assert.deepEqual(await rows(), []);
  });

  it("end with the address", async () => {
    await server.as(bob).post(`${V3}/account/3pid/delete`, { medium: "email", address: address() }).expect(200);
    assert.deepEqual(await rows(), []);
  });

  it("are off without email.enable_notifs", async () => {
    const other = await startTestServer({ clock, config: emailOptions({ enable_notifs: false }) });
    const silent = new PusherPool(() => other.ctx, other.ctx.config);
    try {
      const ann = await other.register("ann");
      const ben = await other.register("ben");
      await silent.start(other.ctx.publisher);
      await other.ctx.transaction("test", (txn) =>
        upsertThreepid(txn, ben.userId, { medium: "email", address: "ben@example.org", validated_at: 1, added_at: 1 }),
      );
      const body = { kind: "email", app_id: "m.email", app_display_name: "x", device_display_name: "x", pushkey: "ben@example.org", lang: "en", data: {} };
      await other.as(ben).post(`${V3}/pushers/set`, body).expect(200);
      const roomId = await makeRoom(other.ctx, ann.userId, { members: [ben.userId] });
      await sendEvent(other.ctx, requesterOf(ann.userId), { roomId, type: "m.room.message", content: { msgtype: "m.text", body: "x" } });
      await silent.settled();
      clock.advance(25 * HOUR);
      await silent.settled();
      assert.deepEqual(mails.mails, []);
    } finally {
      await silent.close();
      await other.close();
    }
  });

  it("are made from the admin's templates with Synapse's values", async () => {
    await writeFile(
      join(folder, "notif_mail.html"),
      `{{ user_display_name }}|{{ app_name }}|{{ server_name }}|{{ summary_text }}|{{ reason.room_name }}|{{ reason.received_at|format_ts("%Y") }}|{{ reason.throttle_ms }}` +
        `{% for room in rooms %}{% include 'room.html' with context %}{% endfor %}`,
    );
    await writeFile(
      join(folder, "room.html"),
      `[{{ room.title }} {{ room.invite }} {{ room.avatar_url|mxc_to_http(48,48) }} {{ room.hash % 3 }}{% for notif in room.notifs %}{% include 'notif.html' with context %}{% endfor %}]`,
    );
    await writeFile(
      join(folder, "notif.html"),
      `({% for message in notif.messages %}{% if loop.index0 == 0 or notif.messages[loop.index0 - 1].sender_name != notif.messages[loop.index0].sender_name %}` +
        `{{ message.sender_name }}: {% endif %}{{ message.body_text_html }}{{ "historical" if message.is_historical else "message" }};{% endfor %})`,
    );
    const other = await startTestServer({ clock, config: emailOptions({ template_dir: folder }) });
    const pushers = new PusherPool(() => other.ctx, other.ctx.config);
    try {
      const ann = await other.register("ann");
      const ben = await other.register("ben");
      await pushers.start(other.ctx.publisher);
      await other.ctx.transaction("test", (txn) =>
        upsertThreepid(txn, ben.userId, { medium: "email", address: "ben@example.org", validated_at: 1, added_at: 1 }),
      );
      const body = { kind: "email", app_id: "m.email", app_display_name: "x", device_display_name: "x", pushkey: "ben@example.org", lang: "en", data: {} };
      await other.as(ben).post(`${V3}/pushers/set`, body).expect(200);
      const roomId = await makeRoom(other.ctx, ann.userId, { members: [ben.userId] });
      const say = (type: string, content: JsonObject, stateKey?: string) =>
        sendEvent(other.ctx, requesterOf(ann.userId), { roomId, type, content, ...(stateKey === undefined ? {} : { stateKey }) });
      await say("m.room.name", { name: "A & B" }, "");
      await say("m.room.avatar", { url: "mxc://test/pic" }, "");
      await say("m.room.message", { msgtype: "m.text", body: "one" });
      await say("m.room.message", { msgtype: "m.text", body: "two" });
      await pushers.settled();
      clock.advance(10 * MINUTE);
      await pushers.settled();
      const hash = [...roomId].reduce((sum, char) => sum + char.codePointAt(0)!, 0) % 3;
      const picture = "https://test/_matrix/media/v1/thumbnail/test/pic?width=48&amp;height=48&amp;method=crop";
      const year = new Date(clock.now()).getUTCFullYear();
      assert.equal(
        mails.last.html.trim(),
        `ben|Myelin|test|[Myelin] You have messages on Myelin in the A &amp; B room...|A &amp; B|${year}|0[A &amp; B false ${picture} ${hash}(ann: onemessage;twomessage;)]`,
      );
    } finally {
      await pushers.close();
      await other.close();
    }
  });
});
