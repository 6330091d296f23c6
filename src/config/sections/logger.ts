import type { ConfigReader, ParseContext } from "../reader.ts";

/** Where the log configuration lies (`logging`). */
export type LoggingConfig = ReturnType<typeof parseLogging>;

export function parseLogging(raw: ConfigReader, ctx: ParseContext) {
  const main = raw.filePath("log_config", ctx);
  const worker = raw.filePath("worker_log_config", ctx);
  const removed = raw.raw("log_file");
  if (removed !== undefined) throw raw.error("log_file", "no longer exists; write a log configuration and name it in log_config");
  return {
    /** Python `logging.config` file in YAML; undefined: INFO to stderr. */
    configPath: worker ?? main,
  };
}
