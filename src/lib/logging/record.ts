import type { LogLevel } from "../log.ts";

/** Levels by Python's numbers, which log configurations use. */
export const LEVELS = { DEBUG: 10, INFO: 20, WARNING: 30, ERROR: 40, CRITICAL: 50 } as const;
export type LevelName = keyof typeof LEVELS;

export const LEVEL_OF: Readonly<Record<LogLevel, LevelName>> = { debug: "DEBUG", info: "INFO", warn: "WARNING", error: "ERROR" };

/** One message on its way to the handlers. */
export interface LogRecord {
  /** Dotted name of the logger. */
  readonly name: string;
  readonly level: LevelName;
  readonly message: string;
  /** Milliseconds since the Unix epoch. */
  readonly created: number;
  readonly error: unknown;
  /** The request id, the name of a background process, or "sentinel". */
  readonly request: string;
  readonly serverName: string;
  /** Fields of the request (ip_address, method, ...), by Synapse's names. */
  readonly context: Readonly<Record<string, unknown>>;
  /** Fields that the caller added. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A level by number or name; undefined for what is neither. Python also knows WARN, FATAL and NOTSET. */
export function parseLevel(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  const aliases: Readonly<Record<string, number>> = { ...LEVELS, WARN: 30, FATAL: 50, NOTSET: 0 };
  return typeof value === "string" ? aliases[value.toUpperCase()] : undefined;
}

/** An exception as text: its stack, and what caused it. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return typeof error === "string" ? error : (JSON.stringify(error) ?? String(error));
  const own = error.stack ?? `${error.name}: ${error.message}`;
  return error.cause === undefined ? own : `${own}\nCaused by: ${describeError(error.cause)}`;
}
