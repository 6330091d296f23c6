// What `npm start` and `npm test` need before they can begin: the packages of package-lock.json, and the compiled program.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(fileURLToPath(new URL("..", import.meta.url)));

/** Installs the packages when they are missing or not those of package-lock.json. Their install scripts do not run: none is needed. */
export function installPackages() {
  if (packagesAreCurrent()) return;
  console.error("Installing packages (npm ci) ...");
  if (npm("ci") || npm("install", "--no-save")) return;
  console.error("The packages could not be installed; see above. Is the package registry reachable?");
  process.exit(1);
}

/** Runs npm, its output to standard error. @returns whether it succeeded */
function npm(...command) {
  const args = [...command, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const options = { cwd: root, stdio: ["ignore", 2, 2] };
  const script = process.env.npm_execpath;
  const isNpm = script !== undefined && /npm[^/\\]*\.c?js$/.test(script);
  const { status } = isNpm
    ? spawnSync(process.execPath, [script, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  return status === 0;
}

function packagesAreCurrent() {
  const wanted = readJson("package-lock.json")?.packages;
  const installed = readJson("node_modules/.package-lock.json")?.packages;
  if (wanted === undefined || installed === undefined) return false;
  // Optional packages are for other systems, mostly.
  return Object.entries(wanted).every(([name, entry]) => name === "" || entry.optional || entry.link || installed[name]?.version === entry.version);
}

function readJson(file) {
  try {
    return JSON.parse(readFileSync(path.join(root, file), "utf8"));
  } catch {
    return undefined;
  }
}

/** Compiles the program when a source file is newer than what was compiled. */
export function build() {
  const mark = path.join(root, "dist/.tsbuildinfo");
  const compiled = existsSync(mark) && existsSync(path.join(root, "dist/src/main.js")) ? statSync(mark).mtimeMs : 0;
  const config = JSON.parse(readFileSync(path.join(root, "tsconfig.json"), "utf8"));
  const sources = ["tsconfig.json", "package-lock.json", ...config.include];
  if (sources.every((source) => newest(path.join(root, source)) <= compiled)) return;
  console.error("Compiling ...");
  const compiler = path.join(root, "node_modules/typescript/bin/tsc");
  const result = spawnSync(process.execPath, [compiler, "-p", path.join(root, "tsconfig.json")], { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0) {
    console.error("The program does not compile; see above.");
    process.exit(1);
  }
}

/** The time of the newest TypeScript or JSON file below a path. */
function newest(target) {
  const stat = statSync(target, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  let time = 0;
  for (const name of readdirSync(target, { recursive: true })) {
    if (/\.(?:ts|json)$/.test(name)) time = Math.max(time, statSync(path.join(target, name), { throwIfNoEntry: false })?.mtimeMs ?? 0);
  }
  return time;
}
