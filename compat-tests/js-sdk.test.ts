import assert from "node:assert/strict";
import {
  ClientEvent,
  createClient,
  EventType,
  MatrixEventEvent,
  MsgType,
  Preset,
  Visibility,
  type MatrixClient as SdkClient,
  type MatrixEvent,
} from "matrix-js-sdk";
import { C, MatrixClient } from "./harness/client.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { waitFor } from "./harness/scratch.ts";
import { startServer, type RunningServer } from "./harness/server.ts";
import { requireServers, sides } from "./sides.ts";

const SPOKEN = ["log", "info", "debug", "warn", "error"] as const;
const PASSWORD = "an encrypted password";

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
    const one = await Person.login(home.baseUrl, name, deviceId, register);
    people.push(one);
    return one;
  };

  before(async function () {
    requireServers(this, a, b);
    for (const name of SPOKEN) console[name] = () => {}; // the SDK, and Rust below it, tell every step
    postgres = await acquirePostgres();
    home = await makeHome({ name: "js-sdk", postgres });
  });

  after(async () => {
    for (const each of people) each.sdk.stopClient();
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
    const { room_id } = await alice.sdk.createRoom({
      preset: Preset.TrustedPrivateChat,
      visibility: Visibility.Private,
      invite: [bob.userId],
      initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    });
    roomId = room_id;
    await waitFor("the invite", 30_000, () => bob.sdk.getRoom(roomId) ?? undefined);
    await bob.sdk.joinRoom(roomId);
    await waitFor("bob's join", 30_000, () => (alice.sdk.getRoom(roomId)?.getMember(bob.userId)?.membership === "join" ? true : undefined));
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
    await waitFor(
      "alice's keys are backed up",
      60_000,
      async () => ((await new MatrixClient(home.baseUrl, alice.sdk.getAccessToken()!).get(`${C}/room_keys/version`)).count > 0 ? true : undefined),
      1000,
    );
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
    for (const each of [alice, bob]) assert.deepEqual([...each.undecrypted], [], each.userId);
  });
});

/** A person with a real client. */
class Person {
  readonly heard: string[] = [];
  readonly undecrypted = new Set<string>();
  backupKey: Uint8Array | undefined;

  private constructor(
    readonly userId: string,
    readonly sdk: SdkClient,
    private readonly network: { up: boolean; cut: AbortController },
  ) {}

  static async login(baseUrl: string, name: string, deviceId: string, register: boolean): Promise<Person> {
    const login = new MatrixClient(baseUrl);
    if (register) await login.register(name, PASSWORD, { device_id: deviceId });
    else await login.login(name, PASSWORD, { device_id: deviceId });
    let keys: { keyId: string; key: Uint8Array } | undefined;
    const network = { up: true, cut: new AbortController() };
    const sdk = createClient({
      fetchFn: (input, init) =>
        network.up
          ? fetch(input, { ...init, signal: AbortSignal.any([network.cut.signal, ...(init?.signal ? [init.signal] : [])]) })
          : Promise.reject(new TypeError("fetch failed")),
      baseUrl,
      userId: login.userId,
      deviceId,
      accessToken: login.accessToken,
      cryptoCallbacks: {
        getSecretStorageKey: () => Promise.resolve(keys === undefined ? null : [keys.keyId, keys.key as Uint8Array<ArrayBuffer>]),
        cacheSecretStorageKey: (keyId, _info, key) => {
          keys = { keyId, key };
        },
      },
    });
    const person = new Person(login.userId, sdk, network);
    await sdk.initRustCrypto({ useIndexedDB: false });
    sdk.on(MatrixEventEvent.Decrypted, (event) => person.notice(event));
    sdk.on(ClientEvent.Event, (event) => person.notice(event));
    await sdk.startClient({ initialSyncLimit: 30 });
    await waitFor(`${name} has synced`, 60_000, () => (sdk.isInitialSyncComplete() ? true : undefined));
    return person;
  }

  private notice(event: MatrixEvent): void {
    if (event.getType() === "m.room.encrypted" && event.isDecryptionFailure()) this.undecrypted.add(event.getId() ?? "?");
    if (event.getType() !== "m.room.message") return;
    this.undecrypted.delete(event.getId() ?? "?");
    assert.equal(event.isEncrypted(), true, "everything in this room is encrypted");
    this.heard.push(String(event.getContent()["body"]));
  }

  /** Cross-signing, secret storage and a key backup, as a client sets them up for a new account. */
  async bootstrap(): Promise<void> {
    const crypto = this.sdk.getCrypto()!;
    await crypto.bootstrapCrossSigning({
      authUploadDeviceSigningKeys: async (request) => {
        await request({ type: "m.login.password", identifier: { type: "m.id.user", user: this.userId }, password: PASSWORD });
      },
    });
    await crypto.bootstrapSecretStorage({
      createSecretStorageKey: () => crypto.createRecoveryKeyFromPassphrase(),
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
    });
    this.backupKey = (await crypto.getSessionBackupPrivateKey()) ?? undefined;
    await crypto.checkKeyBackupAndEnable();
  }

  async says(roomId: string, body: string): Promise<void> {
    await waitFor(`${this.userId} has the room`, 60_000, () => this.sdk.getRoom(roomId) ?? undefined);
    await this.sdk.sendEvent(roomId, EventType.RoomMessage, { msgtype: MsgType.Text, body });
  }

  async hears(body: string): Promise<void> {
    await waitFor(`${this.userId} reads "${body}"`, 60_000, () => (this.heard.includes(body) ? true : undefined));
  }

  /** The next message takes a new session, whose key has to reach everybody. */
  async rotate(roomId: string): Promise<void> {
    await this.sdk.getCrypto()!.forceDiscardSession(roomId);
  }

  /** Takes the client off the network, as in a tunnel. */
  pause(): void {
    this.network.up = false;
    this.network.cut.abort();
  }

  resume(): void {
    this.network.up = true;
    this.network.cut = new AbortController();
    this.sdk.retryImmediately();
  }
}
