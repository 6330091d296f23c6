import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { violations } from "../testing/openapi/schema-check.ts";
import { describeReport, fuzz } from "../testing/fuzz/fuzz.ts";

describe("every route under bad input", () => {
  it("answers 2,000 requests, right and wrong, as a server should, and as the specification's OpenAPI documents say", async function () {
    this.timeout(300_000);
    const report = await fuzz({ requests: 2000, seed: 1 });
    assert.equal(report.failures.length, 0, describeReport(report));
    // Else it would be the fuzzer that is broken.
    assert.ok(report.succeeded.size > 100, `only ${report.succeeded.size} servlets ever succeeded`);
    assert.ok(report.operations.size > 50, `only ${report.operations.size} operations ever succeeded`);
  });
});

describe("the check of answers", () => {
  it("tells missing fields, wrong types and wrong values, at any depth", () => {
    const schema = {
      type: "object",
      required: ["id"],
      properties: { id: { type: "string", pattern: "^!" }, list: { type: "array", items: { type: "integer" } }, kind: { enum: ["a", "b"] } },
      additionalProperties: { type: "boolean" },
    };
    assert.deepEqual(violations(schema, { id: "!a", list: [1, 2], kind: "a", more: true }), []);
    assert.deepEqual(violations(schema, { list: [1, "x"], kind: "c", more: 1 }), [
      "answer.id: is missing",
      "answer.list[1]: is string, not integer",
      'answer.kind: "c" is none of ["a","b"]',
      "answer.more: is integer, not boolean",
    ]);
    assert.deepEqual(violations(schema, { id: "a" }), ["answer.id: does not match ^!"]);
    assert.deepEqual(violations(schema, []), ["answer: is array, not object"]);
  });

  it("takes any of several alternatives, and all of what must hold together", () => {
    const either = { oneOf: [{ type: "string" }, { type: "object", required: ["a"] }] };
    assert.deepEqual(violations(either, "x"), []);
    assert.deepEqual(violations(either, { a: 1 }), []);
    assert.notDeepEqual(violations(either, {}), []);
    assert.notDeepEqual(violations({ allOf: [{ type: "object", required: ["a"] }, { required: ["b"] }] }, { a: 1 }), []);
  });
});
