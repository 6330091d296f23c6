// Who may import whom: the table of ARCHITECTURE.md, checked. Prints one line for each import that is not allowed; exit status 1 then.
import { readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const root = path.resolve(fileURLToPath(new URL("..", import.meta.url)));
/** Folders of the program; what lies in `src` is named without it. */
const SOURCES = ["src", "migrate-from-synapse"];

/** For each folder: which folders it may import, which packages it must not. */
const RULES = {
  lib: { folders: ["lib"] },
  protocol: { folders: ["protocol", "lib"] },
  config: { folders: ["config", "protocol", "lib"] },
  storage: { folders: ["storage", "protocol", "lib"], packages: ["express"] },
  outbound: { folders: ["outbound", "protocol", "lib"], packages: ["express", "knex", "pg"] },
  services: { folders: ["services", "storage", "outbound", "protocol", "config", "lib"], packages: ["express", "knex", "pg"] },
  handlers: { folders: ["handlers", "services", "storage", "protocol", "config", "lib"], packages: ["knex", "pg"] },
  workers: { folders: ["workers", "services", "storage", "outbound", "protocol", "config", "lib"], packages: ["express", "knex", "pg"] },
  "migrate-from-synapse": {
    folders: ["migrate-from-synapse", "config", "protocol", "storage", "lib"],
    files: ["services/media/paths.ts", "services/modules/find-module.ts"],
    packages: ["express", "knex", "pg"],
  },
  bin: {
    folders: ["bin", "migrate-from-synapse", "handlers", "services", "storage", "outbound", "workers", "protocol", "config", "lib"],
    files: ["main.ts", "server.ts"],
  },
};
/** Modules of lib that do input or output, or tell the time: not for `protocol`, which is pure. */
const IMPURE = /^lib\/(?:clock|random|log|logging\/.*|metrics.*|request-context|embedded-postgres|processes|postgres-tls|command-line)\.ts$/;

const problems = [];
const report = (file, what) => problems.push(`${file.startsWith("migrate-from-synapse/") ? "" : "src/"}${file}: ${what}`);
const domainEdges = new Map();

for (const file of SOURCES.flatMap((folder) =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" }).map((each) => path.join(folder, each)),
)) {
  if (!file.endsWith(".ts")) continue;
  const name = nameOf(file.split(path.sep).join("/"));
  const text = readFileSync(path.join(root, file), "utf8");
  for (const entry of importsOf(text)) checkImport(name, entry);
  if (name.startsWith("protocol/") && !isTest(name)) checkPurity(name, text);
}
for (const cycle of cycles(domainEdges))
  problems.push(`src/services: the domains ${cycle.join(" -> ")} import each other in a circle (${domainEdges.get(cycle[0]).get(cycle[1])})`);

for (const problem of problems) console.log(problem);
console.log(problems.length === 0 ? "Imports are as they should be." : `${problems.length} imports are not allowed.`);
process.exitCode = problems.length === 0 ? 0 : 1;

/** A path from the root of the repository, as the rules name it. */
function nameOf(file) {
  return file.startsWith("src/") ? file.slice("src/".length) : file;
}

function isTest(name) {
  return name.endsWith(".test.ts") || name.startsWith("testing/") || /(?:^|\/)(?:testing|test-[\w-]+)\.ts$/.test(name);
}

/** Import and export-from statements, and import() of a fixed name; comments do not count. */
function importsOf(text) {
  const code = text.replace(/\/\*[^]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const found = [];
  for (const match of code.matchAll(/^\s*(?:import|export)\s+(type\s+)?((?:[\w*\s{},$]|\btype\b)*?\s*from\s*)?"([^"]+)"/gm)) {
    const names = /\{([^}]*)\}/.exec(match[2] ?? "")?.[1];
    const allTypes = names !== undefined && names.split(",").every((part) => part.trim() === "" || part.trim().startsWith("type "));
    found.push({ target: match[3], typeOnly: match[1] !== undefined || (allTypes && !/^\s*\w+\s*,/.test(match[2] ?? "")) });
  }
  for (const match of code.matchAll(/\bimport\(\s*"([^"]+)"\s*\)/g)) found.push({ target: match[1], typeOnly: false });
  return found;
}

function checkImport(from, { target, typeOnly }) {
  const folder = from.split("/")[0];
  if (!target.startsWith(".")) return checkPackage(from, folder, target);
  const folderOfFile = from.startsWith("migrate-from-synapse/") ? "" : "src";
  const toFile = path.posix.normalize(path.posix.join(folderOfFile, path.posix.dirname(from), target));
  if (!SOURCES.some((source) => toFile.startsWith(`${source}/`))) return; // schema, tests' data, package.json
  const to = nameOf(toFile);
  const toFolder = to.split("/")[0];
  if (toFolder === "testing" && !isTest(from)) report(from, `imports ${to}, which is for tests`);
  if (isTest(from)) return;
  const rule = RULES[folder];
  if (rule !== undefined && !rule.folders.includes(toFolder) && !(rule.files ?? []).includes(to))
    report(from, `imports ${to}: ${folder} may import ${rule.folders.join(", ")}`);
  if (folder === "protocol" && !typeOnly && IMPURE.test(to)) report(from, `imports ${to}, which is not pure`);
  if (folder === "services" && toFolder === "services" && !typeOnly) addDomainEdge(from, to);
}

function checkPackage(from, folder, target) {
  if (isTest(from)) return;
  const name = target.startsWith("@") ? target.split("/").slice(0, 2).join("/") : target.split("/")[0];
  const isNode = target.startsWith("node:") || builtinModules.includes(name);
  if (folder === "protocol" && isNode && target !== "node:crypto") report(from, `imports ${target}: of node's own modules protocol may use crypto alone`);
  if (RULES[folder]?.packages?.includes(name)) report(from, `imports ${name}, which ${folder} must not`);
  if (name === "express" && !from.startsWith("handlers/http/")) report(from, "imports express, which only handlers/http may");
}

function checkPurity(name, text) {
  const code = text.replace(/\/\*[^]*?\*\//g, "").replace(/\/\/.*$/gm, "");
  if (/\bDate\.now\b|\bMath\.random\b|\bnew Date\(\)/.test(code)) report(name, "reads the clock or makes random numbers; protocol is pure");
  if (/\basync\b\s*(?:function|\()|\bawait\s/.test(code)) report(name, "is asynchronous; protocol is not");
}

/** services/streams is imported by the others and imports none of them; the rest must have no circle. */
function addDomainEdge(from, to) {
  const [, fromDomain, fromRest] = from.split("/");
  const [, toDomain, toRest] = to.split("/");
  if (fromRest === undefined || toRest === undefined || fromDomain === toDomain) return;
  if (fromDomain === "streams") report(from, `imports ${to}: services/streams imports no other domain`);
  const edges = domainEdges.get(fromDomain) ?? new Map();
  if (!edges.has(toDomain)) edges.set(toDomain, `${from} -> ${to}`);
  domainEdges.set(fromDomain, edges);
}

function cycles(edges) {
  const found = [];
  const done = new Set();
  const visit = (domain, trail) => {
    const start = trail.indexOf(domain);
    if (start !== -1) return void found.push([...trail.slice(start), domain]);
    if (done.has(domain)) return;
    for (const next of edges.get(domain)?.keys() ?? []) visit(next, [...trail, domain]);
    done.add(domain);
  };
  for (const domain of edges.keys()) visit(domain, []);
  return found;
}
