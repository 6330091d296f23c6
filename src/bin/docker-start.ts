#!/usr/bin/env node
import { ConfigError } from "../config/errors.ts";
import { CommandFailed } from "./command.ts";
import { giveTo, planDockerStart } from "./commands/docker-start.ts";
import { processTerminal } from "./terminal.ts";

/** The entry point of the container: the modes, variables and accounts of Synapse's image. */
try {
  const terminal = processTerminal(process.argv.slice(2));
  const { argv, owner } = planDockerStart(terminal, process.getuid?.() === 0);
  if (owner !== undefined && process.getuid?.() === 0) {
    giveTo(terminal.env["SYNAPSE_DATA_DIR"] ?? "/data", owner);
    if (terminal.env["SYNAPSE_CONFIG_DIR"] !== undefined) giveTo(terminal.env["SYNAPSE_CONFIG_DIR"], owner);
    process.setgroups?.([owner.gid]);
    process.setgid?.(owner.gid);
    process.setuid?.(owner.uid);
  }
  if (argv !== undefined) {
    process.argv = [process.argv[0]!, process.argv[1]!, ...argv];
    await import("../main.ts");
  }
} catch (error) {
  if (!(error instanceof CommandFailed || error instanceof ConfigError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
