import { readdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { parseConfig, type Config, type ParseOptions } from "./config.ts";
import { isMapping, readConfigFile } from "./reader.ts";
import { parseYaml } from "./yaml.ts";

/** Top-level options of all configuration files, later files replacing those of earlier ones. */
export type RawConfig = Readonly<Record<string, unknown>>;

export interface RawConfigFiles {
  readonly values: RawConfig;
  /** Absolute paths in the order in which they were read. */
  readonly files: readonly string[];
  /** Files that were passed over, one line each. */
  readonly notices: readonly string[];
}

/**
 * Reads what `--config-path` names: files, and directories of which all `*.yaml` are read in sorted order.
 * @throws ConfigError for a file that cannot be read or is no YAML
 */
export function readConfigFiles(paths: readonly string[], workingDirectory: string): RawConfigFiles {
  const notices: string[] = [];
  const files = paths.flatMap((path) => expand(resolve(workingDirectory, path), notices));
  let values: RawConfig = {};
  for (const file of files) {
    const content = parseYaml(readConfigFile(file, "--config-path"), file);
    if (isMapping(content)) values = { ...values, ...content };
    else notices.push(`${file} is empty or holds no mapping of options; it is passed over`);
  }
  return { values, files, notices };
}

function expand(path: string, notices: string[]): string[] {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) return [path];
  const files: string[] = [];
  for (const name of readdirSync(path).sort()) {
    const file = join(path, name);
    if (!statSync(file, { throwIfNoEntry: false })?.isFile()) notices.push(`${file} is no file; it is passed over`);
    else if (!name.endsWith(".yaml")) notices.push(`${file} does not end in .yaml; it is passed over`);
    else files.push(file);
  }
  return files;
}

/** Where keys lie: `--keys-directory`, else beside the last configuration file. */
export function configDirectory(files: readonly string[], keysDirectory: string | undefined, workingDirectory: string): string {
  if (keysDirectory !== undefined) return resolve(workingDirectory, keysDirectory);
  const last = files.at(-1);
  return last === undefined ? workingDirectory : dirname(last);
}

/** Reads and checks the configuration files. @throws ConfigError */
export function loadConfig(paths: readonly string[], options: Omit<ParseOptions, "configDir"> & { readonly keysDirectory?: string | undefined }): Config {
  const { values, files } = readConfigFiles(paths, options.dataDir);
  return parseConfig(values, { ...options, configDir: configDirectory(files, options.keysDirectory, options.dataDir) });
}
