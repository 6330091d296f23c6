import assert from "node:assert/strict";
import { createHash, createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { SignJWT, type JWTPayload } from "jose";
import type { JsonObject } from "../../../lib/json.ts";
import { BadToken, type SetOfKeys, UnknownKey, type Verification, verifyIdToken, verifyLogoutToken } from "./verify-token.ts";

const NOW = Date.UTC(2026, 0, 1);
const SECONDS = NOW / 1000;
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwk = (key: KeyObject, more: JsonObject = {}): JsonObject => ({ ...(key.export({ format: "jwk" }) as JsonObject), ...more });
const keys: SetOfKeys = { keys: [jwk(publicKey, { kid: "one", use: "sig" })] };
const verification: Verification = { issuer: "https://op.example", clientId: "us", algorithms: ["RS256"], now: NOW };
const login = { nonce: "the nonce", accessToken: undefined };

const CLAIMS = { iss: "https://op.example", aud: "us", sub: "alice", exp: SECONDS + 60, iat: SECONDS, nonce: "the nonce" };
const sign = (claims: object, header: object = {}, key: KeyObject = privateKey): Promise<string> =>
  new SignJWT(claims as JWTPayload).setProtectedHeader({ alg: "RS256", kid: "one", ...header }).sign(key);
const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

async function refuses(token: string, more: Partial<Verification> = {}, set = keys): Promise<void> {
  await assert.rejects(verifyIdToken(token, set, { ...verification, ...more }, login), BadToken);
}

describe("ID tokens", () => {
  it("are believed when the provider signed them for us, for this login", async () => {
    const claims = await verifyIdToken(await sign(CLAIMS), keys, verification, login);
    assert.equal(claims["sub"], "alice");
    await verifyIdToken(await sign({ ...CLAIMS, aud: ["us", "them"], azp: "us" }), keys, verification, login);
    // Clocks differ by two minutes at most.
    await verifyIdToken(await sign({ ...CLAIMS, exp: SECONDS - 100, iat: SECONDS + 100 }), keys, verification, login);
  });

  it("are refused without a signature (alg none), whatever the provider says that it supports", async () => {
    for (const alg of ["none", "None", "nOnE"]) {
      for (const signature of ["", "AAAA"]) await refuses(`${part({ alg })}.${part(CLAIMS)}.${signature}`, { algorithms: ["RS256", alg] });
    }
  });

  it("are refused when the public key was taken for a shared secret (RS256 to HS256)", async () => {
    const pem = publicKey.export({ type: "spki", format: "pem" });
    const unsigned = `${part({ alg: "HS256", kid: "one" })}.${part(CLAIMS)}`;
    for (const secret of [pem, JSON.stringify(keys.keys[0])]) {
      const forged = `${unsigned}.${createHmac("sha256", secret).update(unsigned).digest("base64url")}`;
      await refuses(forged);
      await refuses(forged, { algorithms: ["RS256", "HS256"] });
    }
  });

  it("are refused when signed with a shared secret that stands among the provider's keys", async () => {
    const secret = Buffer.from("a secret of thirty-two bytes, ok");
    const unsigned = `${part({ alg: "HS256", kid: "s" })}.${part(CLAIMS)}`;
    const token = `${unsigned}.${createHmac("sha256", secret).update(unsigned).digest("base64url")}`;
    await refuses(token, { algorithms: ["HS256"] }, { keys: [{ kty: "oct", k: secret.toString("base64url"), kid: "s" }] });
  });

  it("are refused with a key, or an address of keys, that the token brings along", async () => {
    const mine = generateKeyPairSync("rsa", { modulusLength: 2048 });
    for (const header of [{ jwk: jwk(mine.publicKey) }, { jku: "https://evil.example/jwks" }, { x5u: "https://evil.example/x" }, { kid: "../../one" }])
      await assert.rejects(verifyIdToken(await sign(CLAIMS, header, mine.privateKey), keys, verification, login), UnknownKey);
  });

  it("are refused with an algorithm that the provider does not use, and with critical headers that nobody knows", async () => {
    await refuses(await sign(CLAIMS, { alg: "ES256", kid: "two" }, ec.privateKey), {}, { keys: [...keys.keys, jwk(ec.publicKey, { kid: "two" })] });
    await refuses(`${part({ alg: "RS256", kid: "one", crit: ["x"], x: 1 })}.${part(CLAIMS)}.AAAA`);
  });

  it("are refused when a claim is missing or wrong", async () => {
    const wrong: object[] = [
      { iss: "https://evil.example" },
      { iss: "https://op.example/" },
      { aud: "them" },
      { aud: ["us", "them"] },
      { azp: "them" },
      { aud: [] },
      { exp: SECONDS - 200 },
      { exp: undefined },
      { exp: "soon" },
      { iat: undefined },
      { iat: SECONDS + 1000 },
      { nbf: SECONDS + 1000 },
      { nonce: "another" },
      { nonce: undefined },
      { sub: undefined },
      { sub: "" },
      { sub: 7 },
    ];
    for (const one of wrong) await refuses(await sign({ ...CLAIMS, ...one }));
  });

  it("are refused when they were changed, cut or are none", async () => {
    const token = await sign(CLAIMS);
    const [header, , signature] = token.split(".") as [string, string, string];
    await refuses(`${header}.${part({ ...CLAIMS, sub: "admin" })}.${signature}`);
    for (const bad of ["", ".", "..", "a.b.c", token.slice(0, -4), `${token}.x`, `${header}..${signature}`, "{}"]) await refuses(bad);
  });

  it("are refused when the access token is not the one that they were made with", async () => {
    const hash = (token: string): string => createHash("sha256").update(token).digest().subarray(0, 16).toString("base64url");
    const token = await sign({ ...CLAIMS, at_hash: hash("right") });
    await verifyIdToken(token, keys, verification, { ...login, accessToken: "right" });
    await assert.rejects(verifyIdToken(token, keys, verification, { ...login, accessToken: "wrong" }), BadToken);
  });

  it("may leave out which of several keys signed them", async () => {
    const other = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const token = await new SignJWT(CLAIMS).setProtectedHeader({ alg: "RS256" }).sign(privateKey);
    const several = { keys: [jwk(other.publicKey, { kid: "a" }), jwk(publicKey, { kid: "b" })] };
    assert.equal((await verifyIdToken(token, several, verification, login))["sub"], "alice");
    await assert.rejects(verifyIdToken(token, { keys: [several.keys[0]!, several.keys[0]!] }, verification, login), UnknownKey);
  });
});

describe("logout tokens", () => {
  const events = { "http://schemas.openid.net/event/backchannel-logout": {} };
  const logout = { iss: "https://op.example", aud: "us", iat: SECONDS, jti: "1", sid: "s1", sub: "alice", events };

  it("are believed when the provider signed them for us", async () => {
    assert.deepEqual(await verifyLogoutToken(await sign(logout), keys, verification), { sid: "s1", sub: "alice" });
  });

  it("are refused when they are ID tokens, are about no session, or not for us", async () => {
    const wrong: object[] = [
      { nonce: "x" },
      { sid: undefined },
      { sid: 5 },
      { events: undefined },
      { events: {} },
      { events: [] },
      { events: "http://schemas.openid.net/event/backchannel-logout" },
      { iss: "https://evil.example" },
      { aud: "them" },
      { iat: SECONDS + 1000 },
      { exp: SECONDS - 1000 },
    ];
    for (const one of wrong) await assert.rejects(verifyLogoutToken(await sign({ ...logout, ...one }), keys, verification), BadToken);
    await assert.rejects(verifyLogoutToken(await sign(CLAIMS), keys, verification), BadToken);
    await assert.rejects(verifyLogoutToken(`${part({ alg: "none" })}.${part(logout)}.`, keys, verification), BadToken);
  });
});
