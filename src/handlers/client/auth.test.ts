import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { execute, queryOne } from "../../storage/database.ts";
import { startTestServer, type TestServer } from "../../testing/server.ts";

const page = (stage: string): string => `/_matrix/client/v3/auth/${stage}/fallback/web`;
const EVIL = `"><script>alert(1)</script>`;

describe("pages for stages of registration", () => {
  let server: TestServer;
  before(async () => {
    const terms = mkdtempSync(path.join(tmpdir(), "myelin-terms-"));
    const custom = mkdtempSync(path.join(tmpdir(), "myelin-templates-"));
    writeFileSync(
      path.join(custom, "terms.html"),
      `{% extends "_base.html" %}{% block body %}{% include 'style.css' without context %}OURS <a href="{{ terms_url }}">{{ session }}</a>{{ error }}{% endblock %}`,
    );
    server = await startTestServer({
      config: {
        enable_registration_without_verification: false,
        registration_requires_token: true,
        recaptcha_public_key: "public",
        recaptcha_private_key: "private",
        enable_registration_captcha: true,
        user_consent: { template_dir: terms, version: "1.0", require_at_registration: true, policy_name: "Rules" },
        templates: { custom_template_directory: custom },
      },
    });
    await server.ctx.transaction("test", (txn) => execute(txn, "INSERT INTO registration_tokens (token, pending, completed) VALUES ('welcome', 0, 0)"));
  });
  after(() => server.close());

  const begin = async (username: string): Promise<{ session: string; flows: unknown; params: unknown }> =>
    (await server.anonymous.post("/_matrix/client/v3/register", { username, password: "p" }).expect(401)).body;

  it("are named in the flows, with what a client needs to know", async () => {
    const { flows, params } = await begin("alice");
    assert.deepEqual(flows, [{ stages: ["m.login.registration_token", "m.login.recaptcha", "m.login.terms", "m.login.dummy"] }]);
    assert.deepEqual(params, {
      "m.login.recaptcha": { public_key: "public" },
      "m.login.terms": { policies: { privacy_policy: { version: "1.0", en: { name: "Rules", url: "https://test/_matrix/consent?v=1.0" } } } },
    });
  });

  it("pass a stage for the session of the form", async () => {
    const { session } = await begin("bob");
    const form = await server.anonymous.get(`${page("m.login.registration_token")}?session=${session}`).expect(200);
    assert.match(form.text, new RegExp(`value="${session}"`));
    const post = (stage: string, fields: Record<string, string>) => server.anonymous.post(page(stage)).type("form").send(fields);
    assert.match((await post("m.login.registration_token", { session, token: "wrong" }).expect(200)).text, /Invalid registration token/);
    assert.match((await post("m.login.registration_token", { session, token: "welcome" }).expect(200)).text, /authDone/);
    await post("m.login.terms", { session }).expect(200);
    const { body } = await server.anonymous.post("/_matrix/client/v3/register", { auth: { session } }).expect(401);
    assert.deepEqual(body.completed.sort(), ["m.login.registration_token", "m.login.terms"]);
    assert.equal((await queryOne<{ pending: number }>(server.ctx.read, "SELECT pending FROM registration_tokens"))!.pending, 1);
  });

  it("come from the admin's templates where there are some, in Jinja as Synapse reads it", async () => {
    const { text } = await server.anonymous.get(`${page("m.login.terms")}?session=S`).expect(200);
    assert.match(text, /OURS <a href="https:\/\/test\/_matrix\/consent\?v=1\.0">S<\/a>/);
    assert.match(text, /<!DOCTYPE html>/i);
  });

  it("escape what they are given, and cannot be framed (CVE-2020-26891, CVE-2021-21332, advisory row 67)", async () => {
    for (const stage of ["m.login.recaptcha", "m.login.terms", "m.login.registration_token"]) {
      const answers = [await server.anonymous.get(`${page(stage)}?session=${encodeURIComponent(EVIL)}`)];
      if (stage !== "m.login.terms")
        answers.push(await server.anonymous.post(page(stage)).type("form").send({ session: EVIL, token: EVIL, "g-recaptcha-response": EVIL }));
      for (const { text, headers } of answers) {
        if (headers["content-type"] !== "application/json") {
          assert.equal(text.includes("<script>alert"), false, stage);
          assert.equal(headers["x-frame-options"], "DENY");
          assert.match(headers["content-security-policy"]!, /frame-ancestors 'none'/);
        }
      }
    }
  });

  it("answer what is missing or unknown with an error", async () => {
    await server.anonymous.get(page("m.login.terms")).expect(400);
    await server.anonymous.get(`${page("m.login.sso")}?session=unknown`).expect(400);
    for (const stage of ["m.login.password", "constructor", "__proto__", "x"]) await server.anonymous.get(`${page(stage)}?session=S`).expect(404);
    await server.anonymous.post(page("m.login.sso")).type("form").send({ session: "S" }).expect(404);
    await server.anonymous.post(page("m.login.terms")).type("form").send({}).expect(400);
    await server.anonymous.post(page("m.login.terms")).type("form").send({ session: "unknown" }).expect(400);
    await server.anonymous.post(page("m.login.recaptcha")).type("form").send({ session: "S" }).expect(400);
  });
});
