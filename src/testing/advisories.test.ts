import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "mocha";
import sharp from "sharp";

const PAGE = "docs/advisories.md";

/** The first is at least the second, number by number. */
const reaches = (version: string, least: readonly number[]): boolean => {
  const numbers = version.split(".").map(Number);
  const index = least.findIndex((number, at) => numbers[at] !== number);
  return index < 0 || numbers[index]! > least[index]!;
};

describe("advisories", () => {
  it("are each named by the tests that the page says", () => {
    const rows = readFileSync(PAGE, "utf8")
      .split("\n")
      .filter((line) => line.startsWith("| ") && line.includes(".test.ts`"));
    assert.ok(rows.length > 80, `${rows.length} rows`);
    for (const row of rows) {
      const tests = [...row.matchAll(/`([^`]+\.test\.ts)`/g)].map(([, file]) => file!);
      for (const file of tests) assert.ok(existsSync(file), `${file}, named by ${PAGE}, is not there`);
      const text = tests.map((file) => readFileSync(file, "utf8")).join("\n");
      for (const [id] of row.split("|")[1]!.matchAll(/CVE-\d+-\d+|GHSA(?:-\w{4}){3}|#\d+/g))
        assert.ok(text.includes(id), `${id} is in none of ${tests.join(", ")}`);
    }
  });

  it("about libraries are behind us: pictures (CVE-2023-4863), TLS (CVE-2021-3449, CVE-2020-1971)", () => {
    const webp = (sharp.versions as Record<string, string | undefined>)["webp"];
    assert.ok(webp !== undefined && reaches(webp, [1, 3, 2]), `libwebp ${webp}`);
    assert.ok(reaches(process.versions.openssl, [1, 1, 1]) && !/^1\.1\.1[a-j]?(?![a-z])/.test(process.versions.openssl), `OpenSSL ${process.versions.openssl}`);
  });
});
