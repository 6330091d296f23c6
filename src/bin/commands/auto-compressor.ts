import { readConfigFiles } from "../../config/load.ts";
import { UsageError } from "../../lib/command-line.ts";
import { silentLogger } from "../../lib/log.ts";
import { type ChunkReport, compressStateGroups, DEFAULT_LEVELS } from "../../services/state-compression/compress.ts";
import { hasStateGroups } from "../../storage/state/compression.ts";
import { CommandFailed, defineCommand } from "../command.ts";
import { databasePlace, withDatabase } from "../connect-database.ts";
import { progress } from "../progress.ts";
import type { Terminal } from "../terminal.ts";

export const autoCompressor = defineCommand(
  {
    name: "synapse_auto_compressor",
    summary: `Stores the states of rooms with fewer rows in state_groups_state.

What they say stays the same, and a server may run meanwhile. Each run goes on where the one before stopped, also where that was the program of this name by the Synapse developers. The space becomes
free for new rows; to give it back to the file system, run VACUUM FULL state_groups_state while no server runs.`,
    flags: {
      postgres: { names: ["-p", "--postgres-url"], value: "POSTGRES_LOCATION", help: "Connection URL, or pairs such as user=synapse host=/run/postgresql." },
      chunkSize: {
        names: ["-c", "--chunk-size"],
        value: "COUNT",
        required: true,
        help: "State groups that are worked on at once, in memory. A good size: 500",
      },
      chunks: { names: ["-n", "--chunks-to-compress"], value: "COUNT", required: true, help: "How many chunks to work on." },
      levels: {
        names: ["-l", "--levels"],
        value: "SIZES",
        help: "Sizes of the levels, the lowest first; their sum bounds the work to read a state. Default: 100,50,25",
      },
      configPath: { names: ["--config-path"], value: "CONFIG_FILE", many: true, help: "homeserver.yaml that says where the database is, instead of -p." },
      dryRun: { names: ["--dry-run"], help: "Say what could be saved, and change nothing." },
    },
    exclusive: [["postgres", "configPath"]],
  },
  async (args, terminal) => {
    if (args.postgres === undefined && args.configPath.length === 0) throw new UsageError("--postgres-url or --config-path is required");
    const [chunkSize, chunks] = [count(args.chunkSize!, "--chunk-size"), count(args.chunks!, "--chunks-to-compress")];
    const levels = args.levels === undefined ? DEFAULT_LEVELS : args.levels.split(",").map((size) => count(size.trim(), "--levels"));
    const values =
      args.postgres === undefined
        ? readConfigFiles(args.configPath, terminal.workingDirectory).values
        : { database: { name: "psycopg2", args: { dsn: args.postgres } } };
    return await withDatabase(databasePlace(values, terminal), silentLogger, async (db) => {
      if (!(await hasStateGroups(db.read))) throw new CommandFailed("This database has no state groups: it is not one of a homeserver");
      const total = new Totals(terminal, chunks);
      const stopping = new AbortController();
      const stop = (): void => stopping.abort();
      process.once("SIGINT", stop).once("SIGTERM", stop);
      try {
        const ctx = { read: db.read, transaction: db.transaction.bind(db) };
        const all = await compressStateGroups(ctx, { chunkSize, chunks, levels, dryRun: args.dryRun }, (report) => total.add(report), stopping.signal);
        total.print(all, args.dryRun);
      } finally {
        process.off("SIGINT", stop).off("SIGTERM", stop);
      }
      return 0;
    });
  },
);

function count(text: string, flag: string): number {
  const value = Number(text);
  if (!/^\d{1,9}$/.test(text) || value < 1) throw new UsageError(`${flag}: found ${text}, wanted a whole number from 1 on`);
  return value;
}

/** Adds up what the chunks came to, and shows it. */
class Totals {
  private done = 0;
  private before = 0;
  private after = 0;
  private changed = 0;
  private readonly rooms = new Set<string>();
  private readonly bar;

  constructor(
    private readonly terminal: Terminal,
    private readonly chunks: number,
  ) {
    this.bar = progress(terminal);
  }

  add({ roomId, rowsBefore, rowsAfter, changed, skipped }: ChunkReport): void {
    this.done++;
    this.before += rowsBefore;
    this.after += rowsAfter;
    this.changed += changed;
    this.rooms.add(roomId);
    if (skipped !== undefined && skipped !== "nothing to gain") {
      this.bar.end();
      this.terminal.warn(`${roomId}: left as it is, because ${skipped}`);
    }
    this.bar.show(this.done, this.chunks, `${this.saved()} rows saved, ${roomId}`);
  }

  print(all: boolean, dryRun: boolean): void {
    this.bar.end();
    const share = this.before === 0 ? 0 : Math.round((100 * this.saved()) / this.before);
    this.terminal.print(`Looked at ${this.done} chunks in ${this.rooms.size} rooms with ${this.before} rows.`);
    this.terminal.print(
      dryRun
        ? `About ${this.saved()} rows (${share} %) in ${this.changed} state groups could be saved. Nothing was changed.`
        : `Saved ${this.saved()} rows (${share} %) in ${this.changed} state groups.`,
    );
    this.terminal.print(all ? "Nothing is left to do." : "There is more to do: run the command again.");
  }

  private saved(): number {
    return this.before - this.after;
  }
}
