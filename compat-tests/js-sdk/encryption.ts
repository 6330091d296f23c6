import assert from "node:assert/strict";
import { type EventType, RelationType } from "matrix-js-sdk";
import { CryptoEvent, deriveRecoveryKeyFromPassphrase } from "matrix-js-sdk/lib/crypto-api/index.js";
import { C, U, type Json } from "../harness/client.ts";
import { ENCRYPTION, type Person, refusal, type Scenario, type Stage, until } from "./person.ts";

const PASSPHRASE = "correct horse battery staple";

async function restore(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["backup-alice", "backup-bob"], { crypto: true })) as [Person, Person];
  await alice.bootstrap(PASSPHRASE);
  const room = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
  await alice.says(room, "a first session");
  await alice.rotate(room);
  await alice.says(room, "a second session");
  await bob.says(room, "a session of bob's");
  await alice.hears("a session of bob's");
  await alice.backedUp(3);
  await alice.sdk.logout(true);

  // All that is left is the passphrase.
  const described = await bob.http.request("GET", `${C}/room_keys/version`);
  const phone = await stage.person("backup-alice", { deviceId: "PHONE", existing: true, crypto: true });
  await until("the new device fails to read", () => phone.undecrypted.size === 3);
  const keyId = (await phone.sdk.secretStorage.getDefaultKeyId())!;
  const [, info] = (await phone.sdk.secretStorage.getKey(keyId))!;
  const wrong = await deriveRecoveryKeyFromPassphrase("wrong", info.passphrase!.salt, info.passphrase!.iterations);
  const key = await deriveRecoveryKeyFromPassphrase(PASSPHRASE, info.passphrase!.salt, info.passphrase!.iterations);
  const fits = [await phone.sdk.secretStorage.checkKey(wrong, info), await phone.sdk.secretStorage.checkKey(key, info)];
  phone.recovery = { keyId, key };
  await phone.knowsItself();
  await phone.crypto.bootstrapCrossSigning({});
  await phone.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
  const trust = await phone.crypto.isKeyBackupTrusted((await phone.crypto.getKeyBackupInfo())!);
  const restored = await phone.crypto.restoreKeyBackup();
  await phone.crypto.checkKeyBackupAndEnable();
  for (const body of ["a first session", "a second session", "a session of bob's"]) await phone.hears(body);
  await until("everything can be read", () => phone.undecrypted.size === 0);

  // The device that went is gone for others, and is not encrypted for.
  await until("bob knows her new device alone", async () => {
    const devices = await bob.crypto.getUserDeviceInfo([phone.userId], true);
    return [...(devices.get(phone.userId)?.keys() ?? [])].join() === "PHONE";
  });
  const status = await bob.crypto.getDeviceVerificationStatus(phone.userId, "PHONE");
  await bob.says(room, "to the new device");
  await phone.hears("to the new device");
  await phone.says(room, "from the new device");
  await bob.hears("from the new device");
  await phone.backedUp(5);

  // Another backup takes the place of the first, whose version is gone.
  const version = async (): Promise<string> => (await phone.http.get(`${C}/room_keys/version`)).version;
  const first = await version();
  await phone.crypto.resetKeyBackup();
  const second = await version();
  await phone.backedUp(5);
  const old = await phone.http.request("GET", `${C}/room_keys/version/${first}`);
  await phone.crypto.disableKeyStorage();
  return {
    described: [described.status, described.body.errcode],
    fits,
    trust,
    restored: [restored.imported, restored.total],
    ready: [await phone.crypto.isCrossSigningReady(), status?.signedByOwner],
    versions: [first, second, old.status, await phone.crypto.getKeyBackupInfo(), await phone.sdk.secretStorage.getDefaultKeyId()],
  };
}

async function relations(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["secret-alice", "secret-bob"], { crypto: true })) as [Person, Person];
  const room = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
  const root = await alice.says(room, "the root");
  await bob.hears("the root");
  const edited = { msgtype: "m.text", body: "the root, edited" };
  await alice.sends(room, {
    ...edited,
    body: "* the root, edited",
    "m.new_content": edited,
    "m.relates_to": { rel_type: RelationType.Replace, event_id: root },
  });
  const seen = await bob.event(room, root);
  await until("bob sees the edit", () => seen.getContent()["body"] === "the root, edited");
  await bob.sdk.sendEvent(room, "m.reaction" as EventType.Reaction, { "m.relates_to": { rel_type: RelationType.Annotation, event_id: root, key: "🦊" } });
  const reactions = () => alice.sdk.getRoom(room)!.relations.getChildEventsForEvent(root, RelationType.Annotation, "m.reaction")?.getSortedAnnotationsByKey();
  await until("alice sees the reaction", () => reactions()?.length === 1);
  await bob.replies(room, root, "in the thread");
  const thread = await until("alice has the thread", () => alice.sdk.getRoom(room)!.getThread(root));
  await until("alice reads its reply", () => thread.replyToEvent?.getContent()["body"] === "in the thread");
  const reply = thread.replyToEvent!;
  assert.equal(reply.getWireType(), "m.room.encrypted");
  await until("the thread counts", () => thread.length === 1);
  return {
    wire: Object.keys(reply.getWireContent()).sort(),
    relation: reply.getWireContent()["m.relates_to"]?.rel_type,
    key: reactions()![0]![0],
    plain: [...bob.plain],
  };
}

