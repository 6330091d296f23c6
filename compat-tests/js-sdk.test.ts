import assert from "node:assert/strict";
import type { Json } from "./harness/client.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { waitFor } from "./harness/scratch.ts";
import { startServer, type RunningServer } from "./harness/server.ts";
import { CONVERSATION } from "./js-sdk/conversation.ts";
import { ENCRYPTED } from "./js-sdk/encryption.ts";
import { FINDING } from "./js-sdk/finding.ts";
import { ENCRYPTION, Person, type Scenario, Stage } from "./js-sdk/person.ts";
import { ROOMS } from "./js-sdk/rooms.ts";
import { SLIDING } from "./js-sdk/sliding-sync.ts";
import { VERIFICATION } from "./js-sdk/verification.ts";
import { requireServers, sides } from "./sides.ts";

const SPOKEN = ["log", "info", "debug", "warn", "error"] as const;
const SCENARIOS: readonly (readonly [string, readonly Scenario[]])[] = [
  ["verification", VERIFICATION],
  ["encryption", ENCRYPTED],
  ["conversation", CONVERSATION],
  ["rooms", ROOMS],
  ["finding", FINDING],
  ["sliding sync", SLIDING],
];

/** Real clients with real encryption, which do not know that the server behind their URL becomes another. */
describe("matrix-js-sdk with Rust crypto across the swap", function () {
  this.timeout(5 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let home: Home;
  let server: RunningServer | undefined;
  let alice: Person;
  let bob: Person;
  let roomId: string;
  const people: Person[] = [];

  const swapTo = async (kind: typeof a): Promise<void> => {
    await server?.stop();
    server = undefined;
    server = await startServer(kind, home);
  };
  const person = async (name: string, deviceId: string, register: boolean): Promise<Person> => {
    const one = await Person.login(home.baseUrl, name, { deviceId, existing: !register, crypto: true });
    people.push(one);
    return one;
  };

  before(async function () {
    requireServers(this, a, b);
    silence();
    postgres = await acquirePostgres();
    home = await makeHome({ name: "js-sdk", postgres });
  });

  after(async () => {
    for (const each of people) each.stop();
    await server?.kill();
    if (home !== undefined) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  it(`speaks encrypted on ${a}, with cross-signing and a key backup`, async () => {
    await swapTo(a);
    alice = await person("alice", "ALICE1", true);
    bob = await person("bob", "BOB1", true);
    await alice.bootstrap();
    await bob.bootstrap();
    roomId = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
    await alice.says(roomId, "one");
    await bob.hears("one");
    await bob.says(roomId, "two");
    await alice.hears("two");
  });

  it(`goes on when the server has become ${b}`, async () => {
    await swapTo(b);
    await alice.says(roomId, "three");
    await bob.hears("three");
    await bob.says(roomId, "four");
    await alice.hears("four");
  });

  it("a device that logs in after the swap is given keys and decrypts", async () => {
    const second = await person("alice", "ALICE2", false);
    await waitFor("bob knows the new device", 60_000, async () => {
      const devices = await bob.sdk.getCrypto()!.getUserDeviceInfo([alice.userId], true);
      return devices.get(alice.userId)?.has("ALICE2") ? true : undefined;
    });
    await bob.says(roomId, "five");
    await second.hears("five");
    await alice.hears("five");
    await second.says(roomId, "six");
    await bob.hears("six");
  });

  it("a device restores the backup that was made before the swap", async () => {
    const third = await person("alice", "ALICE3", false);
    const crypto = third.sdk.getCrypto()!;
    assert.ok(alice.backupKey, "alice has a backup key");
    const info = await crypto.getKeyBackupInfo();
    assert.ok(info?.version, "the backup is there");
    await third.backedUp(1);
    await crypto.storeSessionBackupPrivateKey(alice.backupKey, info.version);
    const restored = await crypto.restoreKeyBackup();
    assert.ok(restored.imported > 0, `imported ${restored.imported} of ${restored.total}`);
  });

  it("cross-signing made before the swap still verifies", async () => {
    const status = await alice.sdk.getCrypto()!.getDeviceVerificationStatus(alice.userId, "ALICE1");
    assert.equal(status?.signedByOwner, true);
    const seen = await bob.sdk.getCrypto()!.getDeviceVerificationStatus(alice.userId, "ALICE1");
    assert.equal(seen?.signedByOwner, true);
  });

  it(`room keys that waited on ${b} are handed out by ${a}`, async () => {
    bob.pause();
    await alice.rotate(roomId);
    await alice.says(roomId, "seven, while bob sleeps");
    await swapTo(a);
    bob.resume();
    await bob.hears("seven, while bob sleeps");
  });

  it(`goes on when the server has become ${a} again`, async () => {
    await bob.says(roomId, "eight");
    await alice.hears("eight");
    await alice.rotate(roomId);
    await alice.says(roomId, "nine");
    await bob.hears("nine");
  });

  it("nothing that anybody was sent stayed undecrypted", () => {
    for (const each of [alice, bob]) assert.deepEqual([...each.undecrypted, ...each.plain], [], each.userId);
  });
});

/** The SDK, and Rust below it, tell every step. */
function silence(): void {
  for (const name of SPOKEN) console[name] = () => {};
}

/** The same people do the same with either server, each with an empty database. */
describe("matrix-js-sdk does not notice which server it has", function () {
  this.timeout(5 * 60_000);
  const { a, b } = sides();
  const told = { [a]: new Map<string, Json>(), [b]: new Map<string, Json>() };
  let postgres: PostgresServer;

  before(async function () {
    requireServers(this, a, b);
    silence();
    postgres = await acquirePostgres();
  });
  after(() => postgres?.stop());

  for (const kind of new Set([a, b])) {
    describe(`on ${kind}`, () => {
      let home: Home;
      let server: RunningServer | undefined;
      let stage: Stage;
      before(async () => {
        // With thread subscriptions, threads that one does not follow would count no messages.
        home = await makeHome({ name: `js-sdk-${kind}`, postgres, features: { msc4306_enabled: false }, extra: { user_consent: undefined } });
        server = await startServer(kind, home);
        stage = new Stage(home.baseUrl);
      });
      afterEach(() => stage.empty());
      after(async () => {
        await server?.kill();
        if (home !== undefined) await postgres.dropDatabase(home.database);
      });
      for (const [topic, scenarios] of SCENARIOS)
        for (const { name, run } of scenarios)
          it(`${topic}: ${name}`, async () => {
            told[kind]!.set(name, await run(stage));
          });
    });
  }

  // Of its own: a suite's tests run before the suites in it.
  describe("on either", () => {
    for (const [topic, scenarios] of SCENARIOS)
      it(`${topic} comes to the same`, () => {
        for (const { name } of scenarios) {
          const [one, other] = [told[a]!.get(name), told[b]!.get(name)];
          if (one !== undefined && other !== undefined) assert.deepEqual(other, one, name);
        }
      });
  });
});
