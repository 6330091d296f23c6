import { spawn, type ChildProcess } from "node:child_process";
import { appendFileSync, closeSync, existsSync, openSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { request } from "undici";
import { MatrixClient } from "./client.ts";
import type { Home } from "./home.ts";
import { treeCpuSeconds, treeRssBytes } from "./processes.ts";
import { sleep } from "./scratch.ts";
import { installSynapse } from "./synapse.ts";

export type ServerKind = "synapse" | "myelin";

const repository = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** A homeserver process on a home. */
export interface RunningServer {
  readonly kind: ServerKind;
  readonly home: Home;
  readonly baseUrl: string;
  readonly pid: number;
  /** Milliseconds from the start of the process until it answered. */
  readonly startupMs: number;
  client(accessToken?: string): MatrixClient;
  /** WARNING and ERROR lines since this process started, without their times and numbers that change. */
  warnings(): string[];
  /** The last lines of what it logged, for messages of failed tests. */
  tail(lines?: number): string;
  /** SIGTERM, then waits for the end. @throws when it does not end in time, or not with 0 */
  stop(): Promise<void>;
  /** kill -9. */
  kill(): Promise<void>;
  exited(): boolean;
  cpuSeconds(): number;
  rssBytes(): number;
}

export interface StartOptions {
  /** Another Synapse than the one that Myelin replaces. */
  synapseVersion?: string;
  /** Start Myelin's compiled form (`npm run build` first). Default: the source, by tsx. */
  compiled?: boolean;
  /** More environment variables. */
  environment?: Readonly<Record<string, string>>;
  readyMs?: number;
}

/** Starts a server on the home and waits until it answers. @throws with the end of its log when it does not */
export async function startServer(kind: ServerKind, home: Home, options: StartOptions = {}): Promise<RunningServer> {
  if (await answers(home.baseUrl)) throw new Error(`Something answers at ${home.baseUrl} already: the server before was not stopped`);
  const [command, args] = commandLine(kind, home, options);
  const output = join(home.folder, `${kind}.out`);
  appendFileSync(output, `--- start ${kind}\n`);
  const offsets = { log: size(home.log), output: size(output) };
  const fd = openSync(output, "a");
  const begun = performance.now();
  const child = spawn(command, args, {
    cwd: kind === "myelin" ? repository : home.folder,
    stdio: ["ignore", fd, fd],
    env: { ...cleanEnvironment(), ...options.environment },
  });
  closeSync(fd);
  const server = new ServerProcess(kind, home, child, output, offsets);
  const end = begun + (options.readyMs ?? 180_000);
  for (;;) {
    if (server.exited()) throw new Error(`${kind} ended while starting (${child.exitCode ?? child.signalCode}):\n${server.tail()}`);
    if (await answers(home.baseUrl)) break;
    if (performance.now() > end) {
      await server.kill();
      throw new Error(`${kind} did not answer in time:\n${server.tail()}`);
    }
    await sleep(40);
  }
  server.startupMs = performance.now() - begun;
  return server;
}

export function startSynapse(home: Home, options?: StartOptions): Promise<RunningServer> {
  return startServer("synapse", home, options);
}

export function startMyelin(home: Home, options?: StartOptions): Promise<RunningServer> {
  return startServer("myelin", home, options);
}

function commandLine(kind: ServerKind, home: Home, options: StartOptions): [string, string[]] {
  if (kind === "synapse") return [installSynapse(options.synapseVersion), ["-m", "synapse.app.homeserver", "--config-path", home.config]];
  // COMPAT_MYELIN_MAIN names the main file of another build.
  const main = process.env["COMPAT_MYELIN_MAIN"] ?? join(repository, ...(options.compiled ? ["dist", "src", "main.js"] : ["src", "main.ts"]));
  const program = main.endsWith(".ts") ? ["--import", "tsx", main] : [main];
  return [process.execPath, ["--enable-source-maps", ...program, "--config-path", home.config]];
}

/** Our environment without what would make a server behave differently under test. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const environment = { ...process.env };
  for (const name of Object.keys(environment)) if (/^(MYELIN_|SYNAPSE_|NODE_OPTIONS$|TSX_|npm_|PG)/.test(name)) delete environment[name];
  return environment;
}

async function answers(baseUrl: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${baseUrl}/health`, { headersTimeout: 2000, reset: true });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}

class ServerProcess implements RunningServer {
  startupMs = 0;
  readonly pid: number;
  constructor(
    readonly kind: ServerKind,
    readonly home: Home,
    private readonly child: ChildProcess,
    private readonly output: string,
    private readonly offsets: { log: number; output: number },
  ) {
    this.pid = child.pid!;
    running.add(this);
    child.once("exit", () => running.delete(this));
  }

  get baseUrl(): string {
    return this.home.baseUrl;
  }

  client(accessToken?: string): MatrixClient {
    return new MatrixClient(this.baseUrl, accessToken);
  }

  exited(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  warnings(): string[] {
    return warningLines(this.text());
  }

  tail(lines = 40): string {
    return this.text().trimEnd().split("\n").slice(-lines).join("\n");
  }

  private text(): string {
    return readFrom(this.home.log, this.offsets.log) + readFrom(this.output, this.offsets.output);
  }

  async stop(): Promise<void> {
    if (this.exited()) throw new Error(`${this.kind} had already ended (${this.child.exitCode ?? this.child.signalCode}):\n${this.tail()}`);
    const gone = this.gone();
    this.child.kill("SIGTERM");
    if (!(await Promise.race([gone.then(() => true), sleep(60_000)]))) {
      await this.kill();
      throw new Error(`${this.kind} did not stop within 60 s:\n${this.tail()}`);
    }
    // Synapse leaves SIGTERM to Twisted, which ends with 0 or by the signal itself.
    if (this.child.exitCode !== 0 && this.child.signalCode !== "SIGTERM") throw new Error(`${this.kind} stopped with ${this.child.exitCode}:\n${this.tail()}`);
  }

  async kill(): Promise<void> {
    if (this.exited()) return;
    const gone = this.gone();
    this.child.kill("SIGKILL");
    await gone;
  }

  private gone(): Promise<unknown> {
    return new Promise((resolve) => this.child.once("exit", resolve));
  }

  cpuSeconds(): number {
    return treeCpuSeconds(this.pid);
  }

  rssBytes(): number {
    return treeRssBytes(this.pid);
  }
}

const running = new Set<ServerProcess>();
// A test run that dies must not leave servers behind.
process.on("exit", () => {
  for (const server of running) server.kill().catch(() => {});
});

function size(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

function readFrom(path: string, offset: number): string {
  return existsSync(path) ? readFileSync(path).subarray(offset).toString("utf8") : "";
}

/** WARNING and worse of a log, each reduced to its text: no time, no request name, no ids or numbers. */
export function warningLines(text: string): string[] {
  const lines: string[] = [];
  for (const line of text.split("\n")) {
    const synapse = /^\d{4}-\d\d-\d\d \S+ - (\S+) - \d+ - (WARNING|ERROR|CRITICAL) - \S* ?- (.*)$/.exec(line);
    const other = /\b(WARN|WARNING|ERROR|CRITICAL|warn|error)\b/.exec(line);
    if (synapse) lines.push(`${synapse[2]} ${synapse[1]} ${synapse[3]}`.replaceAll(/[$!@#][\w\-=./+]+(:[\w.]+)?|0x[0-9a-f]+|\d+(\.\d+)?/g, "#"));
    else if (other && /^(\{|\d{4}-|\S+ (warn|error))/.test(line))
      lines.push(line.replaceAll(/\d{4}-\d\d-\d\d[T ]\S+|[$!@#][\w\-=./+]+(:[\w.]+)?|\d+(\.\d+)?/g, "#"));
  }
  return lines;
}
