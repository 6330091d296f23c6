import assert from "node:assert/strict";
import { createVerify, generateKeyPairSync } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { query } from "../../../../storage/database.ts";
import { testCertificates } from "../../../../testing/certificates.ts";
import { type SamlAnswer, type SamlAuthnRequest, SamlIdp } from "../../../../testing/saml-idp.ts";
import { startTestServer, type TestServer } from "../../../../testing/server.ts";
import { type Visit, WebBrowser } from "../../../../testing/web-browser.ts";

const CLIENT = "https://client.example/app?x=1";
const ACS = "https://test/_synapse/client/saml2/authn_response";
const UID = "urn:oid:0.9.2342.19200300.100.1.1";
const DISPLAY_NAME = "urn:oid:2.16.840.1.113730.3.1.241";
const EMAIL = "urn:oid:1.2.840.113549.1.9.1";

const idp = new SamlIdp();

const start = (sp: object = {}, more: object = {}): Promise<TestServer> =>
  startTestServer({ config: { saml2_config: { sp_config: { metadata: { inline: [idp.metadata()] }, ...sp }, ...more } } });

const browserOf = (server: TestServer): WebBrowser => new WebBrowser({ "https://test": server.url });

async function begin(server: TestServer, browser = browserOf(server)): Promise<SamlAuthnRequest> {
  const visit = await browser.get(`https://test/_matrix/client/v3/login/sso/redirect/saml?${new URLSearchParams({ redirectUrl: CLIENT }).toString()}`);
  assert.equal(visit.status, 302, visit.text);
  return idp.read(visit.location!);
}

const post = (server: TestServer, xml: string, relayState = CLIENT, browser = browserOf(server)): Promise<Visit> =>
  browser.post(ACS, { SAMLResponse: Buffer.from(xml).toString("base64"), RelayState: relayState });

const alice = (more: Partial<SamlAnswer> = {}): SamlAnswer => ({
  attributes: { [UID]: ["Alice"], [DISPLAY_NAME]: ["Alice A"], [EMAIL]: ["alice@example.org"] },
  ...more,
});

function tokenOf(page: Visit): string {
  const link = /href="([^"]*loginToken=[^"]*)"/.exec(page.text)?.[1];
  assert.ok(link, `no login token: ${page.status} ${page.text}`);
  return new URL(link.replaceAll("&amp;", "&")).searchParams.get("loginToken")!;
}

async function logIn(server: TestServer, page: Visit): Promise<string> {
  return (await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token: tokenOf(page) }).expect(200)).body.user_id as string;
}

function refused(page: Visit, error: string): void {
  assert.equal(page.status, 400, page.text);
  assert.ok(page.text.includes(error), page.text);
  assert.ok(!page.text.includes("loginToken"));
}

