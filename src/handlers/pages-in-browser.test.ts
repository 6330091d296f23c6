import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { after, before, describe, it } from "mocha";
import type { Browser, Page } from "puppeteer-core";
import { Templates } from "../services/templates.ts";
import { openChromium } from "../testing/chromium.ts";

const LONG = "https://an-application-with-a-rather-long-name.example.org/somewhere/deep/index.html";
const USER = { user_id: "@somebody-with-a-long-name:a-server-with-a-long-name.example.org", user_profile: { display_name: "Somebody Else", avatar_url: null } };
const STAGE = { myurl: "#", session: "s" };
const FAILURE = { failure_reason: "Unknown validation token, or it is too old" };
const TERMS = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../docs/terms/en");

/** Each page that a person may see, with what it may be about. */
const PAGES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "account_previously_renewed.html": { expiration_ts: 1_800_000_000_000 },
  "account_renewed.html": { expiration_ts: 1_800_000_000_000 },
  "add_threepid_failure.html": FAILURE,
  "add_threepid_success.html": {},
  "auth_success.html": {},
  "consent_success.html": {},
  "error.html": { code: 403, msg: "HMAC incorrect" },
  "invalid_token.html": {},
  "login_fallback.html": {},
  "media_upload_limit_exceeded.html": {},
  "password_reset_confirmation.html": { sid: "1", token: "t", client_secret: "c" },
  "password_reset_failure.html": FAILURE,
  "password_reset_success.html": {},
  "recaptcha.html": { ...STAGE, sitekey: "key", error: "Captcha authentication failed" },
  "registration_failure.html": FAILURE,
  "registration_success.html": {},
  "registration_token.html": { ...STAGE, error: "Invalid registration token" },
  "sso_account_deactivated.html": {},
  "sso_auth_account_details.html": {
    idp: { idp_name: "The Provider" },
    user_attributes: { localpart: "somebody", display_name: "Somebody Else", emails: ["somebody.with.a.long.name@mail.example.org"] },
    error: "This name is taken.",
    nonce: "n",
  },
  "sso_auth_bad_user.html": { user_id_to_verify: USER.user_id },
  "sso_auth_confirm.html": { idp: { idp_name: "The Provider" }, description: "remove a device", redirect_url: "#" },
  "sso_auth_success.html": {},
  "sso_error.html": { error: "mapping_error", error_description: "Unable to generate a Matrix ID from the SSO response" },
  "sso_login_idp_picker.html": {
    redirect_url: LONG,
    providers: [
      { idp_id: "oidc-one", idp_name: "The Provider", idp_icon: null },
      { idp_id: "saml", idp_name: "Another one with quite a long name of its own", idp_icon: null },
    ],
  },
  "sso_new_user_consent.html": { ...USER, consent_version: "1.0", terms_url: "#" },
  "sso_redirect_confirm.html": { ...USER, new_user: true, display_url: LONG, redirect_url: LONG },
  "static_index.html": {},
  "terms.html": { ...STAGE, terms_url: "#", error: "You must accept the terms" },
  "unsubscribed.html": {},
  "1.0.html": { version: "1.0", user: "somebody", userhmac: "h", public_version: false, has_consented: false },
};

const FLOWS = JSON.stringify({ flows: [{ type: "m.login.password" }, { type: "m.login.sso" }] });

/** In the place of the puzzle's provider: a box as large as theirs, in the form that the page asks for. */
const PUZZLE = `const box = document.querySelector(".g-recaptcha");
const compact = box.dataset.size === "compact";
box.innerHTML = '<div style="background:#888;width:' + (compact ? 164 : 304) + 'px;height:' + (compact ? 144 : 78) + 'px"></div>';`;

/** What is wrong with the page that the browser shows, in words. */
const LOOK = `(() => {
  const problems = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) problems.push("scrolls sideways: " + root.scrollWidth + " in " + root.clientWidth);
  if (!root.lang) problems.push("has no language");
  if (!document.title) problems.push("has no title");
  if (document.querySelectorAll("h1").length !== 1) problems.push("has no single heading");
  for (const node of document.querySelectorAll("[hidden]")) node.hidden = false;
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (field.labels.length === 0 && !field.getAttribute("aria-label")) problems.push("has a field without a label: " + field.name);
  }
  for (const image of document.images) if (!image.hasAttribute("alt")) problems.push("has a picture without words");
  for (const error of document.querySelectorAll(".error")) if (error.getAttribute("role") !== "alert") problems.push("has an error that is not announced");
  for (const control of document.querySelectorAll("button, a.button, input[type=submit]")) {
    if (control.getBoundingClientRect().height < 40) problems.push("has a control that is too low to hit: " + control.textContent);
  }
  const channels = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (node) => {
    for (let at = node; at !== null; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || ["SCRIPT", "NOSCRIPT", "STYLE"].includes(node.tagName)) continue;
    const [a, b] = [luminance(channels(getComputedStyle(node).color)), luminance(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) problems.push("is hard to read (" + ratio.toFixed(1) + "): " + texts.currentNode.data.trim().slice(0, 40));
  }
  return problems;
})()`;

/** Pages as people see them, in a browser. With MYELIN_SCREENSHOTS a picture of each is left in that folder. */
describe("pages in a browser", function () {
  this.timeout(240_000);
  let browser: Browser | undefined;
  let page: Page;
  let html = "";
  const templates = new Templates(undefined, { serverName: "a-server-with-a-long-name.example.org", publicBaseurl: "https://example.org/" });
  const pictures = process.env["MYELIN_SCREENSHOTS"];

  before(async function () {
    browser = await openChromium();
    if (browser === undefined) {
      process.stderr.write("    skipped: no Chromium here (CHROMIUM names one elsewhere)\n");
      return this.skip();
    }
    page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    await page.setRequestInterception(true);
    page.on("request", (request) => {
      const { hostname, pathname } = new URL(request.url());
      if (pathname === "/_matrix/client/v3/login") void request.respond({ contentType: "application/json", body: FLOWS });
      else if (hostname === "page.test") void request.respond({ contentType: "text/html; charset=utf-8", body: pathname === "/" ? html : "" });
      else if (hostname === "www.recaptcha.net") void request.respond({ contentType: "text/javascript", body: PUZZLE });
      else void request.abort();
    });
    if (pictures !== undefined) mkdirSync(pictures, { recursive: true });
  });
  after(() => browser?.close());

  for (const [view, width, height, scheme] of [
    ["on a screen, light", 1100, 800, "light"],
    ["on a screen, dark", 1100, 800, "dark"],
    ["on a phone, light", 390, 844, "light"],
    ["on a small phone, dark", 320, 568, "dark"],
  ] as const) {
    it(`can be read and used ${view}`, async () => {
      await page.setViewport({ width, height });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      const problems: Record<string, unknown> = {};
      for (const [name, values] of Object.entries(PAGES)) {
        html = templates.render(name, values, TERMS);
        await page.goto("https://page.test/");
        if (pictures !== undefined)
          await page.screenshot({ path: path.join(pictures, `${name.replace(".html", "")}-${width}-${scheme}.png`) as `${string}.png` });
        const found = (await page.evaluate(LOOK)) as string[];
        if (found.length > 0) problems[name] = found;
      }
      assert.deepEqual(problems, {});
    });
  }
});
