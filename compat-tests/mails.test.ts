import assert from "node:assert/strict";
import { MailServer, type ReceivedMail } from "../src/testing/mail-server.ts";
import { C, type MatrixClient } from "./harness/client.ts";
import { emailSection } from "./harness/email-section.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { sleep, waitFor } from "./harness/scratch.ts";
import { type RunningServer, startServer } from "./harness/server.ts";
import { requireServers, sides } from "./sides.ts";

const DELAY_MS = 2_000;
/** So long nothing comes: longer than the delay, shorter than a throttled room waits. */
const QUIET_MS = 6_000;
const PASSWORD = "a long enough password";
const ADDRESS = "bob@example.org";

interface Told {
  readonly step: string;
  readonly subject: string | undefined;
  readonly from: string | undefined;
  readonly to: readonly string[];
  readonly unsubscribe: readonly (string | undefined)[];
  /** `pusher_throttle.throttle_ms` of all rooms, in the order of their mails. */
  readonly throttles: readonly number[];
}

/** Mails about unread messages: when they come, what they are called, what they leave in the database. */
describe("mails: two servers write the same ones at the same time", function () {
  this.timeout(10 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let mails: MailServer;
  let home: Home;
  let server: RunningServer | undefined;
  let sessions: { alice: string; carl: string } | undefined;
  let harbour = "";
  const told: Told[][] = [];

  before(async function () {
    requireServers(this, a, b);
    postgres = await acquirePostgres();
    mails = await MailServer.start();
    const email = { ...emailSection(mails), enable_notifs: true, notif_delay_before_mail: `${DELAY_MS / 1000}s`, client_base_url: "https://chat.compat.test" };
    home = await makeHome({ name: "mails", postgres, extra: { email, user_consent: undefined } });
  });
  after(async () => {
    await server?.kill();
    await mails?.close();
    if (home !== undefined && process.env["COMPAT_KEEP"] === undefined) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  const nextMail = (count: number): Promise<ReceivedMail> => waitFor(`mail ${count + 1}`, 30_000, () => mails.mails[count]);
  async function tell(step: string, provoke: () => Promise<unknown>): Promise<Told> {
    const count = mails.mails.length;
    await provoke();
    const { headers, to } = await nextMail(count);
    await sleep(1_000); // the throttle is written after the mail
    assert.equal(mails.mails.length, count + 1, `${step}: one mail`);
    const link = new URL(/<(.*)>/.exec(headers.get("list-unsubscribe")!)![1]!);
    const rows = await postgres.query<{ throttle_ms: string }>(home.database, "SELECT throttle_ms FROM pusher_throttle ORDER BY last_sent_ts, throttle_ms");
    return {
      step,
      subject: headers.get("subject"),
      from: headers.get("from")?.replaceAll('"', ""),
      to,
      unsubscribe: [headers.get("list-unsubscribe-post"), link.pathname, [...link.searchParams.keys()].join(), link.searchParams.get("pushkey") ?? undefined],
      throttles: rows.map((row) => Number(row.throttle_ms)),
    };
  }

  async function room(alice: MatrixClient, others: readonly MatrixClient[], options: Record<string, unknown>): Promise<string> {
    const roomId = await alice.createRoom({ preset: "public_chat", ...options });
    for (const other of others) await other.join(roomId);
    return roomId;
  }

  async function script(running: RunningServer): Promise<Told[]> {
    const [alice, bob, carl] = [running.client(), running.client(), running.client()];
    for (const [name, client] of Object.entries({ alice, bob, carl })) await client.register(name, PASSWORD);
    sessions = { alice: alice.accessToken!, carl: carl.accessToken! };
    await postgres.query(home.database, "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES ($1, 'email', $2, 1, 1)", [
      bob.userId,
      ADDRESS,
    ]);
    const pusher = { kind: "email", app_id: "m.email", app_display_name: "E-mail", device_display_name: ADDRESS, pushkey: ADDRESS, lang: "en", data: {} };
    await bob.post(`${C}/pushers/set`, pusher);
    harbour = await room(alice, [bob, carl], { name: "Harbour & <co>" });
    const plain = await room(alice, [bob, carl], {});
    const both = (one: Promise<unknown>, two: () => Promise<unknown>): Promise<unknown> => one.then(two);
    return [
      await tell("a message", () => alice.text(harbour, "one")),
      await tell("two messages", () => both(alice.text(harbour, "two"), () => carl.text(harbour, "three"))),
      await tell("two people in a room without name", () => both(alice.text(plain, "one"), () => carl.text(plain, "two"))),
      await tell("an invitation to a chat", () => alice.createRoom({ preset: "private_chat", is_direct: true, invite: [bob.userId] })),
      await tell("an invitation to a room", () => alice.createRoom({ preset: "private_chat", name: "Club", invite: [bob.userId] })),
      await tell("an invitation to a space", () => alice.createRoom({ name: "World", creation_content: { type: "m.space" }, invite: [bob.userId] })),
      await tell("two rooms", async () => {
        const rooms = [await room(alice, [bob], { name: "First" }), await room(alice, [bob], { name: "Second" })];
        await alice.text(rooms[0]!, "hello");
        await sleep(DELAY_MS / 2); // the first is due alone
        await alice.text(rooms[1]!, "hello");
      }),
    ];
  }

  for (const kind of [a, b]) {
    it(`${kind} writes, from an empty database`, async () => {
      await server?.kill();
      await postgres.createDatabase(home.database);
      server = await startServer(kind, home);
      told.push(await script(server));
      await server.stop();
      server = undefined;
    });
  }

  it("the mails and what they leave are the same", () => {
    const [one, two] = told;
    assert.ok(one !== undefined && two !== undefined, "both were asked");
    assert.deepEqual(one, two);
  });

  for (const [index, kind] of [a, b].entries()) {
    it(`${kind} goes on where the other stopped: nothing twice, and rooms wait as long as they would have`, async () => {
      await server?.kill();
      const count = mails.mails.length;
      server = await startServer(kind, home);
      const [alice, carl] = [server.client(sessions!.alice), server.client(sessions!.carl)];
      await carl.send(harbour, "m.room.message", { msgtype: "m.text", body: `throttled, says ${kind}` }, `resumed${index}`);
      await sleep(QUIET_MS);
      assert.equal(mails.mails.length, count, "the room has been written about too lately");
      const bob = "@bob:compat.test";
      const mail = await tell("an invitation", () => alice.createRoom({ preset: "private_chat", name: `Room of ${kind}`, invite: [bob] }));
      assert.match(mail.subject!, /^\[Compat\] You have messages on Compat in the Room of \w+ room and others\.\.\.$/);
      assert.match(mails.last.text, new RegExp(`throttled, says ${kind}`));
      await server.stop();
      server = undefined;
    });
  }
});
