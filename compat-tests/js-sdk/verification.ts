import assert from "node:assert/strict";
import { CryptoEvent, type Verifier, VerificationPhase, type VerificationRequest } from "matrix-js-sdk/lib/crypto-api/index.js";
import type { Json } from "../harness/client.ts";
import { ENCRYPTION, type Person, type Scenario, type Stage, until } from "./person.ts";

const SAS = "m.sas.v1";

/** The request that `by` was sent by another device of `from`. */
export async function received(by: Person, from: Person): Promise<VerificationRequest> {
  const request = await until(`${by.deviceId} is asked by ${from.deviceId}`, () =>
    by.requests.find((each) => each.otherUserId === from.userId && each.phase === VerificationPhase.Requested),
  );
  await request.accept();
  return request;
}

function reaches(request: VerificationRequest, phase: VerificationPhase): Promise<unknown> {
  return until(`a verification reaches phase ${phase}`, () => {
    if (phase !== VerificationPhase.Cancelled && request.phase === VerificationPhase.Cancelled) throw new Error(`cancelled: ${request.cancellationCode}`);
    return request.phase >= phase;
  });
}

/** Both see the same emoji, and what `answer` says about it happens. */
export async function compareEmoji(asking: VerificationRequest, asked: VerificationRequest, agree: boolean): Promise<Json> {
  await reaches(asking, VerificationPhase.Ready);
  await reaches(asked, VerificationPhase.Ready);
  const one = await asking.startVerification(SAS);
  const other = await until("the other side has a verifier", () => asked.verifier);
  const ended = Promise.allSettled([one.verify(), other.verify()]);
  const shown = (verifier: Verifier) => until("emoji are shown", () => verifier.getShowSasCallbacks());
  const [left, right] = [await shown(one), await shown(other)];
  assert.deepEqual(left.sas.emoji, right.sas.emoji);
  assert.deepEqual(left.sas.decimal, right.sas.decimal);
  if (agree) await Promise.all([left.confirm(), right.confirm()]);
  else left.mismatch();
  const phase = agree ? VerificationPhase.Done : VerificationPhase.Cancelled;
  await reaches(asking, phase);
  await reaches(asked, phase);
  return { emoji: left.sas.emoji!.length, ended: (await ended).map(({ status }) => status), codes: [asking.cancellationCode, asked.cancellationCode] };
}

export const deviceIs = async (by: Person, of: Person): Promise<Json> => {
  const status = await by.crypto.getDeviceVerificationStatus(of.userId, of.deviceId);
  return status === null ? null : { signedByOwner: status.signedByOwner, crossSigned: status.crossSigningVerified, verified: status.isVerified() };
};
export const userIs = async (by: Person, of: Person): Promise<Json> => {
  const status = await by.crypto.getUserVerificationStatus(of.userId);
  return { verified: status.isCrossSigningVerified(), before: status.wasCrossSigningVerified(), approval: status.needsUserApproval };
};
export const verifiedDevice = (by: Person, of: Person) =>
  until(`${by.deviceId} takes ${of.deviceId} as verified`, async () => (await deviceIs(by, of))?.crossSigned === true);
export const verifiedUser = (by: Person, of: Person) =>
  until(`${by.userId} takes ${of.userId} as verified`, async () => (await userIs(by, of)).verified === true);

/** Both devices know each other's keys and the account's cross-signing keys. */
export async function acquainted(...devices: Person[]): Promise<void> {
  for (const one of devices)
    for (const other of devices)
      await until(`${one.deviceId} knows ${other.deviceId}`, async () => {
        const known = await one.crypto.getUserDeviceInfo([other.userId], true);
        return known.get(other.userId)?.has(other.deviceId) === true && (await one.crypto.userHasCrossSigningKeys(other.userId, true));
      });
}

async function byEmoji(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["sas-alice", "sas-bob"], { crypto: true })) as [Person, Person];
  await alice.bootstrap();
  const room = await alice.roomWith([bob], { initial_state: [ENCRYPTION] });
  const early = await alice.says(room, "before the new login");
  await bob.says(room, "heard before the new login");
  await alice.hears("heard before the new login");
  await alice.backedUp(2);

  const tablet = await stage.person("sas-alice", { deviceId: "TABLET", existing: true, crypto: true });
  await acquainted(alice, tablet);
  const before = [await deviceIs(alice, tablet), await deviceIs(tablet, alice)];
  const asking = await tablet.crypto.requestOwnUserVerification();
  const compared = await compareEmoji(asking, await received(alice, tablet), true);
  await verifiedDevice(alice, tablet);
  await verifiedDevice(tablet, alice);
  const after = [await deviceIs(alice, tablet), await deviceIs(tablet, alice)];

  // The old device hands the secrets over, and with the backup's key the new one reads what was said before it was there.
  await until("the new device has the secrets", async () => {
    const { masterKey, selfSigningKey, userSigningKey } = (await tablet.crypto.getCrossSigningStatus()).privateKeysCachedLocally;
    return masterKey && selfSigningKey && userSigningKey && (await tablet.crypto.getSessionBackupPrivateKey()) !== null;
  });
  assert.deepEqual(await tablet.crypto.getSessionBackupPrivateKey(), alice.backupKey);
  await tablet.crypto.checkKeyBackupAndEnable();
  await tablet.hears("before the new login");
  await tablet.hears("heard before the new login");
  const shield = await tablet.crypto.getEncryptionInfoForEvent(await tablet.event(room, early));
  await until("bob sees who signed the new device", async () => (await deviceIs(bob, tablet))?.signedByOwner === true);
  return { before, compared, after, shield, undecrypted: [...tablet.undecrypted] };
}

