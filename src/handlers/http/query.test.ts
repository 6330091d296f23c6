import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { Query } from "./query.ts";

describe("query parameters", () => {
  it("numbers beyond what can be told apart become the outermost ones, as limits and times mean the same then", () => {
    const query = new Query("?a=99999999999999999999999&b=-9223372036854775809&c=+7&d=1e5&e=7.0&f=");
    assert.equal(query.integer("a"), Number.MAX_SAFE_INTEGER);
    assert.equal(query.integer("b"), Number.MIN_SAFE_INTEGER);
    assert.equal(query.integer("c"), 7);
    for (const name of ["d", "e", "f"]) assert.throws(() => query.integer(name), { errcode: "M_INVALID_PARAM" });
    assert.throws(() => query.natural("b"), { errcode: "M_INVALID_PARAM" });
  });
});