async function withheld(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["withheld-alice", "withheld-bob"], { crypto: true })) as [Person, Person];
  const room = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
  await alice.crypto.getUserDeviceInfo([bob.userId], true);
  alice.crypto.globalBlacklistUnverifiedDevices = true;
  const kept = await alice.says(room, "not for everybody");
  // The SDK's build for Node forgets the code of the failure, not its words.
  const reason = await until("bob is told that he is not given the key", () => {
    const event = bob.sdk.getRoom(room)!.findEventById(kept);
    return event?.isDecryptionFailure() && String(event.getContent()["body"]);
  });
  assert.match(reason, /disabled encrypting to unverified devices/);
  alice.crypto.globalBlacklistUnverifiedDevices = false;
  await alice.rotate(room);
  await alice.says(room, "for everybody");
  await bob.hears("for everybody");
  return { reason, undecrypted: bob.undecrypted.size };
}

async function toDevices(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["device-alice", "device-bob"], { crypto: true })) as [Person, Person];
  const tablet = await stage.person("device-bob", { deviceId: "TABLET", existing: true, crypto: true });
  const room = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
  await tablet.room(room);
  await alice.says(room, "we know each other");
  await bob.hears("we know each other");
  await until("alice knows both of bob's devices", async () => (await alice.crypto.getUserDeviceInfo([bob.userId])).get(bob.userId)?.size === 2);
  const to = (person: Person) => ({ userId: person.userId, deviceId: person.deviceId });
  await alice.sdk.encryptAndSendToDevice("org.example.secret", [to(bob), to(tablet)], { hello: "devices" });
  await alice.sdk.sendToDevice("org.example.plain", new Map([[bob.userId, new Map([["*", { hello: "everybody" }]])]]));
  const came = async (person: Person): Promise<Json> => {
    for (const type of ["org.example.secret", "org.example.plain"])
      await until(`${person.deviceId} is sent ${type}`, () => person.toDevice.some((each) => each.type === type));
    return person.toDevice.filter(({ type }) => type.startsWith("org.example.")).sort((a, b) => a.type.localeCompare(b.type));
  };
  // What waits for a client that is away is there when it comes back, in its order.
  tablet.pause();
  for (let i = 0; i < 5; i++) await alice.sdk.sendToDevice("org.example.later", new Map([[bob.userId, new Map([["TABLET", { i }]])]]));
  const first = [await came(bob)];
  tablet.resume();
  await until("what waited has come", () => tablet.toDevice.filter(({ type }) => type === "org.example.later").length >= 5);
  return [...first, await came(tablet)];
}

async function dehydrated(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["sleeping-alice", "sleeping-bob"], { crypto: true })) as [Person, Person];
  await alice.bootstrap();
  const supported = await alice.crypto.isDehydrationSupported();
  const room = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
  await alice.crypto.startDehydration();
  const sleeping = await alice.http.get(`${U}/org.matrix.msc3814.v1/dehydrated_device`);
  await until("bob sees the sleeping device", async () =>
    (await bob.crypto.getUserDeviceInfo([alice.userId], true)).get(alice.userId)?.has(sleeping.device_id),
  );
  await alice.sdk.logout(true);
  await until("bob sees alice go", async () => !(await bob.crypto.getUserDeviceInfo([alice.userId], true)).get(alice.userId)?.has(alice.deviceId));
  await bob.says(room, "while nobody was there");

  const awake = await stage.person("sleeping-alice", { deviceId: "AWAKE", existing: true, crypto: true, recovery: alice.recovery! });
  let keys = 0;
  awake.sdk.on(CryptoEvent.RehydrationProgress, (count) => (keys = count));
  await awake.knowsItself();
  await awake.crypto.bootstrapCrossSigning({});
  await awake.crypto.startDehydration();
  await awake.hears("while nobody was there");
  const next = await awake.http.get(`${U}/org.matrix.msc3814.v1/dehydrated_device`);
  assert.notEqual(next.device_id, sleeping.device_id);
  return { supported, keys, algorithm: sleeping.device_data.algorithm, listed: (await awake.sdk.getDevices()).devices.length };
}

async function signingOut(stage: Stage): Promise<Json> {
  const alice = await stage.person("reset-alice", { crypto: true });
  await alice.bootstrap();
  const others = await Promise.all(["OLD1", "OLD2"].map((deviceId) => stage.person("reset-alice", { deviceId, existing: true, crypto: true, idle: true })));
  const listed = (await alice.sdk.getDevices()).devices.map(({ device_id }) => device_id).sort();
  const bare = await refusal(alice.sdk.deleteMultipleDevices(["OLD1", "OLD2"]));
  await alice.withPassword((auth) => alice.sdk.deleteMultipleDevices(["OLD1", "OLD2"], auth ?? undefined));
  const token = await refusal(others[0]!.sdk.whoami());
  const left = (await alice.sdk.getDevices()).devices.map(({ device_id }) => device_id);
  const master = await alice.crypto.getCrossSigningKeyId();
  let asked = 0;
  await alice.crypto.bootstrapCrossSigning({
    setupNewCrossSigning: true,
    authUploadDeviceSigningKeys: async (request) => {
      asked++;
      await alice.withPassword(request);
    },
  });
  assert.notEqual(await alice.crypto.getCrossSigningKeyId(), master);
  return { listed, bare, token, left, asked };
}

/** Key backup, secret storage, devices, and what is sent to them. */
export const ENCRYPTED: readonly Scenario[] = [
  { name: "a new device with nothing but the passphrase restores keys and history", run: restore },
  { name: "edits, reactions and threads work where everything is encrypted", run: relations },
  { name: "a device that is not verified is told that it is not given the key", run: withheld },
  { name: "messages to devices come, encrypted or not, and wait for those that are away", run: toDevices },
  { name: "a dehydrated device keeps the keys that came while nobody was there", run: dehydrated },
  { name: "devices are signed out and cross-signing is set up anew, by the password alone", run: signingOut },
];
