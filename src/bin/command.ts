import { ConfigError } from "../config/errors.ts";
import {
  type CommandSpec,
  type Flag,
  helpText,
  HelpRequested,
  type ParsedCommand,
  parseCommandLine,
  type Positional,
  UsageError,
} from "../lib/command-line.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

/** A command by Synapse's name: its flags, and what it does. */
export interface Command {
  readonly spec: CommandSpec<Readonly<Record<string, Flag>>, readonly Positional[]>;
  /** @returns the exit status; undefined: 0 */
  run(terminal: Terminal): Promise<number | undefined>;
}

/** Why a command gives up, in one line for the user. */
export class CommandFailed extends Error {}

export function defineCommand<const F extends Readonly<Record<string, Flag>>>(
  spec: CommandSpec<F, readonly Positional[]>,
  run: (args: ParsedCommand<F>, terminal: Terminal) => Promise<number | undefined | void> | number | undefined | void,
): Command {
  return { spec, run: async (terminal) => (await run(parseCommandLine(spec, terminal.argv), terminal)) ?? undefined };
}

/** Runs a command, printing what went wrong. @returns the exit status: 2 for a bad command line, 1 for a failure */
export async function runCommand(command: Command, terminal: Terminal): Promise<number> {
  try {
    return (await command.run(terminal)) ?? 0;
  } catch (error) {
    if (error instanceof HelpRequested) {
      terminal.write(helpText(command.spec));
      return 0;
    }
    if (error instanceof UsageError) {
      terminal.warn(`${command.spec.name}: ${error.message}\nSee ${command.spec.name} --help`);
      return 2;
    }
    if (error instanceof ConfigError) {
      terminal.warn(`Error in configuration: ${error.message}`);
      return 1;
    }
    if (error instanceof CommandFailed) {
      terminal.warn(error.message);
      return 1;
    }
    throw error;
  }
}

/** Runs a command as the process. */
export async function main(command: Command): Promise<void> {
  process.exitCode = await runCommand(command, processTerminal(process.argv.slice(2)));
}
