import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { taskActions } from "../src/services/tasks/actions.ts";
import { BUILT_INS } from "../src/services/modules/built-in/all.ts";
import { UPDATES } from "../src/workers/background-updates/registry.ts";
import { CONFIG_CHECKS, DATABASE_CHECKS } from "./checks.ts";
import { STAND_INS } from "./modules.ts";
import { knowsUpdate, TASK_ACTIONS, updatesOfSynapse } from "./programs.ts";
import { RISKS, riskTable } from "./risks.ts";

const file = (name: string): string => readFileSync(fileURLToPath(new URL(name, import.meta.url)), "utf8");

describe("the known risks of a swap", () => {
  const checks = [...CONFIG_CHECKS, ...DATABASE_CHECKS];

  it("are 102, each answered by checks that exist and say so, or not checkable with a reason", () => {
    assert.deepEqual(
      RISKS.map(({ number }) => number),
      Array.from({ length: 102 }, (_, index) => index + 1),
    );
    for (const { number, answer } of RISKS) {
      const holders = checks.filter(({ risks }) => risks.includes(number)).map(({ name }) => name);
      if ("outside" in answer) {
        assert.ok(answer.outside.length > 20, `risk ${number} has a reason`);
        assert.deepEqual(holders, [], `risk ${number} is not checkable, and checked`);
      } else assert.deepEqual([...new Set(holders)].sort(), [...answer.checks].sort(), `risk ${number}`);
    }
  });

  it("stand in the README as in the code", () => {
    assert.ok(file("README.md").includes(riskTable()), "migrate-from-synapse/README.md has another table than riskTable() makes");
  });

  it("are answered by checks with names of their own", () => {
    const names = checks.map(({ name }) => name);
    assert.equal(new Set(names).size, names.length);
  });
});

describe("what the checker knows of the servers", () => {
  it("knows the background updates that Myelin runs", () => {
    for (const name of UPDATES.keys()) assert.ok(knowsUpdate("myelin", name), `Myelin runs ${name}, and the checker does not know`);
    for (const name of updatesOfSynapse()) assert.equal(knowsUpdate("myelin", name), UPDATES.has(name), name);
  });

  it("knows the tasks that Myelin runs", () => {
    assert.deepEqual([...TASK_ACTIONS].sort(), Object.keys(taskActions).sort());
  });

  it("knows the modules that Myelin has stand-ins for", () => {
    assert.deepEqual([...STAND_INS].sort(), [...BUILT_INS.keys()].sort());
  });
});
