/**
 * The logger that the code sees. Names are dotted as Synapse's ("synapse.handlers.sync"), so that an admin's log config
 * with levels by logger name goes on working. The winston back end is in `lib/logging/`.
 */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The logger of that dotted name. */
  named(name: string): Logger;
  /** True when a message of this level would be written: ask before building an expensive one. */
  enabled(level: LogLevel): boolean;
}

export type LogLevel = "debug" | "info" | "warn" | "error";

/** `error` is an exception to print with its stack; `request` the request id; others are JSON fields. Never a secret, token or message body. */
export interface LogFields {
  error?: unknown;
  request?: string;
  [key: string]: unknown;
}

/** Writes nothing. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  named: () => silentLogger,
  enabled: () => false,
};
