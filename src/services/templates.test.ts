import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Templates } from "./templates.ts";

describe("templates", () => {
  let folder: string;
  const globals = { serverName: "test", publicBaseurl: "https://test/" };
  before(() => (folder = mkdtempSync(path.join(tmpdir(), "myelin-templates-"))));
  after(() => rmSync(folder, { recursive: true }));

  let counter = 0;
  const render = (source: string, values: Record<string, unknown> = {}, ending = "html"): string => {
    const name = `t${counter++}.${ending}`;
    writeFileSync(path.join(folder, name), source);
    return new Templates(folder, globals).render(name, values);
  };

  it("escape values in HTML and leave them alone in text", () => {
    assert.equal(render("{{ name }}", { name: "<b>{{ 7*7 }}'\"" }), "&lt;b&gt;{{ 7*7 }}&#39;&quot;");
    assert.equal(render("{{ name }}", { name: "<b>" }, "txt"), "<b>");
  });

  it("know the server and Synapse's filters", () => {
    const at = new Date(2026, 2, 5).getTime();
    assert.equal(render(`{{ server_name }} {{ at|format_ts("%d-%m-%Y") }}`, { at }), "test 05-03-2026");
    assert.equal(
      render("{{ url|mxc_to_http(64, 32) }}", { url: "mxc://x.org/abc" }),
      "https://test/_matrix/media/v1/thumbnail/x.org/abc?width=64&amp;height=32&amp;method=crop",
    );
    assert.equal(render(`{{ url|mxc_to_http(1, 1) }}`, { url: "javascript:alert(1)" }), "");
    assert.equal(render(`{{ "a.b@x.org"|localpart_from_email }}`), "a.b");
  });

  it("read what admins wrote for Jinja2", () => {
    writeFileSync(path.join(folder, "mail-App.css"), "p { width: 50% }");
    assert.equal(
      render(`{% include "mail-%s.css" % app_name ignore missing without context %}|{%- include 'none.css' ignore missing with context %}`, {
        app_name: "App",
      }),
      "p { width: 50% }|",
    );
    assert.equal(render(`{{ user_id.split(":")[0][1:] }}`, { user_id: "@alice:test" }), "alice");
    assert.equal(render(`{{ "%s has %d of %s" % (name, 3, name) }} {{ "%(a)s!"|format(a=name) }} {{ 7 % 4 }}`, { name: "x" }), "x has 3 of x x! 3");
    assert.equal(
      render(`{{ "%.1f"|format(ms / 60000) }}|{{ "%.2f" % (ms / (2 * 3)) }}|{{ "%03d" % ms }}|{{ "%-5s" % "a" }}|{{ "%x" % 255 }}`, { ms: 90 }),
      "0.0|15.00|090|a    |ff",
    );
    assert.equal(render("a\n{{ ms }}\n\n", { ms: 1 }), "a\n1\n", "the last line break is not part of a template");
    assert.equal(render("{# 100% with context #}width: 100% {% if a %}x{% endif %}", { a: 1 }), "width: 100% x");
  });

  it("put the admin's before the package's, from the directory of the feature too", () => {
    writeFileSync(path.join(folder, "invalid_token.html"), "mine");
    assert.equal(new Templates(folder, globals).render("invalid_token.html"), "mine");
    assert.equal(new Templates(undefined, globals).render("invalid_token.html", {}, folder), "mine");
    assert.match(new Templates(undefined, globals).render("invalid_token.html"), /This link does not work/);
  });

  it("of the package are all well formed", () => {
    const own = fileURLToPath(new URL("../../templates", import.meta.url));
    const templates = new Templates(undefined, globals);
    for (const name of readdirSync(own).filter((file) => /\.(html|txt)$/.test(file))) {
      const text = templates.render(name, { expiration_ts: 0 });
      if (name.endsWith(".html")) assert.ok(!text.includes("{{") && !text.includes("{%"), name);
    }
  });
});