async function byQrCode(stage: Stage): Promise<Json> {
  const alice = await stage.person("qr-alice", { crypto: true });
  await alice.bootstrap();
  const phone = await stage.person("qr-alice", { deviceId: "PHONE", existing: true, crypto: true });
  await acquainted(alice, phone);
  const asking = await alice.crypto.requestDeviceVerification(alice.userId, "PHONE");
  const asked = await received(phone, alice);
  await reaches(asking, VerificationPhase.Ready);
  await reaches(asked, VerificationPhase.Ready);
  const code = await asking.generateQRCode();
  assert.ok(code, "there is a code to show");
  const scanning = await asked.scanQRCode(code);
  const scanned = scanning.verify();
  const showing = await until("the code was scanned", () => asking.verifier);
  const shown = showing.verify();
  (await until("alice is asked whether it was she", () => showing.getReciprocateQrCodeCallbacks())).confirm();
  await Promise.all([scanned, shown]);
  await reaches(asking, VerificationPhase.Done);
  await verifiedDevice(alice, phone);
  await verifiedDevice(phone, alice);
  await until("the scanner has the secrets", async () => (await phone.crypto.getCrossSigningStatus()).privateKeysCachedLocally.userSigningKey);
  return { method: asking.chosenMethod, alice: await deviceIs(alice, phone), phone: await deviceIs(phone, alice) };
}

async function eachOther(stage: Stage): Promise<Json> {
  const [alice, bob] = (await stage.people(["dm-alice", "dm-bob"], { crypto: true })) as [Person, Person];
  await Promise.all([alice.bootstrap(), bob.bootstrap()]);
  const room = await alice.roomWith([bob], { is_direct: true, initial_state: [ENCRYPTION] });
  await acquainted(alice, bob);
  const before = [await userIs(alice, bob), await userIs(bob, alice)];
  const trusted: string[] = [];
  alice.sdk.on(CryptoEvent.UserTrustStatusChanged, (userId) => trusted.push(userId));

  const asking = await alice.crypto.requestVerificationDM(bob.userId, room);
  const compared = await compareEmoji(asking, await received(bob, alice), true);
  await verifiedUser(alice, bob);
  await verifiedUser(bob, alice);
  assert.ok(trusted.includes(bob.userId), "the client says that it trusts bob");
  const after = [await userIs(alice, bob), await userIs(bob, alice), await deviceIs(alice, bob)];
  const said = await bob.says(room, "from somebody whom I know");
  const shield = await alice.crypto.getEncryptionInfoForEvent(await alice.event(room, said));

  // The trust is on the server: another device of alice's, opened by her recovery key, has it, too.
  const second = await stage.person("dm-alice", { deviceId: "SECOND", existing: true, crypto: true, recovery: alice.recovery! });
  await second.knowsItself();
  await second.crypto.bootstrapCrossSigning({});
  await verifiedUser(second, bob);

  // Bob loses everything and begins anew: those who verified him are told.
  await bob.crypto.resetEncryption((request) => bob.withPassword(request));
  await until("alice sees that bob is another", async () => (await userIs(alice, bob)).verified === false);
  const reset = await userIs(alice, bob);
  await alice.crypto.withdrawVerificationRequirement(bob.userId);
  return { before, compared, after, shield, second: await userIs(second, bob), reset, withdrawn: await userIs(alice, bob) };
}

async function otherEmoji(stage: Stage): Promise<Json> {
  const alice = await stage.person("mismatch-alice", { crypto: true });
  await alice.bootstrap();
  const stranger = await stage.person("mismatch-alice", { deviceId: "STRANGER", existing: true, crypto: true });
  await acquainted(alice, stranger);
  const asking = await stranger.crypto.requestOwnUserVerification();
  const compared = await compareEmoji(asking, await received(alice, stranger), false);
  const second = await stranger.crypto.requestOwnUserVerification();
  const asked = await until("alice is asked again", () => alice.requests.find((each) => each.phase === VerificationPhase.Requested));
  await asked.cancel();
  await reaches(second, VerificationPhase.Cancelled);
  return { compared, declined: second.cancellationCode, device: await deviceIs(alice, stranger) };
}

/** Cross-signing and interactive verification. */
export const VERIFICATION: readonly Scenario[] = [
  { name: "a new login is verified by emoji, is handed the secrets and reads the history", run: byEmoji },
  { name: "a new login is verified by its scan of a QR code", run: byQrCode },
  { name: "two people verify each other in their room, and see when one of them has begun anew", run: eachOther },
  { name: "other emoji, or a no, end a verification for both", run: otherEmoji },
];
