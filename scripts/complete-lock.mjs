// Completes package-lock.json: npm leaves out the packages for other systems that its registry did not have when the lock was written,
// and `npm ci` then refuses the lock everywhere else. With --check only tells whether something is missing.
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const file = path.resolve(fileURLToPath(new URL("../package-lock.json", import.meta.url)));
const lock = JSON.parse(readFileSync(file, "utf8"));
const SYSTEMS = ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"];
const PROCESSORS = ["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"];

const missing = {};
for (const [place, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (lock.packages[`node_modules/${name}`] !== undefined || lock.packages[`${place}/node_modules/${name}`] !== undefined) continue;
    const words = name.split(/[-/]/);
    const os = words.filter((word) => SYSTEMS.includes(word));
    const cpu = words.filter((word) => PROCESSORS.includes(word));
    // Only packages that name their system, by an exact version, can be entered without asking the registry.
    if (os.length === 0 || cpu.length === 0 || !/^\d/.test(version)) continue;
    const libc = words.some((word) => word.startsWith("musl")) ? ["musl"] : words.some((word) => word.startsWith("gnu")) ? ["glibc"] : undefined;
    missing[`node_modules/${name}`] = { version, cpu, ...(entry.dev ? { dev: true } : {}), ...(libc ? { libc } : {}), optional: true, os };
  }
}

const names = Object.keys(missing);
if (names.length === 0) console.log("package-lock.json is complete.");
else if (process.argv.includes("--check")) {
  console.log(`package-lock.json lacks ${names.length} packages for other systems: run node scripts/complete-lock.mjs`);
  process.exitCode = 1;
} else {
  const { "": project, ...packages } = { ...lock.packages, ...missing };
  const sorted = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(file, `${JSON.stringify({ ...lock, packages: { "": project, ...sorted } }, null, 2)}\n`);
  console.log(`Entered ${names.length} packages for other systems into package-lock.json.`);
}
