import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { decodeProtectedHeader, jwtVerify } from "jose";
import { ConfigError } from "../../config/errors.ts";
import { testConfig } from "../../testing/config.ts";
import { cookieOf } from "./answers.ts";
import { dottedLocalpartFrom, localpartFrom } from "./localpart.ts";
import { ClientSecret } from "./oidc/client-secret.ts";
import { BadMetadata, providerMetadata } from "./oidc/metadata.ts";
import { OidcProvider } from "./oidc/provider.ts";
import { checkClientRedirect, isTrustedClient, shownClient, withLoginToken } from "./redirect-url.ts";
import { checkRequirements } from "./requirements.ts";

const configOf = (idp: object) =>
  testConfig({ oidc_providers: [{ idp_id: "p", idp_name: "P", issuer: "https://op.example", client_id: "us", client_secret: "s", ...idp }] }).oidc
    .providers[0]!;

describe("rules of single sign-on", () => {
  it("maps user names to localparts as the specification's appendix says", () => {
    const cases = [
      ["Alice", "alice"],
      ["a b", "a=20b"],
      ["_x", "=5fx"],
      ["a=b", "a=3db"],
      ["é", "=c3=a9"],
      ["a/b+c.d-e_f", "a/b+c.d-e_f"],
      ["😀", "=f0=9f=98=80"],
      ["", ""],
    ];
    for (const [name, localpart] of cases) assert.equal(localpartFrom(name!), localpart);
    assert.equal(dottedLocalpartFrom("_A b=c"), "a.b=c");
  });

  it("puts the login token at the end of the client's query, and leaves the rest", () => {
    assert.equal(withLoginToken("https://a.example", "t"), "https://a.example?loginToken=t");
    assert.equal(withLoginToken("https://a.example/?b=1&c#d?e", "t"), "https://a.example/?b=1&c=&loginToken=t#d?e");
    assert.equal(withLoginToken("element://connect?x=y%20z", "t"), "element://connect?x=y+z&loginToken=t");
    assert.equal(withLoginToken("https://a.example/?loginToken=evil", "t"), "https://a.example/?loginToken=evil&loginToken=t");
  });

  it("trusts clients by the prefix, which a host's name alone does not extend", () => {
    const list = ["https://a.example", "https://b.example/app", "element://"];
    for (const url of ["https://a.example", "https://a.example/", "https://a.example/x", "https://a.example?x", "https://b.example/app2", "element://connect"])
      assert.ok(isTrustedClient(url, list), url);
    for (const url of [
      "https://a.example.evil",
      "https://a.example@evil",
      "https://a.example:1@evil",
      "https://a.example\\@evil",
      "https://b.example",
      "HTTPS://evil",
    ])
      assert.ok(!isTrustedClient(url, list), url);
  });

  it("shows the host where the browser will go", () => {
    assert.equal(shownClient("https://good.example@evil.example/x"), "evil.example");
    assert.equal(shownClient("https://good.example\\@evil.example/"), "good.example");
    assert.equal(shownClient("https://a.example:8443/x?secret"), "a.example:8443");
    assert.equal(shownClient("element://connect?secret#x"), "element://connect");
  });

  it("refuses client addresses that are scripts", () => {
    for (const url of [
      "javascript:alert(1)",
      "JaVaScRiPt:x",
      "\u0001javascript:x",
      "java\nscript:x",
      "data:text/html,x",
      "blob:x",
      "file:///etc/passwd",
      "a\rb",
    ])
      assert.throws(() => checkClientRedirect(url), { status: 400 }, url);
    for (const url of ["https://a.example", "element://connect", "im.vector:/x", "http://localhost:3000"]) checkClientRedirect(url);
  });

  it("wants attributes that exist, have the value, or one of several", () => {
    const attributes = new Map<string, unknown[]>([
      ["groups", ["a", "b"]],
      ["empty", []],
    ]);
    const requirement = (attribute: string, value?: string, oneOf?: string[]) => ({ attribute, value, oneOf });
    checkRequirements(attributes, [requirement("groups"), requirement("groups", "b"), requirement("groups", undefined, ["x", "a"]), requirement("empty")]);
    for (const one of [requirement("none"), requirement("groups", "x"), requirement("groups", undefined, ["x"]), requirement("empty", "x")])
      assert.throws(() => checkRequirements(attributes, [one]), { error: "unauthorised" });
  });

  it("reads cookies by their whole names", () => {
    assert.equal(cookieOf("a=1; oidc_session=x=y; xoidc_session=2", "oidc_session"), "x=y");
    assert.equal(cookieOf("xoidc_session=2", "oidc_session"), undefined);
    assert.equal(cookieOf(undefined, "a"), undefined);
  });
});

