import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** What a Dockerfile makes, as a folder. */
export interface ImageTree {
  /** Stands for `/` of the image. */
  readonly root: string;
  readonly workdir: string;
  readonly env: Readonly<Record<string, string>>;
  readonly entrypoint: readonly string[];
  readonly healthcheck: readonly string[];
  readonly ports: readonly string[];
  /** Steps that only make sense in a container: accounts and owners. */
  readonly left: readonly string[];
  /** A path of the image, where it lies in the tree. */
  inside(file: string): string;
  remove(): void;
}

interface Step {
  readonly keyword: string;
  readonly text: string;
}

/** The steps of a Dockerfile: one a line, continued lines joined. @throws Error for a line that is no step */
export function readDockerfile(file: string): Step[] {
  const lines = readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => !/^\s*(#|$)/.test(line));
  return lines
    .join("\n")
    .replace(/\\\n\s*/g, " ")
    .split("\n")
    .map((line) => {
      const match = /^([A-Z]+)\s+(.+)$/.exec(line);
      if (match === null) throw new Error(`${file}: no step of a Dockerfile: ${line}`);
      return { keyword: match[1]!, text: match[2]! };
    });
}

/** Accounts, owners, and packages of the distribution. */
const ONLY_IN_CONTAINER = /^(groupadd|useradd|chown|apt-get)\b/;

/**
 * Follows a Dockerfile's steps without a container engine: each stage is a folder, COPY copies, RUN runs with the image's absolute paths
 * pointing into it. `npm ci` takes the packages that are installed beside the sources.
 */
export function buildImageTree(context: string, dockerfile: string): ImageTree {
  const base = mkdtempSync(path.join(tmpdir(), "myelin-image-"));
  const stages = new Map<string, string>();
  const left: string[] = [];
  let state = { root: base, workdir: "/", env: {} as Record<string, string>, entrypoint: [] as string[], healthcheck: [] as string[], ports: [] as string[] };
  const inside = (file: string): string => path.join(state.root, path.posix.resolve(state.workdir, file));
  for (const { keyword, text } of readDockerfile(dockerfile)) {
    switch (keyword) {
      case "FROM": {
        const name = / AS (\S+)$/.exec(text)?.[1] ?? "final";
        state = { root: path.join(base, name), workdir: "/", env: {}, entrypoint: [], healthcheck: [], ports: [] };
        stages.set(name, state.root);
        mkdirSync(state.root, { recursive: true });
        break;
      }
      case "WORKDIR":
        state.workdir = path.posix.resolve(state.workdir, text);
        mkdirSync(inside("."), { recursive: true });
        break;
      case "COPY":
        copy(text, context, stages, inside);
        break;
      case "RUN":
        for (const command of text.split("&&").map((part) => part.trim())) {
          if (ONLY_IN_CONTAINER.test(command)) left.push(command);
          else if (command.startsWith("npm ci")) linkPackages(context, inside("."));
          else run(command, state.root, inside("."));
        }
        break;
      case "ENV":
        for (const [, name, value] of text.matchAll(/(\w+)=(\S+)/g)) state.env[name!] = value!;
        break;
      case "ENTRYPOINT":
        state.entrypoint = JSON.parse(text) as string[];
        break;
      case "HEALTHCHECK":
        state.healthcheck = JSON.parse(text.slice(text.indexOf("["))) as string[];
        break;
      case "EXPOSE":
        state.ports.push(...text.split(" "));
        break;
      case "ARG":
      case "LABEL":
        break;
      default:
        throw new Error(`${dockerfile}: ${keyword} is not followed here`);
    }
  }
  return { ...state, left, inside, remove: () => rmSync(base, { recursive: true, force: true }) };
}

function copy(text: string, context: string, stages: ReadonlyMap<string, string>, inside: (file: string) => string): void {
  const words = text.split(/\s+/);
  const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
  const files = words.filter((word) => !word.startsWith("--"));
  const target = files.pop()!;
  const source = from === undefined ? context : stages.get(from);
  if (source === undefined) throw new Error(`COPY: there is no stage ${from}`);
  for (const file of files) {
    const origin = path.join(source, file);
    const into = target.endsWith("/") && !statSync(origin).isDirectory() ? path.join(inside(target), path.basename(file)) : inside(target);
    if (from !== undefined) linkTree(origin, into);
    else cpSync(origin, into, { recursive: true, filter: (name) => !name.endsWith(".test.ts") });
  }
}

/** Hard links where that is possible: packages are many files, of which some are taken away and none is changed. */
export function linkTree(from: string, to: string): void {
  mkdirSync(path.dirname(to), { recursive: true });
  for (const how of ["-al", "-a"]) if (spawnSync("cp", [how, from, to], { stdio: "ignore" }).status === 0) return;
  throw new Error(`${from} cannot be copied`);
}

/** The installed packages; npm writes its list of them in place, so that one is a copy. */
function linkPackages(from: string, to: string): void {
  linkTree(path.join(from, "node_modules"), path.join(to, "node_modules"));
  const list = path.join(to, "node_modules/.package-lock.json");
  rmSync(list, { force: true });
  cpSync(path.join(from, "node_modules/.package-lock.json"), list);
}

function run(command: string, root: string, cwd: string): void {
  const here = command.replace(/(?<=\s)\/(app|build|data|usr\/local\/bin)\b/g, `${root}/$1`).replace("npm prune", "npm prune --offline");
  const result = spawnSync("sh", ["-c", here], { cwd, encoding: "utf8" });
  if (result.status !== 0) throw new Error(`RUN ${command}\n${result.stdout}${result.stderr}`);
}
