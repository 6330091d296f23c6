import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { localNameOf } from "./attribute-names.ts";

describe("names of SAML attributes", () => {
  it("are known by object identifier, directory name and address, whatever the case", () => {
    for (const [name, local] of [
      ["urn:oid:0.9.2342.19200300.100.1.1", "uid"],
      ["URN:OID:2.16.840.1.113730.3.1.241", "displayName"],
      ["urn:oid:1.2.840.113549.1.9.1.1", "email"],
      ["urn:oid:1.3.6.1.4.1.25178.1.2.15", "schacPersonalUniqueID"],
      ["urn:oid:1.3.6.1.4.1.25178.4.1.14", "voPersonVerifiedEmail"],
      ["urn:oasis:names:tc:SAML:attribute:pairwise-id", "pairwise-id"],
      ["http://eidas.europa.eu/attributes/naturalperson/CurrentFamilyName", "FamilyName"],
      ["http://schemas.xmlsoap.org/ws/2005/05/identity/claims/upn", "upn"],
      ["http://schemas.microsoft.com/ws/2008/06/identity/claims/groupsid", "groupSid"],
      ["urn:mace:dir:attribute-def:eduPersonAffiliation", "eduPersonAffiliation"],
      ["urn:mace:dir:attribute-def:rfc822Mailbox", "rfc822Mailbox"],
      [" urn:mace:dir:attribute-def:mail ", "mail"],
    ] as const)
      assert.equal(localNameOf(name), local, name);
  });

  it("are unknown otherwise", () => {
    for (const name of ["uid", "urn:oid:1.2.3", "urn:mace:dir:attribute-def:", "https://example.org/uid"]) assert.equal(localNameOf(name), undefined, name);
  });
});
