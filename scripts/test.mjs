// npm test: installs and compiles what is missing, then runs the tests. Arguments after `--` are mocha's: files, --grep.
// The tests use the Postgres of MYELIN_TEST_DATABASE_URL (a superuser's URL), else one of their own.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { build, installPackages, root } from "./prepare.mjs";

installPackages();
build();
const args = process.argv.slice(2);
const hasFiles = args.some((arg, index) => !arg.startsWith("-") && !args[index - 1]?.startsWith("-"));
const files = hasFiles ? [] : ["src/**/*.test.ts", "docker/**/*.test.ts", "migrate-from-synapse/**/*.test.ts"];
const mocha = path.join(root, "node_modules/mocha/bin/mocha.js");
const isWhole = !hasFiles && !args.some((arg) => /^(-g|-f|--grep|--fgrep|--shard)/.test(arg));
const env = isWhole ? { ...process.env, MYELIN_WHOLE_RUN: "1" } : process.env;
const result = spawnSync(process.execPath, [mocha, ...args, ...files], { cwd: root, stdio: "inherit", env });
process.exitCode = result.status ?? 1;
