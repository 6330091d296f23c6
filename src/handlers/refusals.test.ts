import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, it } from "mocha";
import type { Logger, LogLevel } from "../lib/log.ts";
import { currentRequest } from "../lib/request-context.ts";
import { MailServer } from "../testing/mail-server.ts";
import { SamlIdp } from "../testing/saml-idp.ts";
import { startTestServer, type TestServer, type TestUser } from "../testing/server.ts";

const C = "/_matrix/client/v3";
const S = "/_synapse/client";
const SECRET = "a secret of the tests that is long enough";

interface Line {
  readonly name: string;
  readonly level: LogLevel;
  readonly message: string;
}

/** Writes down what is logged on behalf of requests, but for the line of each in the access log. */
function recordingLogger(lines: Line[], name = ""): Logger {
  const at =
    (level: LogLevel) =>
    (message: string): void => {
      if (level !== "debug" && currentRequest() !== undefined && !name.startsWith("synapse.access")) lines.push({ name, level, message });
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    named: (other) => recordingLogger(lines, other),
    enabled: (level) => level !== "debug",
  };
}

/** What nobody should get away with: refused, and one line in the log that says so, without what was secret in it. */
describe("what is refused", function () {
  this.timeout(60_000);
  const lines: Line[] = [];
  let folder: string;
  let mails: MailServer;
  let server: TestServer;
  let alice: TestUser;

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), "myelin-refusals-"));
    mkdirSync(path.join(folder, "en"));
    writeFileSync(path.join(folder, "en", "1.0.html"), "<h1>Terms</h1>");
    mails = await MailServer.start();
    server = await startTestServer({
      log: recordingLogger(lines),
      config: {
        user_consent: { version: "1.0", template_dir: folder },
        jwt_config: { enabled: true, secret: SECRET, algorithm: "HS256" },
        saml2_config: { sp_config: { metadata: { inline: [new SamlIdp().metadata()] } } },
        account_validity: { enabled: true, period: "6w", renew_at: "1w" },
        email: { smtp_host: "127.0.0.1", smtp_port: mails.port, notif_from: "Server <server@example.org>" },
        ip_range_whitelist: ["10.255.255.254/32"],
      },
    });
    alice = await server.register("alice");
  });
  after(async () => {
    await server?.close();
    await mails?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const unsigned = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${Buffer.from('{"sub":"alice"}').toString("base64url")}.`;
  const form = (url: string, fields: Record<string, string>) => server.anonymous.request("post", url).type("form").send(new URLSearchParams(fields).toString());
  const attempts: Readonly<Record<string, () => ReturnType<TestServer["anonymous"]["get"]>>> = {
    "a forged token of a mail": () => server.anonymous.get(`/_matrix/client/unstable/registration/email/submit_token?token=verysecret&client_secret=abc&sid=x`),
    "a forged token to reset a password": () => form(`${S}/password_reset/email/submit_token`, { token: "verysecret", client_secret: "abc", sid: "x" }),
    "a forged link to the terms": () => server.anonymous.get("/_matrix/consent?u=alice&h=verysecret"),
    "a forged token to renew an account": () => server.anonymous.get("/_matrix/client/unstable/account_validity/renew?token=verysecret"),
    "a forged unsubscribe link": () => server.anonymous.get(`${S}/unsubscribe?access_token=verysecret&app_id=m.email&pushkey=x@example.org`),
    "a made-up nonce": () =>
      server.anonymous.post("/_synapse/admin/v1/register", { nonce: "verysecret", username: "eve", password: "verysecret", admin: true, mac: "00" }),
    "a wrong password": () => server.anonymous.post(`${C}/login`, { type: "m.login.password", user: "alice", password: "verysecret" }),
    "a token without a signature": () => server.anonymous.post(`${C}/login`, { type: "org.matrix.login.jwt", token: unsigned }),
    "a login token that there is none of": () => server.anonymous.post(`${C}/login`, { type: "m.login.token", token: "verysecret" }),
    "a name that would make a line of its own": () =>
      server.anonymous.post(`${C}/login`, { type: "m.login.password\n2026-01-01 - synapse - INFO - Admin logged in", user: "alice", password: "verysecret" }),
    "an access token that there is none of": () => server.as({ accessToken: "verysecret" }).get(`${C}/account/whoami`),
    "a session of nobody": () => server.as(alice).delete(`${C}/devices/X`, { auth: { type: "m.login.password", session: "nobodys", password: "verysecret" } }),
    "a SAML2 response of nobody": () => form(`${S}/saml2/authn_response`, { SAMLResponse: "bm9uc2Vuc2U=", RelayState: "https://client.example" }),
    "a client that is a script": () =>
      server.anonymous
        .get(`${C}/login/sso/redirect/saml?redirectUrl=${encodeURIComponent("javascript:alert(1)")}`)
        .set("Host", "test")
        .set("X-Forwarded-Proto", "https"),
    "an application to go on to that runs as a script": () =>
      server.as(alice).post(`${C}/account/3pid/email/requestToken`, {
        client_secret: "abc",
        email: "a@example.org",
        send_attempt: 1,
        next_link: "javascript:alert(1)",
      }),
    "an address with a second header": () =>
      server.as(alice).post(`${C}/account/3pid/email/requestToken`, { client_secret: "abc", email: "a@example.org\r\nBcc: b@example.org", send_attempt: 1 }),
    "an identity server within": () =>
      server.as(alice).post(`${C}/account/3pid/bind`, { client_secret: "abc", sid: "1", id_server: "127.0.0.1:1", id_access_token: "verysecret" }),
    "a push gateway that is none": () =>
      server.as(alice).post(`${C}/pushers/set`, {
        kind: "http",
        app_id: "a",
        pushkey: "verysecret",
        app_display_name: "a",
        device_display_name: "d",
        lang: "en",
        data: { url: "http://127.0.0.1/admin" },
      }),
  };

  for (const [what, attempt] of Object.entries(attempts)) {
    it(`${what}: with one line in the log`, async () => {
      lines.length = 0;
      const { status, headers, text } = await attempt();
      assert.ok(status >= 400 && status !== 500, `${status} ${text}`);
      assert.equal(headers.location, undefined);
      assert.equal(lines.length, 1, JSON.stringify(lines));
      const [{ level, message }] = lines as [Line];
      assert.equal(level, what === "an identity server within" ? "warn" : "info");
      assert.doesNotMatch(message, /verysecret|[\r\n]/);
      assert.equal(mails.mails.length, 0);
    });
  }
});
