import assert from "node:assert/strict";
import { endParties, MOST_SIGNS, type Party, sameExtremities, SIGN_MS, startParty } from "./harness/parties.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { waitFor } from "./harness/scratch.ts";
import { startServer } from "./harness/server.ts";
import { ENCRYPTION, Person, until } from "./js-sdk/person.ts";
import { acquainted, compareEmoji, deviceIs, received, userIs, verifiedUser } from "./js-sdk/verification.ts";
import { requireServers, sides } from "./sides.ts";

const SPOKEN = ["log", "info", "debug", "warn", "error"] as const;

/** Real clients with real encryption, on two homeservers of different make. */
describe("federation: matrix-js-sdk with Rust crypto on both sides", function () {
  this.timeout(10 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer | undefined;
  const parties: Party[] = [];
  const people: Person[] = [];

  before("two servers can be had", async function () {
    requireServers(this, a, b);
    for (const name of SPOKEN) console[name] = () => {}; // the SDK, and Rust below it, tell every step
    postgres = await acquirePostgres();
    const starting = [a, b].map((kind, index) => startParty(kind, `owner${index}`, { name: `fed-e2ee-${index}-${kind}`, postgres: postgres! }));
    parties.push(...(await Promise.all(starting)));
  });
  after(async () => {
    for (const person of people) person.stop();
    await endParties(parties, postgres);
  });

  for (const [m, j] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const [makerKind, joinerKind] = m === 0 ? [a, b] : [b, a];
    describe(`somebody of ${makerKind} makes the room, somebody of ${joinerKind} comes in (${m})`, () => {
      let maker: Party;
      let joiner: Party;
      let alice: Person;
      let bob: Person;
      let roomId: string;
      const login = async (party: Party, name: string, deviceId: string, existing = false): Promise<Person> => {
        const person = await Person.login(party.home.baseUrl, name, { deviceId, existing, crypto: true });
        people.push(person);
        return person;
      };
      /** Says something in the room, which all of them read. */
      const heard = async (by: Person, body: string, ...readers: Person[]): Promise<void> => {
        await by.says(roomId, body);
        for (const reader of readers) await reader.hears(body);
      };

      before(async () => {
        [maker, joiner] = [parties[m]!, parties[j]!];
        [alice, bob] = await Promise.all([login(maker, `alice${m}`, "ALICE1"), login(joiner, `bob${m}`, "BOB1")]);
        await Promise.all([alice.bootstrap(), bob.bootstrap()]);
      });

      it("they read each other from the first message on", async () => {
        roomId = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
        await heard(alice, "one", bob);
        await heard(bob, "two", alice);
        await alice.rotate(roomId);
        await heard(alice, "three, of a new session", bob);
        await sameExtremities(parties as [Party, Party], roomId);
      });

      it("devices that log in later are given the keys of what is said from then on, and are signed by their owners", async () => {
        const tablet = await login(maker, `alice${m}`, "ALICE2", true);
        await acquainted(bob, tablet);
        await heard(bob, "four, to two devices of alice's", alice, tablet);
        const phone = await login(joiner, `bob${m}`, "BOB2", true);
        await acquainted(alice, phone);
        await acquainted(tablet, phone);
        await heard(tablet, "five, to two devices of bob's", bob, phone, alice);
        await heard(phone, "six, from the newest", alice, tablet, bob);
        for (const [by, of] of [
          [alice, bob],
          [bob, alice],
        ] as const)
          await until(`${by.userId} sees who signed ${of.deviceId}`, async () => (await deviceIs(by, of))?.signedByOwner === true);
        assert.equal((await deviceIs(bob, tablet))?.signedByOwner, false, "nobody has signed the tablet yet");

        await phone.sdk.logout(true);
        await until("alice sees the phone go", async () => !(await alice.crypto.getUserDeviceInfo([bob.userId], true)).get(bob.userId)?.has("BOB2"));
        await heard(alice, "seven, without the phone", bob, tablet);
      });

      it("they verify each other by emoji, and see when one of them has begun anew", async () => {
        await acquainted(alice, bob);
        assert.deepEqual([(await userIs(alice, bob)).verified, (await userIs(bob, alice)).verified], [false, false]);
        const asking = await alice.crypto.requestVerificationDM(bob.userId, roomId);
        await compareEmoji(asking, await received(bob, alice), true);
        await verifiedUser(alice, bob);
        await verifiedUser(bob, alice);
        assert.equal((await deviceIs(alice, bob))?.crossSigned, true);
        await bob.crypto.resetEncryption((request) => bob.withPassword(request));
        await until("alice sees that bob is another", async () => (await userIs(alice, bob)).verified === false);
        await alice.crypto.withdrawVerificationRequirement(bob.userId);
        await heard(alice, "eight, to whoever that is", bob);
      });

      it("room keys wait for a server that is away", async () => {
        bob.pause();
        await joiner.server.stop();
        await alice.rotate(roomId);
        await alice.says(roomId, "nine, while nobody is there");
        joiner.server = await startServer(joiner.kind, joiner.home);
        bob.resume();
        // As in the other suites: the first sign of life may come while the last attempt to reach him is still failing.
        const isHeard = (): true | undefined => (bob.heard.includes("nine, while nobody is there") ? true : undefined);
        for (let sign = 1; isHeard() === undefined; sign++) {
          await heard(bob, `ten, I am back, ${sign}`, alice);
          await waitFor("what waited", SIGN_MS, isHeard).catch((error: unknown) => {
            if (sign === MOST_SIGNS) throw error;
          });
        }
      });

      it("nothing that anybody was sent stayed unreadable, or came in plain text", async () => {
        for (const each of [alice, bob]) {
          const room = await each.room(roomId);
          // The SDK asks for a verification in plain text.
          const plain = [...each.plain].map((id) => room.findEventById(id)?.getContent()["msgtype"] as unknown);
          assert.ok(
            plain.every((type) => type === "m.key.verification.request"),
            `${each.userId}: ${plain.join()}`,
          );
          for (const id of each.undecrypted)
            await until(`${each.userId} can read ${id} after all`, () => room.findEventById(id)?.isDecryptionFailure() === false);
        }
      });
    });
  }
});
