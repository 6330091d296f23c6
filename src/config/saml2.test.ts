import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { SamlProvider } from "../services/sso/saml/provider.ts";
import { testConfig } from "../testing/config.ts";
import { SamlIdp } from "../testing/saml-idp.ts";

const idp = new SamlIdp();

/** As the documentation of Synapse and pysaml2 writes it. */
const SAMPLE = `
accepted_time_diff: 3
service:
  sp:
    allow_unsolicited: true
    name_id_format: urn:oasis:names:tc:SAML:2.0:nameid-format:persistent
description: ["My awesome SP", "en"]
name: ["Test SP & more", "en"]
ui_info:
  display_name:
    - lang: en
      text: "The name"
  information_url:
    - lang: de
      text: "https://example.com/de"
  keywords:
    - lang: en
      text: ["Matrix", "Chat"]
  logo:
    - lang: en
      text: "https://example.com/logo.png"
      width: "200"
      height: 80
organization:
  name: Example com
  display_name:
    - ["Example co", "en"]
  url: "http://example.com"
contact_person:
  - given_name: Bob
    sur_name: "the Sysadmin"
    email_address: ["admin@example.com"]
    contact_type: technical
`;

const saml = (sp: object, more: object = {}) => testConfig({ saml2_config: { sp_config: sp, ...more } });

describe("the SAML2 configuration", () => {
  it("is pysaml2's, with metadata from files and texts in several languages", () => {
    const folder = mkdtempSync(join(tmpdir(), "saml-"));
    writeFileSync(join(folder, "idp.xml"), idp.metadata());
    const config = saml({ ...(parse(SAMPLE) as object), metadata: { local: [join(folder, "idp.xml")], remote: [{ url: "https://idp.example/metadata" }] } });
    const sp = config.saml2.serviceProvider!;
    assert.equal(sp.acceptedClockSkewMs, 3000);
    assert.equal(sp.allowUnsolicited, true);
    assert.equal(sp.wantResponseSigned, true);
    assert.deepEqual(sp.metadata.urls, ["https://idp.example/metadata"]);
    const xml = new SamlProvider(config.saml2).metadata();
    for (const part of [
      '<md:ServiceName xml:lang="en">Test SP &#38; more</md:ServiceName>',
      '<md:ServiceDescription xml:lang="en">My awesome SP</md:ServiceDescription>',
      '<mdui:DisplayName xml:lang="en">The name</mdui:DisplayName>',
      '<mdui:Keywords xml:lang="en">Matrix Chat</mdui:Keywords>',
      '<mdui:InformationURL xml:lang="de">https://example.com/de</mdui:InformationURL>',
      '<mdui:Logo width="200" height="80" xml:lang="en">https://example.com/logo.png</mdui:Logo>',
      '<md:OrganizationDisplayName xml:lang="en">Example co</md:OrganizationDisplayName>',
      "<md:EmailAddress>admin@example.com</md:EmailAddress>",
      "<md:NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</md:NameIDFormat>",
    ])
      assert.ok(xml.includes(part), `${part} is not in ${xml}`);
  });

  it("refuses at start what cannot be honoured", () => {
    const metadata = { inline: [idp.metadata()] };
    assert.throws(() => testConfig({ saml2_config: { config_path: "/etc/sp_conf.py" } }), /config_path: .*Python/);
    assert.throws(() => saml({ metadata, attribute_map_dir: "maps" }), /attribute_map_dir/);
    assert.throws(() => saml({ metadata: { mdq: [] } }), /mdq/);
    assert.throws(() => saml({ metadata: { remote: [{ url: "https://idp.example", cert: "cert.pem" }] } }), /cert/);
    assert.throws(() => saml({ metadata: {}, entityid: "x" }), /no identity provider/);
    assert.throws(() => saml({ metadata }, { user_mapping_provider: { module: "my.Saml", config: { a: 1 } } }), /Python class/);
    assert.throws(() => new SamlProvider(saml({ metadata: { inline: ["<no/>"] } }).saml2), /no identity provider/);
    assert.throws(() => new SamlProvider(saml({ metadata, service: { sp: { authn_requests_signed: true } } }).saml2), /key_file/);
  });

  it("weakens nothing by what pysaml2 does not read either, and names it", () => {
    const metadata = { inline: [idp.metadata()] };
    const above = { allow_unsolicited: true, want_response_signed: false, authn_requests_signed: true, force_authn: true };
    const config = saml({ metadata, ...above, service: { sp: { want_assertions_or_response_signed: true } } });
    const sp = config.saml2.serviceProvider!;
    assert.deepEqual([sp.allowUnsolicited, sp.wantResponseSigned, sp.authnRequestsSigned, sp.forceAuthn], [false, true, false, false]);
    for (const name of Object.keys(above))
      assert.ok(
        config.notices.some((notice) => notice.includes(`sp_config.${name}`)),
        name,
      );
    assert.ok(!config.notices.some((notice) => notice.includes("want_assertions_or_response_signed")));
  });

  it("is off without settings, or where it says so", () => {
    assert.equal(testConfig({}).saml2.enabled, false);
    assert.equal(saml({ metadata: {} }, { enabled: false }).saml2.enabled, false);
    assert.equal(testConfig({ saml2_config: {} }).saml2.enabled, false);
  });
});
