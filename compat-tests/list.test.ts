import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ALLOWED_ADMIN_ANSWERS, ALLOWED_ADMIN_TABLES, ALLOWED_ANSWERS, ALLOWED_COLUMNS, ALLOWED_TABLES, TABLE_VIEWS } from "./allowed.ts";
import { ALLOWED_PROBES } from "./probes.ts";

describe("the list of what differs", () => {
  it("in README.md has each reason, and each table and column", () => {
    const readme = readFileSync(new URL("README.md", import.meta.url), "utf8");
    const listed = readme.slice(readme.indexOf("## What differs"));
    const reasons = [...ALLOWED_ANSWERS, ...ALLOWED_PROBES, ...ALLOWED_ADMIN_ANSWERS, ...TABLE_VIEWS.values()].map(({ reason }) => reason);
    const tables = [...ALLOWED_TABLES, ...ALLOWED_COLUMNS, ...ALLOWED_ADMIN_TABLES];
    const names = [...tables.map(([name]) => name), ...TABLE_VIEWS.keys()].map((name) => `\`${name}\``);
    const missing = [...reasons, ...tables.map(([, reason]) => reason), ...names].filter((text) => !listed.includes(text));
    assert.deepEqual(missing, []);
  });
});
