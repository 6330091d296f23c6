#!/usr/bin/env node
import { runCommand } from "./command.ts";
import { findCommand, help, unknownCommand } from "./commands/all.ts";
import { processTerminal } from "./terminal.ts";

/** All commands under one roof: `myelin register_new_matrix_user ...`; without a command, the server itself. */
const [name = "start", ...rest] = process.argv.slice(2);
const command = ["help", "--help", "-h"].includes(name) ? help : findCommand(name);
if (command !== undefined) {
  process.exitCode = await runCommand(command, processTerminal(rest));
} else if (name === "start" || name.startsWith("-")) {
  if (process.argv[2] === "start") process.argv.splice(2, 1);
  await import("../main.ts");
} else {
  process.exitCode = unknownCommand(name, processTerminal(rest));
}
