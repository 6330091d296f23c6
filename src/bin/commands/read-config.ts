import { loadConfig } from "../../config/load.ts";
import { CommandFailed, defineCommand } from "../command.ts";

/** As `python -m synapse.config`: checks a configuration, or prints one of its values. */
export const readConfig = defineCommand(
  {
    name: "config",
    summary: "Checks a configuration; `config read SECTION.KEY` prints a value.",
    flags: {
      configPath: {
        names: ["-c", "--config-path"],
        value: "CONFIG_FILE",
        many: true,
        required: true,
        help: "Configuration file, or a directory of *.yaml files.",
      },
      keysDirectory: { names: ["--keys-directory"], value: "DIRECTORY", help: "Where the signing key lies." },
      noSecretsInConfig: { names: ["--no-secrets-in-config"], help: "Refuse secrets that stand in the configuration itself." },
    },
    positionals: [
      { name: "read", count: "?", choices: ["read"], help: "Print a value." },
      { name: "SECTION.KEY", count: "?", help: "Which value, such as server.serverName or server.server_name." },
    ],
  },
  (args, terminal) => {
    const config = loadConfig(args.configPath, {
      dataDir: terminal.workingDirectory,
      env: terminal.env,
      allowSecretsInConfig: !args.noSecretsInConfig,
      keysDirectory: args.keysDirectory,
    });
    const [action, path] = args.positionals;
    if (action === undefined) {
      for (const notice of config.notices) terminal.print(`Note: ${notice}`);
      terminal.print("Config parses OK!");
      return 0;
    }
    if (path === undefined) throw new CommandFailed("config read: SECTION.KEY is missing");
    terminal.print(`${path}: ${format(lookUp(config, path))}`);
    return 0;
  },
);

function lookUp(config: object, path: string): unknown {
  let value: unknown = config;
  for (const part of path.split(".")) {
    const key = part.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    if (typeof value !== "object" || value === null || !(key in value)) throw new CommandFailed(`${path}: there is no ${part}`);
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

function format(value: unknown): string {
  return typeof value === "string" ? value : (JSON.stringify(value) ?? "None");
}