describe("an OpenID provider's description", () => {
  const good = {
    issuer: "https://op.example",
    authorization_endpoint: "https://op.example/auth",
    token_endpoint: "https://op.example/token",
    jwks_uri: "https://op.example/jwks",
    code_challenge_methods_supported: ["S256"],
  };

  it("is used as discovered, with the config's words over it", () => {
    const metadata = providerMetadata(configOf({ token_endpoint: "https://other.example/token", pkce_method: "never" }), good);
    assert.equal(metadata.tokenEndpoint, "https://other.example/token");
    assert.equal(metadata.pkce, false);
    assert.deepEqual(metadata.algorithms, ["RS256"]);
    assert.equal(providerMetadata(configOf({}), good).pkce, true);
    assert.equal(providerMetadata(configOf({ pkce_method: "always" }), { ...good, code_challenge_methods_supported: undefined as never }).pkce, true);
  });

  it("is refused where it is insecure or does not fit", () => {
    const bad: [object, object][] = [
      [{ issuer: "http://op.example" }, {}],
      [{ issuer: "https://op.example?x" }, {}],
      [{ authorization_endpoint: "http://op.example/auth" }, {}],
      [{ token_endpoint: undefined }, {}],
      [{ jwks_uri: undefined }, {}],
      [{ code_challenge_methods_supported: ["plain"] }, {}],
      [{ response_types_supported: ["id_token"] }, {}],
      [{ token_endpoint_auth_methods_supported: ["private_key_jwt"] }, {}],
      [{}, { user_profile_method: "userinfo_endpoint" }],
      [{ id_token_signing_alg_values_supported: "RS256" }, {}],
    ];
    for (const [discovered, idp] of bad) assert.throws(() => providerMetadata(configOf(idp), { ...good, ...discovered } as never), BadMetadata);
  });

  it("never has unsigned tokens among its algorithms", () => {
    assert.deepEqual(providerMetadata(configOf({}), { ...good, id_token_signing_alg_values_supported: ["none", "ES256", "NONE"] }).algorithms, ["ES256"]);
  });
});

describe("an OpenID provider's settings", () => {
  it("are refused at start where templates are none, or the mapping is a Python class", () => {
    const open = (config: object) => new OidcProvider(configOf({ user_mapping_provider: { config } }), "https://test/cb", "https://test/");
    assert.throws(() => open({ localpart_template: "{{ user.x" }), ConfigError);
    assert.throws(() => configOf({ user_mapping_provider: { module: "my.Provider", config: {} } }), /Python class/);
    assert.equal(open({ subject_template: "{{ user.id }}-x" }).mapping.remoteUserId({ id: 7 }), "7-x");
    assert.equal(open({ subject_claim: "uid" }).mapping.remoteUserId({ uid: "u" }), "u");
    assert.throws(() => open({}).mapping.remoteUserId({}), { error: "mapping_error" });
  });

  it("make a client secret of a key (Sign in with Apple), anew within the hour", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const key = privateKey.export({ type: "pkcs8", format: "pem" });
    const config = configOf({ client_secret: undefined, client_secret_jwt_key: { key, jwt_header: { alg: "ES256", kid: "k" }, jwt_payload: { iss: "TEAM" } } });
    const secret = new ClientSecret(config);
    let now = Date.UTC(2026, 0, 1);
    const clock = { now: () => now };
    const first = (await secret.current(clock))!;
    assert.deepEqual(decodeProtectedHeader(first), { alg: "ES256", kid: "k" });
    const { payload } = await jwtVerify(first, createPublicKey(key), { currentDate: new Date(now) });
    assert.deepEqual(payload, { sub: "us", aud: "https://op.example", iat: now / 1000, exp: now / 1000 + 3600, iss: "TEAM" });
    now += 2_900_000;
    assert.equal(await secret.current(clock), first);
    now += 200_000;
    assert.notEqual(await secret.current(clock), first);
  });
});
