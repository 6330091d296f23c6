import assert from "node:assert/strict";
import { mintMacaroon } from "../../lib/macaroon.ts";
import { systemRandom } from "../../lib/random.ts";
import { testConfig } from "../../testing/config.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { Macaroons } from "./macaroons.ts";

describe("Macaroons", () => {
  const key = Buffer.from("macaroon secret of the tests");
  const clock = new FakeClock();
  const macaroons = new Macaroons(key, "test", clock, systemRandom);

  it("read a guest's token that Synapse made", () => {
    const token =
      "MDAxMmxvY2F0aW9uIHRlc3QKMDAxM2lkZW50aWZpZXIga2V5CjAwMTBjaWQgZ2VuID0gMQowMDE2Y2lkIHR5cGUgPSBhY2Nlc3MKMDAxYWNpZCB1c2VyX2lkID0gQDM6dGVzdAowMDIxY2lkIG5vbmNlID0gJkkucU1QaDRhSnIxQDM6UAowMDE1Y2lkIGd1ZXN0ID0gdHJ1ZQowMDJmc2lnbmF0dXJlILfBGL5JjQqF0VTAK2rkQzHnmphZh-fsSmYB4agmetqBCg";
    assert.equal(macaroons.guestOf(token), "@3:test");
    assert.equal(new Macaroons(Buffer.from("other"), "test", clock, systemRandom).guestOf(token), undefined);
  });

  it("take no other macaroon for a guest's token", () => {
    const mint = (...caveats: string[]): string => mintMacaroon(key, "test", "key", caveats);
    assert.equal(macaroons.guestOf(mint("gen = 1", "type = access", "user_id = @1:test", "guest = true")), "@1:test");
    for (const caveats of [
      ["gen = 1", "type = access", "user_id = @1:test"],
      ["gen = 1", "type = delete_pusher", "user_id = @1:test", "guest = true"],
      ["gen = 1", "type = access", "user_id = @1:test", "user_id = @2:test", "guest = true"],
      ["gen = 1", "type = access", "guest = true"],
      ["gen = 2", "type = access", "user_id = @1:test", "guest = true"],
      ["gen = 1", "user_id = @1:test", "guest = true"],
      ["gen = 1", "type = access", "user_id = @1:test", "guest = true", "unheard of"],
      ["gen = 1", "type = access", "user_id = @1:test", "guest = true", `time < ${clock.now()}`],
    ]) {
      assert.equal(macaroons.guestOf(mint(...caveats)), undefined, caveats.join(", "));
    }
    assert.equal(macaroons.guestOf(macaroons.deletePusherToken("@1:test", "app", "key")), undefined);
  });

  it("bind an unsubscribe link to its pusher, and a login cookie to its state and time", () => {
    const link = macaroons.deletePusherToken("@a:test", "m.email", "a@b.c");
    assert.equal(macaroons.pusherOwnerOf(link, "m.email", "a@b.c"), "@a:test");
    assert.equal(macaroons.pusherOwnerOf(link, "m.email", "x@b.c"), undefined);
    const session = { idpId: "oidc", nonce: "n", clientRedirectUrl: "https://client/?a = b", uiAuthSessionId: "", codeVerifier: "v" };
    const cookie = macaroons.oidcSessionToken("state", session);
    assert.deepEqual(macaroons.oidcSessionOf(cookie, "state"), session);
    assert.equal(macaroons.oidcSessionOf(cookie, "other"), undefined);
    clock.advance(3_600_000);
    assert.equal(macaroons.oidcSessionOf(cookie, "state"), undefined);
  });

  it("are signed with the first secret there is, as in Synapse (CVE-2019-5885, migration risk 34)", () => {
    const secretOf = (options: Record<string, unknown>): string => Buffer.from(testConfig(options).key.macaroonSecretKey).toString("latin1");
    assert.equal(secretOf({}), "macaroon secret of the tests");
    assert.equal(secretOf({ macaroon_secret_key: undefined }), "registration secret of the tests");
    const derived = testConfig({ macaroon_secret_key: undefined, registration_shared_secret: undefined });
    assert.equal(derived.key.macaroonSecretKey.length, 32);
    assert.ok(
      derived.notices.some((notice) => notice.includes("macaroon_secret_key")),
      "and the admin is told",
    );
  });
});
