import { readdirSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseConfig, type Config, type ParseOptions } from "../src/config/config.ts";
import { ConfigError } from "../src/config/errors.ts";
import { readConfigFiles, type RawConfig } from "../src/config/load.ts";

/** A worker's configuration file, read together with the shared ones as the worker reads it. */
export interface WorkerFile {
  readonly file: string;
  /** Undefined when it cannot be read; `problem` says why. */
  readonly config: Config | undefined;
  readonly problem: string | undefined;
}

/** @throws ConfigError for a path that does not exist */
export function readWorkerFiles(paths: readonly string[], shared: RawConfig, options: ParseOptions): WorkerFile[] {
  return paths
    .flatMap((path) => expand(resolve(options.dataDir, path)))
    .map((file) => {
      try {
        const { values } = readConfigFiles([file], options.dataDir);
        return { file, config: parseConfig({ ...shared, ...values }, options), problem: undefined };
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error;
        return { file, config: undefined, problem: error.message };
      }
    });
}

function expand(path: string): string[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ConfigError(`${path} does not exist`, "--worker-config");
  if (!stat.isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => /\.ya?ml$/.test(name));
  if (names.length === 0) throw new ConfigError(`the directory ${path} holds no *.yaml files`, "--worker-config");
  return names.sort().map((name) => join(path, name));
}
