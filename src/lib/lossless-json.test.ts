import assert from "node:assert/strict";
import fc from "fast-check";
import { JsonFloat, JsonText, isJsonObject, stringify, stringifyAscii, type Json, type JsonObject } from "./json.ts";
import { JsonError, MAX_JSON_DEPTH, parseJson } from "./lossless-json.ts";

describe("parseJson", () => {
  it("keeps integers beyond 2^53 exactly", () => {
    const value = parseJson('{"depth":9223372036854775807,"safe":9007199254740991,"low":-9007199254740993}') as JsonObject;
    assert.equal(value.depth, 9223372036854775807n);
    assert.equal(value.safe, 9007199254740991);
    assert.equal(value.low, -9007199254740993n);
    assert.equal(stringify(value), '{"depth":9223372036854775807,"safe":9007199254740991,"low":-9007199254740993}');
  });

  // Printed by Python 3.11's json.dumps(json.loads(x)).
  for (const [source, printed] of [
    ["1.0", "1.0"],
    ["1e16", "1e+16"],
    ["1e15", "1000000000000000.0"],
    ["1e-5", "1e-05"],
    ["0.0001", "0.0001"],
    ["0.00012345", "0.00012345"],
    ["1.5e300", "1.5e+300"],
    ["123456789.125", "123456789.125"],
    ["1234567890123456.7", "1234567890123456.8"],
    ["12345678901234567.0", "1.2345678901234568e+16"],
    ["-0.0", "-0.0"],
    ["-2.50", "-2.5"],
    ["1E3", "1000.0"],
    ["1e22", "1e+22"],
    ["5e-324", "5e-324"],
    ["0.1", "0.1"],
    ["0.30000000000000004", "0.30000000000000004"],
    ["2.5e-3", "0.0025"],
  ] as const) {
    it(`reads the float ${source} and prints it as Python does`, () => {
      const value = (parseJson(`[${source}]`) as Json[])[0];
      assert.ok(value instanceof JsonFloat);
      assert.equal(value.source, source);
      assert.equal(value.value, Number(source));
      assert.equal(stringify([value]), `[${printed}]`);
    });
  }

  it("does not take floats inside strings for numbers", () => {
    assert.deepEqual(parseJson('{"a":"1.5, 2e3","b":"\\\\\\"","c":" 12345678901234567"}'), { a: "1.5, 2e3", b: '\\"', c: " 12345678901234567" });
  });

  for (const bad of [
    "NaN",
    "[Infinity]",
    "-Infinity",
    "[1e999]",
    "[-1e400]",
    "",
    "{",
    "[1.5",
    "[1.0,]",
    '{"a":1.0,}',
    '{"a" 1.0}',
    "[01.5]",
    "[1.]",
    "[.5]",
    "1.0 x",
    '[1.5,"\u0001"]',
    '[1.5,"',
    "[1.5,tru]",
    "'a'",
    "[+1.0]",
  ]) {
    it(`refuses ${JSON.stringify(bad)}`, () => assert.throws(() => parseJson(bad), JsonError));
  }

  it("takes the last of duplicate keys, on both paths", () => {
    assert.deepEqual(parseJson('{"a":1,"b":2,"a":3}'), { a: 3, b: 2 });
    assert.equal(stringify(parseJson('{"a":1,"b":2.5,"a":3}')), '{"a":3,"b":2.5}');
  });

  it("keeps __proto__ as an ordinary key, on both paths", () => {
    for (const text of ['{"__proto__":{"x":1}}', '{"__proto__":{"x":1.5}}']) {
      const value = parseJson(text) as JsonObject;
      assert.ok(Object.hasOwn(value, "__proto__"));
      assert.equal((value as { x?: unknown }).x, undefined);
      assert.equal(stringify(value), text);
    }
  });

  it("keeps lone surrogates and prints them as escapes", () => {
    for (const text of ['["\\ud800"]', '[1.5,"a\\udfffb"]']) assert.equal(stringifyAscii(parseJson(text)), text);
  });

  it("bounds the depth", () => {
    const nested = (depth: number, inner: string): string => "[".repeat(depth) + inner + "]".repeat(depth);
    assert.doesNotThrow(() => stringify(parseJson(nested(MAX_JSON_DEPTH, "1.5"))));
    assert.throws(() => parseJson(nested(MAX_JSON_DEPTH + 1, "")), JsonError);
    assert.throws(() => parseJson("[".repeat(1_000_000)), JsonError);
    assert.throws(() => parseJson('{"a":[]}', { maxDepth: 1 }), JsonError);
    assert.deepEqual(parseJson('["[[[["]', { maxDepth: 1 }), ["[[[["]);
  });

  it("bounds how many values there are, where it is told to", () => {
    for (const unit of ["{},", "[],", "1,", '"",', "[[{}]],"]) assert.throws(() => parseJson(`[${unit.repeat(1001)}0]`, { maxValues: 1000 }), JsonError, unit);
    assert.equal((parseJson(`["${"{},[],".repeat(1000)}"]`, { maxValues: 1000 }) as string[]).length, 1, "in strings they are none");
    assert.equal((parseJson(`[${"1,".repeat(998)}0]`, { maxValues: 1000 }) as number[]).length, 999);
  });

  it("refuses an integer of thousands of digits", () => assert.throws(() => parseJson("9".repeat(5000)), JsonError));

  it("agrees with JSON.parse on every document without floats and great integers", () => {
    const value = fc.jsonValue({ depthSize: "small" }).filter((v) => !/\d[.eE]|\d{16}/.test(JSON.stringify(v)));
    fc.assert(fc.property(value, (v) => assert.deepEqual(parseJson(JSON.stringify(v, null, 1)), JSON.parse(JSON.stringify(v)))));
  });

  it("prints back any document, floats included, to the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (v) => {
        const text = `[0.5,${JSON.stringify(v)}]`;
        const once = stringify(parseJson(text));
        assert.deepEqual(JSON.parse(once), JSON.parse(text));
        assert.equal(stringify(parseJson(once)), once);
      }),
    );
  });
});

describe("stringify", () => {
  it("splices text, prints bigints and floats at any depth", () => {
    assert.equal(stringify({ a: [new JsonText('{"x":1}'), 5n, new JsonFloat(2)], b: undefined }), '{"a":[{"x":1},5,2.0]}');
  });

  it("escapes all but printable ASCII in the ASCII form", () => {
    assert.equal(stringifyAscii({ ключ: "é\u007f😀\n" }), '{"\\u043a\\u043b\\u044e\\u0447":"\\u00e9\\u007f\\ud83d\\ude00\\n"}');
  });

  it("does not take a float or ready text for an object", () => {
    assert.equal(isJsonObject(new JsonFloat(1)), false);
    assert.equal(isJsonObject(new JsonText("{}")), false);
    assert.equal(isJsonObject({}), true);
  });
});
