import { configDirectory, readConfigFiles } from "../../config/load.ts";
import { type Config, parseConfig } from "../../config/config.ts";
import { systemClock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { startLogging } from "../../lib/logging/logging.ts";
import { pendingUpdates } from "../../storage/jobs/background-updates.ts";
import { StartupRefusal } from "../../storage/schema/refusal.ts";
import { APPLICATION_NAME, ServerLock } from "../../storage/schema/server-lock.ts";
import { Database } from "../../storage/database.ts";
import type { Server } from "../../server.ts";
import { CommandFailed, defineCommand } from "../command.ts";
import { connectDatabase, type Undo } from "../connect-database.ts";
import { progress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";

export const updateDatabase = defineCommand(
  {
    name: "update_synapse_database",
    summary: `Brings a database to the current schema, and on wish runs the background updates that wait.

No server may run on the database meanwhile: a running Myelin does both by itself.`,
    flags: {
      verbose: { names: ["-v"], help: "Print everything that is done." },
      databaseConfig: { names: ["--database-config"], value: "CONFIG_FILE", required: true, help: "homeserver.yaml, which says where the database is." },
      runBackgroundUpdates: { names: ["--run-background-updates"], help: "Run the background updates afterwards, to the last one." },
    },
  },
  async (args, terminal) => {
    const raw = readConfigFiles([args.databaseConfig!], terminal.workingDirectory);
    const configDir = configDirectory(raw.files, undefined, terminal.workingDirectory);
    const parsed = parseConfig(raw.values, { configDir, dataDir: terminal.workingDirectory, env: terminal.env });
    const log = logger(parsed, terminal, args.verbose);
    const undo: Undo[] = [];
    try {
      const config = await connectDatabase(parsed, log, undo);
      await refuseBesideServer(config, log);
      const { backgroundUpdates } = config;
      const { createServer } = await import("../../server.ts"); // other commands do without all of it
      const server = await createServer({ ...config, backgroundUpdates: { ...backgroundUpdates, sleepEnabled: false, sleepDurationMs: 0 } }, log);
      undo.push(() => server.close());
      terminal.print("The database has the current schema.");
      return await (args.runBackgroundUpdates ? runUpdates(server, terminal) : countUpdates(server, terminal));
    } catch (error) {
      if (error instanceof StartupRefusal) throw new CommandFailed(error.message);
      throw error;
    } finally {
      for (const step of undo.reverse()) await step();
    }
  },
);

/** With -v everything; else what goes wrong, and the progress stands on the terminal or is printed. */
function logger({ server }: Config, terminal: Terminal, verbose: boolean): Logger {
  const stderr = { write: (text: string) => terminal.warn(text.replace(/\n$/, "")) };
  const { workingDirectory } = terminal;
  const { log } = startLogging(undefined, server.serverName, { stdout: stderr, stderr, workingDirectory, processId: process.pid, clock: systemClock });
  const quiet = (inner: Logger): Logger => ({ ...inner, debug: () => {}, info: () => {}, named: (name) => quiet(inner.named(name)) });
  return verbose ? log : quiet(log);
}

/** Does not wait for a server to go, as one that starts does. @throws StartupRefusal */
async function refuseBesideServer({ database, workers, myelin }: Config, log: Logger): Promise<void> {
  const db = new Database({ ...database.connection, applicationName: `${APPLICATION_NAME} command` }, systemClock, log);
  try {
    const { instanceName } = workers;
    const options = { instanceName, clock: systemClock, log, waitMs: 0, allowOtherClients: myelin.allowOtherClients, onTaken: () => {} };
    await (await ServerLock.acquire(db, options)).release();
  } finally {
    await db.close();
  }
}

async function countUpdates({ ctx }: Server, terminal: Terminal): Promise<number> {
  const { length } = await pendingUpdates(ctx.read);
  if (length > 0) terminal.print(`${length} background updates wait: the server runs them when it is started, or this command with --run-background-updates.`);
  return 0;
}

async function runUpdates({ ctx }: Server, terminal: Terminal): Promise<number> {
  const total = (await pendingUpdates(ctx.read)).length;
  const bar = progress(terminal);
  const { backgroundUpdates } = ctx;
  let shown: string | undefined;
  const show = async (): Promise<void> => {
    const left = (await pendingUpdates(ctx.read)).length;
    const update = backgroundUpdates.currentUpdate();
    if (update === undefined) return;
    if (terminal.status === undefined && update.name !== shown) terminal.print(`Running ${update.name} (${left} left)`);
    shown = update.name;
    bar.show(total - left, total, `${left} left, ${update.name}: ${update.totalItemCount} items`);
  };
  let showing = Promise.resolve();
  const timer = systemClock.every(250, () => void (showing = showing.then(show).catch(() => {})));
  const stop = (): void => backgroundUpdates.setEnabled(false);
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    backgroundUpdates.setEnabled(true);
    await backgroundUpdates.whenIdle();
  } finally {
    timer.cancel();
    await showing;
    bar.end();
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
  const left = await pendingUpdates(ctx.read);
  terminal.print(left.length === 0 ? `All background updates are done (${total}).` : `Left in the queue: ${left.map(({ name }) => name).join(", ")}`);
  return left.length === 0 ? 0 : 1;
}
