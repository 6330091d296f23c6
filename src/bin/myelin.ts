#!/usr/bin/env node
import { type Command, defineCommand, runCommand } from "./command.ts";
import { exportSigningKeyCommand, generateConfigCommand, generateLogConfigCommand, generateSigningKeyCommand } from "./commands/generate.ts";
import { hashPassword } from "./commands/hash-password.ts";
import { readConfig } from "./commands/read-config.ts";
import { registerNewMatrixUser } from "./commands/register-new-matrix-user.ts";
import { synctl } from "./commands/synctl.ts";
import { processTerminal } from "./terminal.ts";

/** All commands under one roof: `myelin register_new_matrix_user ...`; without a command, the server itself. */
const commands: readonly Command[] = [
  registerNewMatrixUser,
  hashPassword,
  generateConfigCommand,
  generateLogConfigCommand,
  generateSigningKeyCommand,
  exportSigningKeyCommand,
  readConfig,
  synctl,
];

const help = defineCommand(
  { name: "myelin help", summary: "Lists the commands.", flags: {}, positionals: [{ name: "command", count: "?", help: "" }] },
  (args, terminal) => {
    const named = commands.find((command) => command.spec.name === args.positionals[0]);
    if (named !== undefined) return runCommand(named, { ...terminal, argv: ["--help"] });
    terminal.print("Myelin, a Matrix homeserver on Synapse's database and configuration.\n");
    terminal.print("Usage: myelin [start] [options]      run the server (myelin start --help)");
    terminal.print("       myelin <command> [options]    run a command (myelin <command> --help)\n\nCommands:");
    for (const { spec } of commands) terminal.print(`  ${spec.name.padEnd(28)}${spec.summary.split("\n")[0]}`);
    return 0;
  },
);

const [name = "start", ...rest] = process.argv.slice(2);
const command =
  name === "help" || name === "--help" || name === "-h" ? help : commands.find(({ spec }) => [spec.name, spec.name.replaceAll("_", "-")].includes(name));
if (command !== undefined) {
  process.exitCode = await runCommand(command, processTerminal(rest));
} else if (name === "start" || name.startsWith("-")) {
  if (process.argv[2] === "start") process.argv.splice(2, 1);
  await import("../main.ts");
} else {
  process.stderr.write(`myelin: there is no command ${name}\nSee myelin help\n`);
  process.exitCode = 2;
}
