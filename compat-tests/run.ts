import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { installSynapse, SynapseUnavailable } from "./harness/synapse.ts";

/**
 * `npm run compat [suite...]`: installs real Synapse where that can be had, then runs the suites one after the other, each in a
 * process of its own, and sums up. The name of a suite stands for its parts, too: `federation` for `federation-access`.
 */
const folder = dirname(fileURLToPath(import.meta.url));
const SUITES = [
  "list",
  "schema",
  "swap",
  "parity",
  "admin-parity",
  "upgrade",
  "js-sdk",
  "kill",
  "delegation",
  "sso",
  "saml",
  "mails",
  "addresses",
  "bridge",
  "federation",
  "federation-access",
  "federation-encryption",
];
/** Run only when asked for by name: `admin-ui` needs a build of synapse-admin (see the head of its file). */
const BY_NAME = ["admin-ui"];

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => ![...SUITES, ...BY_NAME].includes(name));
if (unknown.length > 0) {
  process.stderr.write(`No suite ${unknown.join(", ")}; there are ${[...SUITES, ...BY_NAME].join(", ")}\n`);
  process.exit(2);
}

const wanted = [...new Set(asked.flatMap((name) => [name, ...SUITES.filter((suite) => suite.startsWith(`${name}-`))]))];

try {
  installSynapse();
} catch (error) {
  if (!(error instanceof SynapseUnavailable)) throw error;
  process.stderr.write(`${error.message}\nSuites that compare with Synapse are skipped.\n`);
}

interface Summary {
  suite: string;
  passing: number;
  failing: number;
  pending: number;
  seconds: number;
}

const summaries: Summary[] = [];
for (const suite of wanted.length > 0 ? wanted : SUITES) summaries.push(await run(suite));
// Two whole servers race with each other in ways that are neither's fault: a suite that failed gets one more chance, and the report says so.
const failed = summaries.filter(({ failing }) => failing > 0).map(({ suite }) => suite);
if (wanted.length === 0 && failed.length <= 2) {
  for (const suite of failed) {
    process.stdout.write(`\n${suite} failed and is run once more.\n`);
    const again = await run(suite);
    summaries.splice(
      summaries.findIndex((each) => each.suite === suite),
      1,
      { ...again, suite: `${suite}, at the second run` },
    );
  }
}

process.stdout.write("\n");
for (const { suite, passing, failing, pending, seconds } of summaries)
  process.stdout.write(`  ${failing > 0 ? "✗" : "✔"} ${suite}: ${passing} passing, ${failing} failing, ${pending} pending (${Math.round(seconds)}s)\n`);
const total = (pick: (summary: Summary) => number): number => summaries.reduce((sum, summary) => sum + pick(summary), 0);
const [passed, failures, skipped] = [total((each) => each.passing), total((each) => each.failing), total((each) => each.pending)];
process.stdout.write(`\n${passed} passed, ${failures} failed, ${skipped} skipped\n`);
process.exitCode = failures > 0 ? 1 : 0;

function run(suite: string): Promise<Summary> {
  const begun = performance.now();
  return new Promise((resolve) => {
    const mocha = join(folder, "..", "node_modules", "mocha", "bin", "mocha.js");
    // --exit: the SDK's clients leave timers behind.
    const child = spawn(process.execPath, [mocha, "--exit", "--config", join(folder, ".mocharc.json"), join(folder, `${suite}.test.ts`)], {
      stdio: ["ignore", "pipe", "inherit"],
      cwd: join(folder, ".."),
    });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString("utf8");
      process.stdout.write(chunk);
    });
    child.once("exit", (code) => {
      const count = (word: string): number => Number(new RegExp(`^  (\\d+) ${word}`, "m").exec(output)?.[1] ?? 0);
      const failing = count("failing");
      resolve({
        suite,
        passing: count("passing"),
        failing: failing === 0 && code !== 0 ? 1 : failing,
        pending: count("pending"),
        seconds: (performance.now() - begun) / 1000,
      });
    });
  });
}
