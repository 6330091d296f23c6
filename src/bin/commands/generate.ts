import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { generateConfig, generateLogConfig, generateSigningKey } from "../../config/generate.ts";
import { parseSigningKeys } from "../../config/signing-key.ts";
import { systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { CommandFailed, defineCommand } from "../command.ts";
import type { Terminal } from "../terminal.ts";

const OUTPUT = { names: ["-o", "--output-file"], value: "FILE", help: "Where to write; by default to standard output." } as const;

export const generateConfigCommand = defineCommand(
  {
    name: "generate_config",
    summary: "Prints a new homeserver.yaml.",
    flags: {
      configDir: { names: ["--config-dir"], value: "DIRECTORY", help: "Where configuration files are kept. Default: CONFDIR" },
      dataDir: { names: ["--data-dir"], value: "DIRECTORY", help: "Where data is kept. Default: DATADIR" },
      serverName: { names: ["--server-name"], value: "NAME", help: "The server's name. Default: SERVERNAME" },
      reportStats: { names: ["--report-stats"], value: "ANSWER", choices: ["yes", "no"], help: "Whether usage statistics are reported." },
      generateSecrets: { names: ["--generate-secrets"], help: "Put new secrets into the configuration." },
      output: OUTPUT,
      headerFile: { names: ["--header-file"], value: "FILE", help: "A file whose text is put before the configuration." },
    },
  },
  (args, terminal) => {
    const text = generateConfig(
      {
        serverName: args.serverName ?? "SERVERNAME",
        configDir: args.configDir ?? "CONFDIR",
        dataDir: args.dataDir ?? "DATADIR",
        reportStats: args.reportStats === undefined ? undefined : args.reportStats === "yes",
        generateSecrets: args.generateSecrets,
        openPrivatePorts: false,
        enableMetrics: false,
        env: terminal.env,
      },
      systemRandom,
    );
    const header = args.headerFile === undefined ? "" : readFileSync(resolve(terminal.workingDirectory, args.headerFile), "utf8");
    output(terminal, args.output, header + text);
  },
);

export const generateLogConfigCommand = defineCommand(
  {
    name: "generate_log_config",
    summary: "Prints a new log configuration.",
    flags: {
      output: OUTPUT,
      logFile: { names: ["-f", "--log-file"], value: "FILE", help: "The file that is logged to. Default: /var/log/matrix-synapse/homeserver.log" },
    },
  },
  (args, terminal) => output(terminal, args.output, generateLogConfig(args.logFile ?? "/var/log/matrix-synapse/homeserver.log")),
);

export const generateSigningKeyCommand = defineCommand(
  {
    name: "generate_signing_key",
    summary: "Prints a new signing key.",
    flags: { output: { names: ["-o", "--output_file"], value: "FILE", help: "Where to write; by default to standard output." } },
  },
  (args, terminal) => output(terminal, args.output, generateSigningKey(systemRandom), 0o640),
);

const SIX_HOURS = 6 * 3_600_000;

export const exportSigningKeyCommand = defineCommand(
  {
    name: "export_signing_key",
    summary: "Prints the public keys of signing key files.",
    flags: {
      forConfig: { names: ["-x"], help: "In the form of old_signing_keys in homeserver.yaml." },
      expiryTs: { names: ["--expiry-ts"], value: "MILLISECONDS", help: "When the key expires, for -x. Default: in six hours" },
    },
    positionals: [{ name: "key_file", count: "+", help: "Signing key files." }],
  },
  (args, terminal) => {
    const expiry = args.expiryTs === undefined ? systemClock.now() + SIX_HOURS : Number(args.expiryTs);
    if (!Number.isInteger(expiry)) throw new CommandFailed("export_signing_key: --expiry-ts wants a number of milliseconds");
    for (const file of args.positionals) {
      for (const key of parseSigningKeys(readFileSync(resolve(terminal.workingDirectory, file), "utf8"), file)) {
        terminal.print(args.forConfig ? `  "${key.keyId}": { key: "${key.publicKey}", expired_ts: ${expiry} }` : `${key.keyId} ${key.publicKey}`);
      }
    }
  },
);

function output(terminal: Terminal, file: string | undefined, text: string, mode?: number): void {
  if (file === undefined || file === "-") return terminal.write(text);
  const path = resolve(terminal.workingDirectory, file);
  writeFileSync(path, text, { mode: mode ?? 0o644 });
  if (mode !== undefined) chmodSync(path, mode);
}
