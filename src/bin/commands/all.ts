import { type Command, defineCommand, runCommand } from "../command.ts";
import type { Terminal } from "../terminal.ts";
import { autoCompressor } from "./auto-compressor.ts";
import { checkMigration, checkRollback } from "./check.ts";
import { exportSigningKeyCommand, generateConfigCommand, generateLogConfigCommand, generateSigningKeyCommand } from "./generate.ts";
import { hashPassword } from "./hash-password.ts";
import { readConfig } from "./read-config.ts";
import { registerNewMatrixUser } from "./register-new-matrix-user.ts";
import { reviewRecentSignups } from "./review-recent-signups.ts";
import { synctl } from "./synctl.ts";
import { updateDatabase } from "./update-database.ts";

/** All commands, by what they are about. */
const GROUPS: readonly (readonly [title: string, commands: readonly Command[]])[] = [
  ["Swapping", [checkMigration, checkRollback]],
  ["Accounts", [registerNewMatrixUser, hashPassword, reviewRecentSignups]],
  ["Configuration and keys", [readConfig, generateConfigCommand, generateLogConfigCommand, generateSigningKeyCommand, exportSigningKeyCommand]],
  ["Database", [updateDatabase, autoCompressor]],
  ["Processes", [synctl]],
];

export const commands: readonly Command[] = GROUPS.flatMap(([, group]) => group);

/** The command of that name; dashes do for underscores, and the `synapse_` of some names may be left out. */
export function findCommand(name: string): Command | undefined {
  const wanted = name.replaceAll("-", "_");
  return commands.find(({ spec }) => [wanted, `synapse_${wanted}`].includes(spec.name.replaceAll("-", "_")));
}

export const help = defineCommand(
  {
    name: "myelin help",
    summary: "Lists the commands, or describes one.",
    flags: {},
    positionals: [{ name: "command", count: "?", help: "The command to describe." }],
  },
  (args, terminal) => {
    const [name] = args.positionals;
    const named = name === undefined ? undefined : findCommand(name);
    if (named !== undefined) return runCommand(named, { ...terminal, argv: ["--help"] });
    if (name !== undefined && name !== "start") return unknownCommand(name, terminal);
    terminal.print("Myelin, a Matrix homeserver on Synapse's database and configuration.\n");
    terminal.print("Usage: myelin [start] [options]      run the server (see myelin start --help)");
    terminal.print("       myelin <command> [options]    run a command (see myelin help <command>)");
    for (const [title, group] of GROUPS) {
      terminal.print(`\n${title}:`);
      for (const { spec } of group) terminal.print(`  ${spec.name.padEnd(30)} ${spec.summary.split("\n")[0]}`);
    }
    return 0;
  },
);

/** @returns the exit status */
export function unknownCommand(name: string, terminal: Terminal): number {
  terminal.warn(`myelin: there is no command ${name}\nSee myelin help`);
  return 2;
}
