// npm run check: format, lint, import rules, types, and the tests that need no database.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { installPackages, root } from "./prepare.mjs";

installPackages();
const bin = (name, file) => path.join(root, "node_modules", name, file);
const steps = [
  [
    "format",
    bin("prettier", "bin/prettier.cjs"),
    ["--check", "--log-level", "warn", "src/**/*.ts", "scripts/*.mjs", "docker/*.mjs", "docker/*.ts", "compat-tests/**/*.ts", "migrate-from-synapse/**/*.ts"],
  ],
  ["lint", bin("oxlint", "bin/oxlint"), ["--type-aware", "--quiet", "src", "docker", "scripts", "compat-tests", "migrate-from-synapse"]],
  ["imports", path.join(root, "scripts/check-imports.mjs"), []],
  ["lock file", path.join(root, "scripts/complete-lock.mjs"), ["--check"]],
  ["types", bin("typescript", "bin/tsc"), ["-p", "tsconfig.json", "--noEmit"]],
  ["pure tests", bin("mocha", "bin/mocha.js"), ["--reporter", "dot", "src/protocol/**/*.test.ts", "src/lib/**/*.test.ts", "src/config/**/*.test.ts"]],
];
const failed = [];
for (const [name, command, args] of steps) {
  console.log(`--- ${name}`);
  const { status } = spawnSync(process.execPath, [command, ...args], { cwd: root, stdio: "inherit" });
  if (status !== 0) failed.push(name);
}
console.log(failed.length === 0 ? "All checks passed." : `Failed: ${failed.join(", ")}`);
process.exitCode = failed.length === 0 ? 0 : 1;
