import assert from "node:assert/strict";
import fc from "fast-check";
import type { Json } from "../lib/json.ts";
import { parseJson } from "../lib/lossless-json.ts";
import { CanonicalJsonError, canonicalJson, canonicalProblem, compareCodePoints } from "./canonical-json.ts";

describe("canonical JSON", () => {
  // Examples of the specification's appendix "Canonical JSON".
  for (const [given, expected] of [
    ["{}", "{}"],
    ['{ "one": 1, "two": "Two" }', '{"one":1,"two":"Two"}'],
    ['{"b":"2","a":"1"}', '{"a":"1","b":"2"}'],
    [
      '{"auth":{"success":true,"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"medium":"email","address":"john.doe@example.org"},{"medium":"msisdn","address":"123456789"}]}}}',
      '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}',
    ],
    ['{"a":"日本語"}', '{"a":"日本語"}'],
    ['{"本":2,"日":1}', '{"日":1,"本":2}'],
    ['{"a":"\\u65E5"}', '{"a":"日"}'],
    ['{"a":null}', '{"a":null}'],
    ['{"a":-0,"b":1e10}', '{"a":0,"b":10000000000.0}'],
    ['["\\u2028\\u007f\\u0001\\n\\/\\"\\\\"]', '["\u2028\u007f\\u0001\\n/\\"\\\\"]'],
    ['{"n":123456789012345678901234567890}', '{"n":123456789012345678901234567890}'],
  ] as const) {
    it(`of ${given.slice(0, 50)}`, () => assert.equal(canonicalJson(parseJson(given)), expected));
  }

  it("sorts keys by code point, not by UTF-16 unit", () => {
    assert.equal(canonicalJson({ "\u{1F600}": 1, "\uFFFD": 2, a: 3, "": 4, "\uD7FF": 5 }), '{"":4,"a":3,"\uD7FF":5,"\uFFFD":2,"\u{1F600}":1}');
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        fc.string({ unit: "binary" }),
        (a, b) => Math.sign(compareCodePoints(a, b)) === Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))),
      ),
    );
  });

  it("sorts numeric keys as text", () => assert.equal(canonicalJson({ 10: 1, 9: 2, a: 3 }), '{"10":1,"9":2,"a":3}'));

  it("refuses lone surrogates, in keys too, and nothing that only looks like one", () => {
    assert.throws(() => canonicalJson(["\ud800"]), CanonicalJsonError);
    assert.throws(() => canonicalJson({ "a\udc00": 1 }), CanonicalJsonError);
    assert.throws(() => canonicalJson(["\\\ud800"]), CanonicalJsonError);
    assert.equal(canonicalJson(["\\ud800", "\\\\ud800", "😀"]), '["\\\\ud800","\\\\\\\\ud800","😀"]');
  });

  it("refuses what is not JSON", () => {
    for (const bad of [Number.NaN, Infinity, (() => {}) as unknown as Json]) assert.throws(() => canonicalJson([bad]), CanonicalJsonError);
  });

  it("is the same whatever the order of keys, and reads back to the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value as Json);
        assert.deepEqual(JSON.parse(text), JSON.parse(JSON.stringify(value)));
        assert.equal(canonicalJson(reversed(parseJson(text))), text);
      }),
    );
  });
});

describe("strict canonical JSON", () => {
  it("refuses floats and integers beyond 2^53-1 at any depth", () => {
    for (const bad of ["[1.0]", '{"a":[{"b":1e2}]}', "[9007199254740992]", "[-9007199254740992]", "[99999999999999999999]"])
      assert.notEqual(canonicalProblem(parseJson(bad)), undefined, bad);
  });
  it("accepts all else", () => {
    for (const good of ["[9007199254740991,-9007199254740991,0,-0]", '{"a":["1.5",null,true,{}]}'])
      assert.equal(canonicalProblem(parseJson(good)), undefined, good);
  });
});

function reversed(value: Json): Json {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null || !("constructor" in value) || Object.getPrototypeOf(value) !== Object.prototype) return value;
  const out: Record<string, Json> = {};
  for (const [key, item] of Object.entries(value).reverse())
    Object.defineProperty(out, key, { value: reversed(item as Json), enumerable: true, configurable: true, writable: true });
  return out;
}