describe("logging in through SAML2", function () {
  this.timeout(60_000);
  let server: TestServer;
  before(async () => {
    server = await start();
  });
  after(() => server.close());

  it("sends a request with the service's name and address, and the client as relay state", async () => {
    const request = await begin(server);
    assert.equal(request.relayState, CLIENT);
    assert.ok(request.xml.includes(`AssertionConsumerServiceURL="${ACS}"`));
    assert.ok(request.xml.includes("https://test/_synapse/client/saml2/metadata.xml</"));
    assert.ok(!request.xml.includes("RequestedAuthnContext"));
  });

  it("publishes its metadata", async () => {
    const { text, headers } = await browserOf(server).get("https://test/_synapse/client/saml2/metadata.xml");
    assert.match(String(headers["content-type"]), /^text\/xml/);
    assert.ok(text.includes('entityID="https://test/_synapse/client/saml2/metadata.xml"'));
    assert.ok(text.includes(`Location="${ACS}"`));
    assert.ok(text.includes('Name="uid"'));
  });

  it("makes a user of a signed response, and knows them again", async () => {
    const page = await post(server, idp.respond(await begin(server), alice()));
    assert.ok(page.text.includes("client.example"));
    assert.equal(await logIn(server, page), "@alice:test");
    assert.equal(await logIn(server, await post(server, idp.respond(await begin(server), alice({ sign: "both" })))), "@alice:test");
    assert.deepEqual(await query(server.ctx.read, "SELECT auth_provider, external_id, user_id FROM user_external_ids"), [
      { auth_provider: "saml", external_id: "Alice", user_id: "@alice:test" },
    ]);
    assert.deepEqual(await query(server.ctx.read, "SELECT address FROM user_threepids"), [{ address: "alice@example.org" }]);
  });

  it("goes to the client that began the login, whatever the relay state says", async () => {
    const page = await post(server, idp.respond(await begin(server), alice()), "https://evil.example/");
    assert.ok(page.text.includes("client.example"));
    assert.ok(!page.text.includes("evil.example"));
  });

  it("takes a response once", async () => {
    const xml = idp.respond(await begin(server), alice());
    tokenOf(await post(server, xml));
    refused(await post(server, xml), "unsolicited_response");
  });

  it("refuses responses that nobody asked for", async () => {
    refused(await post(server, idp.respond({ id: "id-made-up" }, alice())), "unsolicited_response");
    refused(await post(server, idp.respond({ id: "x" }, alice({ inResponseTo: null }))), "unsolicited_response");
  });

  it("refuses what is not signed, or by another key, or not all of what must be", async () => {
    refused(await post(server, idp.respond(await begin(server), alice({ sign: "nothing" }))), "invalid_response");
    refused(await post(server, idp.respond(await begin(server), alice({ sign: "assertion" }))), "invalid_response");
    const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ type: "pkcs8", format: "pem" }) as string;
    refused(await post(server, idp.respond(await begin(server), alice({ key }))), "invalid_response");
  });

  it("refuses what was changed after it was signed", async () => {
    const xml = idp.respond(await begin(server), alice()).replace(">Alice<", ">admin<");
    refused(await post(server, xml), "invalid_response");
  });

  it("refuses responses for others, of others, and out of date", async () => {
    const wrong: Partial<SamlAnswer>[] = [
      { recipient: "https://other.example/acs" },
      { audience: "https://other.example/metadata" },
      { issuer: "https://evil.example/metadata" },
      { validFor: -120_000 },
      { status: "urn:oasis:names:tc:SAML:2.0:status:Responder" },
    ];
    for (const one of wrong) refused(await post(server, idp.respond(await begin(server), alice(one))), "invalid_response");
    const [mine, other] = [await begin(server), await begin(server)];
    refused(await post(server, idp.respond(mine, alice({ subjectInResponseTo: other.id }))), "unsolicited_response");
  });

  it("shows a deactivated user a page without a login token, and lets no locked one in (CVE-2023-32682)", async () => {
    const visit = async (uid: string): Promise<Visit> => post(server, idp.respond(await begin(server), alice({ attributes: { [UID]: [uid] } })));
    for (const uid of ["closed", "locked"]) await logIn(server, await visit(uid));
    const admin = server.as(await server.register("samladmin", { admin: true }));
    await admin.post("/_synapse/admin/v1/deactivate/@closed:test", { erase: false }).expect(200);
    await admin.put("/_synapse/admin/v2/users/@locked:test", { locked: true }).expect(200);
    const page = await visit("closed");
    assert.equal(page.status, 403);
    assert.ok(!page.text.includes("loginToken"));
    const { body } = await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token: tokenOf(await visit("locked")) }).expect(401);
    assert.equal(body.errcode, "M_USER_LOCKED");
  });

  it("refuses wrapped signatures (XML signature wrapping): what is read is what was signed", async () => {
    const forge = (xml: string): string[] => {
      const signedResponse = /<samlp:Response[\s\S]*<\/samlp:Response>/.exec(xml)![0];
      const evilAssertion = /<saml:Assertion[\s\S]*<\/saml:Assertion>/
        .exec(xml)![0]
        .replace(">Alice<", ">admin<")
        .replace(/ID="_a[^"]+"/, 'ID="_evil"');
      const withoutSignature = evilAssertion.replace(/<Signature[\s\S]*?<\/Signature>/, "");
      const evilResponse = (inner: string): string =>
        signedResponse
          .replace(/<Signature[\s\S]*?<\/Signature>/, "")
          .replace(/<saml:Assertion[\s\S]*<\/saml:Assertion>/, withoutSignature)
          .replace(/ID="_r[^"]+"/, 'ID="_evilresponse"')
          .replace("</samlp:Response>", `${inner}</samlp:Response>`);
      const signature = /<Signature[\s\S]*?<\/Signature>/.exec(signedResponse)![0];
      return [
        // a second assertion beside the signed one, before and behind
        signedResponse.replace("<saml:Assertion", `${withoutSignature}<saml:Assertion`),
        signedResponse.replace("</samlp:Response>", `${withoutSignature}</samlp:Response>`),
        // the signed response within an evil one
        evilResponse(`<samlp:Extensions>${signedResponse}</samlp:Extensions>`),
        evilResponse(signature),
        // the signed original hidden in the signature's object
        evilResponse(signature.replace("</Signature>", `<Object>${signedResponse.replace(signature, "")}</Object></Signature>`)),
        // the same id twice
        evilResponse(`<samlp:Extensions>${signedResponse}</samlp:Extensions>`).replace('ID="_evilresponse"', /ID="_r[^"]+"/.exec(signedResponse)![0]),
      ];
    };
    for (const sign of ["response", "assertion", "both"] as const) {
      const count = forge(idp.respond({ id: "x" }, alice({ sign: "both" }))).length;
      for (let index = 0; index < count; index++) {
        const xml = forge(idp.respond(await begin(server), alice({ sign })))[index]!;
        const page = await post(server, xml);
        assert.ok(page.status === 400 && !page.text.includes("admin:test"), `${sign} ${index}: ${page.status} ${page.text}`);
      }
    }
    assert.equal(await server.ctx.accounts.user("@admin:test"), undefined);
  });

  it("reads a name as it was signed, comments or not", async () => {
    const request = await begin(server);
    const xml = idp.respond(request, { attributes: { [UID]: ["carol.evil"] } }).replace("carol.evil", "carol<!-- -->.evil");
    const page = await post(server, xml);
    // Comments are no part of what is signed: the name is whole, or the response is refused, but never cut.
    assert.ok(page.status === 400 || (await logIn(server, page)) === "@carol.evil:test");
    assert.equal(await server.ctx.accounts.user("@carol:test"), undefined);
  });

  it("confirms an operation in the browser that was shown what it is, for the user's own identity", async () => {
    const page = await post(server, idp.respond(await begin(server), alice()));
    const login = (await server.anonymous.post("/_matrix/client/v3/login", { type: "m.login.token", token: tokenOf(page) }).expect(200)).body;
    const remove = (auth?: object) =>
      server.as({ accessToken: login.access_token as string }).delete(`/_matrix/client/v3/devices/${login.device_id}`, auth === undefined ? {} : { auth });
    const { session } = (await remove().expect(401)).body as { session: string };
    const browser = browserOf(server);
    const ask = async (): Promise<SamlAuthnRequest> => {
      const confirm = await browser.get(`https://test/_matrix/client/v3/auth/m.login.sso/fallback/web?session=${session}`);
      return idp.read(/href="(https:\/\/idp\.example[^"]*)"/.exec(confirm.text)![1]!.replaceAll("&amp;", "&"));
    };
    refused(await post(server, idp.respond(await ask(), alice()), "unused"), "mismatching_session");
    const other = await post(server, idp.respond(await ask(), { attributes: { [UID]: ["mallory"] } }), "unused", browser);
    assert.ok(other.text.includes("That is somebody else"));
    await remove({ session }).expect(403);
    const right = await post(server, idp.respond(await ask(), alice()), "unused", browser);
    assert.ok(right.text.includes("Thank you"));
    await remove({ session }).expect(200);
  });

  it("refuses document types and nonsense, and never answers 500", async () => {
    const bodies = ["", "no xml", "<a/>", '<!DOCTYPE a [<!ENTITY b "c">]><samlp:Response InResponseTo="&b;"/>', "<samlp:Response", "<samlp:Response/>"];
    for (const body of bodies) assert.equal((await post(server, body)).status, 400, body);
    assert.equal((await browserOf(server).post(ACS, { RelayState: "x" })).status, 400);
    assert.equal((await browserOf(server).post(ACS, { SAMLResponse: "x" })).status, 400);
    assert.equal((await browserOf(server).get(ACS)).status, 400);
  });

  it("refuses responses without a uid, and gives others' names a number", async () => {
    refused(await post(server, idp.respond(await begin(server), { attributes: { [DISPLAY_NAME]: ["x"] } })), "mapping_error");
    await post(server, idp.respond(await begin(server), { attributes: { [UID]: ["dave"] } }));
    const other = await start(
      {},
      { grandfathered_mxid_source_attribute: "", user_mapping_provider: { config: { mxid_source_attribute: "displayName", mxid_mapping: "dotreplace" } } },
    );
    try {
      const one = { attributes: { [UID]: ["1"], [DISPLAY_NAME]: ["_Dave D"] } };
      const two = { attributes: { [UID]: ["2"], [DISPLAY_NAME]: ["dave d"] } };
      assert.equal(await logIn(other, await post(other, idp.respond(await begin(other), one))), "@dave.d:test");
      assert.equal(await logIn(other, await post(other, idp.respond(await begin(other), two))), "@dave.d1:test");
    } finally {
      await other.close();
    }
  });

  it("takes assertions that are signed by themselves where the config says so, and refuses a response around them that lies", async () => {
    const other = await start({ service: { sp: { want_response_signed: false, want_assertions_signed: true, allow_unsolicited: false } } });
    try {
      assert.equal(await logIn(other, await post(other, idp.respond(await begin(other), alice({ sign: "assertion" })))), "@alice:test");
      // A stolen assertion of another login, in an envelope for this one.
      const [mine, stolen] = [await begin(other), await begin(other)];
      const xml = idp.respond(stolen, alice({ sign: "assertion" })).replace(` InResponseTo="${stolen.id}">`, ` InResponseTo="${mine.id}">`);
      refused(await post(other, xml), "unsolicited_response");
    } finally {
      await other.close();
    }
  });

  it("signs its requests, says what it wants, and takes encryption keys where the config says so", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "saml-"));
    const [key, certificate] = [path.join(folder, "key.pem"), path.join(folder, "cert.pem")];
    await writeFile(key, testCertificates().privateKey);
    await writeFile(certificate, testCertificates().certificate);
    const other = await start({
      key_file: key,
      cert_file: certificate,
      encryption_keypairs: [{ key_file: key, cert_file: certificate }],
      service: { sp: { authn_requests_signed: true, force_authn: true, name_id_policy_format: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent" } },
    });
    try {
      const visit = await browserOf(other).get(`https://test/_matrix/client/v3/login/sso/redirect?${new URLSearchParams({ redirectUrl: CLIENT }).toString()}`);
      const url = new URL(visit.location!);
      const signed = ["SAMLRequest", "RelayState", "SigAlg"].map((name) => `${name}=${encodeURIComponent(url.searchParams.get(name)!)}`).join("&");
      const good = createVerify("RSA-SHA256").update(signed).verify(testCertificates().certificate, url.searchParams.get("Signature")!, "base64");
      assert.ok(good, visit.location);
      const { xml } = idp.read(visit.location!);
      assert.ok(xml.includes('ForceAuthn="true"') && xml.includes("nameid-format:persistent"));
      const { text } = await browserOf(other).get("https://test/_matrix/saml2/metadata.xml");
      assert.ok(text.includes('AuthnRequestsSigned="true"') && text.includes('use="encryption"') && text.includes('use="signing"'));
    } finally {
      await other.close();
    }
  });

  it("lets providers begin where the config says so, and asks before it goes to the client that they name", async () => {
    const other = await start({ service: { sp: { allow_unsolicited: true } }, allow_unknown_attributes: true });
    try {
      const page = await post(
        other,
        idp.respond({ id: "x" }, { attributes: { uid: ["erin"] }, inResponseTo: null, nameFormat: "urn:oasis:names:tc:SAML:2.0:attrname-format:basic" }),
      );
      assert.equal(await logIn(other, page), "@erin:test");
      const script = await post(other, idp.respond({ id: "x" }, alice({ inResponseTo: null })), "javascript:alert(1)");
      assert.equal(script.status, 400);
    } finally {
      await other.close();
    }
  });
});
