import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import * as noble from "@noble/ed25519";
import fc from "fast-check";
import { stringify, stringifyAscii, type JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { realEvents } from "../../testing/real-events.ts";
import { getDomain } from "../ids.ts";
import { KNOWN_ROOM_VERSIONS, roomVersion } from "../room-versions.ts";
import { hashAndSign } from "./build.ts";
import { contentHash, contentHashMatches, eventIdOf, referenceHash } from "./hash.ts";
import { redactJson } from "./redact.ts";
import {
  decodeBase64,
  encodeBase64,
  formatSigningKey,
  parseSigningKeys,
  signJson,
  signText,
  signingKeyFromSeed,
  signingKeyIds,
  verifyEventJson,
  verifyJson,
  verifyKey,
  verifyText,
} from "./sign.ts";

const V1 = roomVersion("1")!;
const V11 = roomVersion("11")!;
const key = signingKeyFromSeed("1", decodeBase64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"));
const { keys, rows, events } = realEvents();

describe("the specification's test vectors", () => {
  it("sign an empty object", () => {
    const signature = "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ";
    assert.deepEqual(signJson({}, "domain", key), { signatures: { domain: { "ed25519:1": signature } } });
  });
  it("sign an object with data", () => {
    const signature = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw";
    assert.deepEqual(signJson({ two: "Two", one: 1 }, "domain", key).signatures, { domain: { "ed25519:1": signature } });
  });
  it("hash and sign a minimal event", () => {
    const pdu: JsonObject = {
      room_id: "!x:domain",
      sender: "@a:domain",
      origin: "domain",
      origin_server_ts: 1000000,
      signatures: {},
      hashes: {},
      type: "X",
      content: {},
      prev_events: [],
      auth_events: [],
      depth: 3,
      unsigned: { age_ts: 1000000 },
    };
    const { json } = hashAndSign(pdu, V1, "domain", [key]);
    assert.deepEqual(json.hashes, { sha256: "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos" });
    assert.deepEqual(json.signatures, { domain: { "ed25519:1": "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg" } });
    assert.deepEqual(json.unsigned, { age_ts: 1000000 });
  });
  it("hash and sign an event whose content is redactable", () => {
    const pdu: JsonObject = {
      content: { body: "Here is the message content" },
      event_id: "$0:domain",
      origin: "domain",
      origin_server_ts: 1000000,
      type: "m.room.message",
      room_id: "!r:domain",
      sender: "@u:domain",
      signatures: {},
      unsigned: { age_ts: 1000000 },
    };
    const { json, eventId } = hashAndSign(pdu, V1, "domain", [key]);
    assert.equal(eventId, "$0:domain");
    assert.deepEqual(json.hashes, { sha256: "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g" });
    assert.deepEqual(json.signatures, { domain: { "ed25519:1": "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA" } });
  });
});

describe("events of a real Synapse", () => {
  it("are there in every stable room version", () => assert.equal(new Set(events.map((event) => event.roomVersion.id)).size, 12));

  for (const version of new Set(events.map((event) => event.roomVersion))) {
    it(`hash to their id, match their content hash and verify in room version ${version.id}`, () => {
      for (const event of events.filter((each) => each.roomVersion === version)) {
        const what = `${event.type} ${event.eventId}`;
        assert.equal(eventIdOf(event.json, version), event.eventId, what);
        assert.ok(contentHashMatches(event.json), what);
        const server = getDomain(event.sender);
        assert.ok(verifyEventJson(event.json, version, server, keys.get(server)!), what);
      }
    });

    it(`no longer match when anything is changed in room version ${version.id}`, () => {
      for (const event of events.filter((each) => each.roomVersion === version && each.type === "m.room.message")) {
        const server = getDomain(event.sender);
        const tampered = { ...event.json, content: { ...event.content, body: "other" } };
        assert.equal(contentHashMatches(tampered), false);
        // The body is under the content hash alone: redacting must be able to take it away.
        assert.ok(verifyEventJson(tampered, version, server, keys.get(server)!));
        assert.equal(verifyEventJson({ ...event.json, depth: 1_000_000 }, version, server, keys.get(server)!), false);
        assert.equal(verifyEventJson({ ...event.json, hashes: { sha256: contentHash(tampered) } }, version, server, keys.get(server)!), false);
      }
    });
  }

  it("keep id and signature when they are redacted", () => {
    for (const event of events) {
      const redacted = redactJson(event.json, event.roomVersion);
      assert.equal(eventIdOf(redacted, event.roomVersion), event.eventId);
      const server = getDomain(event.sender);
      assert.ok(verifyEventJson(redacted, event.roomVersion, server, keys.get(server)!));
      assert.deepEqual(redactJson(redacted, event.roomVersion), redacted);
    }
  });

  it("state the reference hashes of the events before them in room versions 1 and 2", () => {
    const byId = new Map(events.map((event) => [event.eventId, event]));
    let checked = 0;
    for (const event of events.filter((each) => each.roomVersion.eventFormat === 1)) {
      for (const [id, hashes] of [...(event.json.prev_events as [string, JsonObject][]), ...(event.json.auth_events as [string, JsonObject][])]) {
        const before = byId.get(id);
        // Synapse states none for events that it sends in one batch.
        if (before === undefined || hashes.sha256 === undefined) continue;
        assert.equal(hashes.sha256, referenceHash(before.json, before.roomVersion));
        checked++;
      }
    }
    assert.ok(checked > 5);
  });

  it("are written back byte for byte", () => {
    const lines = readFileSync(new URL("../testdata/real-events.json", import.meta.url), "utf8").split("\n");
    for (const row of rows)
      assert.ok(
        lines.some((line) => line.includes(`"json":${stringifyAscii(row.json)}}`)),
        row.event_id,
      );
  });
});

describe("signatures", () => {
  it("agree with an independent implementation, both ways", async () => {
    const seed = decodeBase64("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1");
    for (const text of ["", "{}", '{"a":"日本語"}']) {
      const bytes = new TextEncoder().encode(text);
      const signature = signText(text, key);
      assert.equal(signature, encodeBase64(await noble.signAsync(bytes, new Uint8Array(seed))));
      assert.ok(await noble.verifyAsync(new Uint8Array(decodeBase64(signature)), bytes, new Uint8Array(decodeBase64(key.base64))));
    }
  });

  it("are added beside those that are there", () => {
    const once = signJson({ a: 1 }, "one", key);
    const other = signingKeyFromSeed("b", Buffer.alloc(32, 7));
    const twice = signJson(signJson(once, "one", other), "two", other);
    assert.deepEqual(signingKeyIds(twice, "one"), ["ed25519:1", "ed25519:b"]);
    for (const [name, by] of [
      ["one", key],
      ["one", other],
      ["two", other],
    ] as const)
      assert.ok(verifyJson(twice, name, by));
    assert.equal(verifyJson(twice, "two", key), false);
    assert.equal(verifyJson({ ...twice, a: 2 }, "one", key), false);
    assert.ok(verifyJson({ ...twice, unsigned: { x: 1 } }, "one", key));
  });

  it("are refused, never thrown over, when anything is malformed", () => {
    const good = signJson({ a: 1 }, "one", key);
    const signature = (good.signatures as { one: Record<string, string> }).one["ed25519:1"]!;
    for (const signatures of [
      null,
      [],
      "x",
      { one: [] },
      { one: { "ed25519:1": 5 } },
      { one: { "ed25519:1": "" } },
      { one: { "ed25519:1": signature.slice(0, 80) } },
      { one: { "ed25519:1": signature + "AAAA" } },
      { two: { "ed25519:1": signature } },
    ]) {
      assert.equal(verifyJson({ a: 1, signatures } as JsonObject, "one", key), false);
    }
    assert.equal(verifyJson({ a: "\ud800", signatures: good.signatures! }, "one", key), false);
    assert.equal(verifyJson(good, "__proto__", key), false);
    assert.equal(verifyEventJson({ signatures: good.signatures!, content: null }, V11, "one", key), false);
    assert.equal(verifyText("x", "*".repeat(100), key), false);
  });

  it("are read in either base64 alphabet, padded or not", () => {
    const signature = signText("x", key);
    for (const form of [signature, signature + "==", signature.replaceAll("+", "-").replaceAll("/", "_")]) assert.ok(verifyText("x", form, key));
  });
});

describe("signing keys", () => {
  it("are read from and written to Synapse's file format", () => {
    const file = "ed25519 a_abcd YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0\n";
    const [read] = parseSigningKeys(file + "\n");
    assert.equal(read!.keyId, "ed25519:a_abcd");
    assert.equal(read!.base64, key.base64);
    assert.equal(formatSigningKey(read!), file);
  });
  it("are refused by line, without their secret in the message", () => {
    for (const bad of ["ed25519 a_b", "rsa a_b YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1", "ed25519 a YJDB", "ed25519 a b c YJDB"]) {
      assert.throws(
        () => parseSigningKeys(`\n${bad}`),
        (error: Error) => error.message.startsWith("line 2") && !error.message.includes("YJDB"),
      );
    }
  });
  it("of others must be Ed25519 keys of 32 bytes", () => {
    assert.equal(verifyKey("rsa:1", key.base64), undefined);
    assert.equal(verifyKey("ed25519:1", "AAAA"), undefined);
    assert.equal(verifyKey("ed25519:1", key.base64)!.base64, key.base64);
  });
});

describe("redaction, in every room version", () => {
  const types = [
    "m.room.member",
    "m.room.create",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.aliases",
    "m.room.history_visibility",
    "m.room.redaction",
    "m.room.message",
    "x",
  ];
  const contentKeys = [
    "membership",
    "join_authorised_via_users_server",
    "third_party_invite",
    "creator",
    "room_version",
    "join_rule",
    "allow",
    "users",
    "invite",
    "ban",
    "notifications",
    "aliases",
    "history_visibility",
    "redacts",
    "body",
    "m.relates_to",
  ];
  const pdu = fc.record({
    type: fc.constantFrom(...types),
    content: fc.dictionary(fc.constantFrom(...contentKeys), fc.jsonValue()),
    room_id: fc.constant("!a:b"),
    sender: fc.constant("@a:b"),
    origin: fc.constant("b"),
    membership: fc.constant("join"),
    redacts: fc.constant("$x"),
    hashes: fc.constant({ sha256: "x" }),
    unsigned: fc.dictionary(fc.constantFrom("age_ts", "prev_content", "replaces_state"), fc.integer()),
    signatures: fc.constant({ b: { "ed25519:1": "x" } }),
  });

  for (const version of KNOWN_ROOM_VERSIONS) {
    it(`keeps the reference hash and is idempotent in ${version.id}`, () => {
      fc.assert(
        fc.property(pdu, (json) => {
          const before = stringify(json);
          const redacted = redactJson(json as JsonObject, version);
          assert.equal(referenceHash(redacted, version), referenceHash(json as JsonObject, version));
          assert.deepEqual(redactJson(redacted, version), redacted);
          assert.equal(stringify(json), before);
        }),
        { numRuns: 30 },
      );
    });
  }

  it("keeps by version what the specification lists", () => {
    const content = Object.fromEntries(
      contentKeys.map((name) => [
        name,
        name === "third_party_invite" ? { signed: { a: 1 }, display_name: "x" } : name === "m.relates_to" ? { rel_type: "r", event_id: "$e", key: "k" } : 1,
      ]),
    );
    const kept = (id: string, type: string): string[] => Object.keys(redactJson({ type, content }, roomVersion(id)!).content as JsonObject).sort();
    assert.deepEqual(kept("1", "m.room.aliases"), ["aliases"]);
    assert.deepEqual(kept("6", "m.room.aliases"), []);
    assert.deepEqual(kept("7", "m.room.join_rules"), ["join_rule"]);
    assert.deepEqual(kept("8", "m.room.join_rules"), ["allow", "join_rule"]);
    assert.deepEqual(kept("8", "m.room.member"), ["membership"]);
    assert.deepEqual(kept("9", "m.room.member"), ["join_authorised_via_users_server", "membership"]);
    assert.deepEqual(kept("11", "m.room.member"), ["join_authorised_via_users_server", "membership", "third_party_invite"]);
    assert.deepEqual((redactJson({ type: "m.room.member", content }, V11).content as JsonObject).third_party_invite, { signed: { a: 1 } });
    assert.deepEqual(kept("10", "m.room.create"), ["creator"]);
    assert.deepEqual(kept("11", "m.room.create"), [...contentKeys].sort());
    assert.deepEqual(kept("10", "m.room.power_levels"), ["ban", "users"]);
    assert.deepEqual(kept("11", "m.room.power_levels"), ["ban", "invite", "users"]);
    assert.deepEqual(kept("10", "m.room.redaction"), []);
    assert.deepEqual(kept("11", "m.room.redaction"), ["redacts"]);
    assert.deepEqual(kept("11", "m.room.message"), []);
    assert.deepEqual((redactJson({ type: "x", content }, roomVersion("org.matrix.msc3389.10")!).content as JsonObject)["m.relates_to"], {
      rel_type: "r",
      event_id: "$e",
    });
    const top = (id: string, type: string): string[] =>
      Object.keys(
        redactJson(
          {
            type,
            content: {},
            room_id: "!a:b",
            origin: "b",
            membership: "join",
            prev_state: [],
            redacts: "$x",
            age_ts: 1,
            auth_events: [],
            prev_state_events: [],
          },
          roomVersion(id)!,
        ),
      ).sort();
    assert.deepEqual(top("10", "x"), ["auth_events", "content", "membership", "origin", "prev_state", "room_id", "type"]);
    assert.deepEqual(top("11", "x"), ["auth_events", "content", "room_id", "type"]);
    assert.deepEqual(top("12", "m.room.create"), ["auth_events", "content", "type"]);
    assert.deepEqual(top("org.matrix.msc4242.12", "x"), ["content", "prev_state_events", "room_id", "type"]);
  });

  it("hashes floats and great integers of old rooms as Synapse does", () => {
    // Event id computed by Synapse 1.160.
    const json = parseJson(
      '{"type":"m.room.power_levels","state_key":"","sender":"@a:b","room_id":"!a:b","content":{"users":{"@a:b":1e16,"@b:b":1.0},"ban":12345678901234567890123,"kick":1e-5},"depth":1,"origin_server_ts":1,"auth_events":[],"prev_events":[],"signatures":{},"hashes":{},"unsigned":{}}',
    ) as JsonObject;
    assert.equal(eventIdOf(json, roomVersion("5")!), "$dNimmAjJrvFgvtxoxQnCgXz6rDWYx59122VOm7JHejY");
  });
});
