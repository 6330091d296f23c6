import type { Target } from "../../../migrate-from-synapse/context.ts";
import { systemClock } from "../../lib/clock.ts";
import { UsageError } from "../../lib/command-line.ts";
import { systemRandom } from "../../lib/random.ts";
import { type Command, defineCommand } from "../command.ts";

const FLAGS = {
  configPath: { names: ["-c", "--config-path"], value: "CONFIG_FILE", many: true, required: true, help: "Configuration file, or a directory of *.yaml files." },
  keysDirectory: { names: ["--keys-directory"], value: "DIRECTORY", help: "Where the signing key lies." },
  workerConfig: { names: ["--worker-config"], value: "PATH", many: true, help: "A worker's configuration file, or a directory of them." },
  deep: { names: ["--deep"], help: "Verify samples: hashes, signatures, state, chains. Takes minutes on a large database." },
  configOnly: { names: ["--config-only"], help: "Do not look at the database." },
  json: { names: ["--json"], help: "Print one JSON object instead of text." },
  verbose: { names: ["-v", "--verbose"], help: "List what is in order, too." },
} as const;

function checkCommand(target: Target, name: string, summary: string): Command {
  return defineCommand(
    {
      name,
      summary: `${summary}\n\nReads the configuration and the database, in one read-only transaction, and changes nothing; safe beside a running server.\nExit status: 0 ready, 1 warnings, 2 blockers.`,
      flags: FLAGS,
      exclusive: [
        ["deep", "configOnly"],
        ["json", "verbose"],
      ],
    },
    async (args, terminal) => {
      if (args.positionals.length > 0) throw new UsageError(`unexpected argument ${args.positionals[0]}`);
      const [{ check }, { renderJson, renderText }] = await Promise.all([
        import("../../../migrate-from-synapse/check.ts"),
        import("../../../migrate-from-synapse/report.ts"),
      ]);
      const report = await check({
        target,
        configPaths: args.configPath,
        keysDirectory: args.keysDirectory,
        workerPaths: args.workerConfig,
        workingDirectory: terminal.workingDirectory,
        env: terminal.env,
        deep: args.deep,
        configOnly: args.configOnly,
        clock: systemClock,
        random: systemRandom,
        progress: (name, done, of) => terminal.status?.(`[${done + 1}/${of}] ${name}`),
      });
      terminal.status?.("");
      if (args.json) terminal.write(renderJson(report));
      else {
        const colours = terminal.columns !== undefined && !terminal.env["NO_COLOR"];
        terminal.write(renderText(report, { width: terminal.columns ?? 100, colours, verbose: args.verbose }));
      }
      return report.exitStatus;
    },
  );
}

/** What would happen if Myelin took Synapse's place. */
export const checkMigration = checkCommand("myelin", "check", "Says what would happen if Myelin took Synapse's place here.");

/** The same for the way back. */
export const checkRollback = checkCommand("synapse", "rollback-check", "Says whether Synapse can go on where Myelin stops.");
