import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { ConfigError, describeValue } from "./errors.ts";
import { parseDuration, parseSize } from "./units.ts";

/**
 * Which options were asked for, as patterns (`listeners[].port`, `instance_map.{key}.host`). What stands in the file but was never
 * asked for is unknown to Myelin and is named at start.
 */
export class ReadTracker {
  readonly read = new Set<string>();
  /** Subtrees that were taken as they are. */
  readonly opaque = new Set<string>();
  /** Mappings whose keys are names of the admin's choice. */
  readonly maps = new Set<string>();
}

export interface Bounds {
  readonly min?: number;
  readonly max?: number;
}

type Values = Readonly<Record<string, unknown>>;

/** True for what YAML calls a mapping. */
export function isMapping(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * One mapping of the configuration file with typed access. Each method reads one option, checks its type, and throws a `ConfigError`
 * that names the option when the value is not what it must be. An option without a value (`option:`) counts as absent, except for
 * `nullable...`, where it means "none".
 */
export class ConfigReader {
  constructor(
    private readonly values: Values,
    private readonly tracker: ReadTracker,
    readonly path = "",
    private readonly pattern = "",
  ) {}

  /** True when the option stands in the file, even without a value. */
  has(key: string): boolean {
    this.tracker.read.add(this.patternOf(key));
    return Object.hasOwn(this.values, key);
  }

  /** True when the mapping has no options at all. */
  get isEmpty(): boolean {
    return Object.keys(this.values).length === 0;
  }

  /** The error for a wrong value of `key`. */
  wrong(key: string, wanted: string): ConfigError {
    return new ConfigError(`found ${describeValue(this.values[key], key)}, wanted ${wanted}`, this.pathOf(key));
  }

  /** An error about `key` in other words. */
  error(key: string, message: string): ConfigError {
    return new ConfigError(message, this.pathOf(key));
  }

  pathOf(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }

  /** The value as it stands in the file, unchecked, with everything below it. */
  raw(key: string): unknown {
    this.tracker.opaque.add(this.patternOf(key));
    return this.value(key);
  }

  /** A mapping taken as it is; undefined when absent. */
  rawObject(key: string): Record<string, unknown> | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    if (!isMapping(value)) throw this.wrong(key, "a mapping");
    return structuredClone(value) as Record<string, unknown>;
  }

  /** This mapping as it stands in the file, with all below it. */
  everything(): Record<string, unknown> {
    this.tracker.opaque.add(this.pattern);
    return structuredClone(this.values) as Record<string, unknown>;
  }

  string(key: string): string | undefined;
  string(key: string, fallback: string): string;
  string(key: string, fallback?: string): string | undefined {
    const value = this.value(key);
    if (value === undefined) return fallback;
    if (typeof value !== "string") throw this.wrong(key, "a string");
    return value;
  }

  requiredString(key: string): string {
    const value = this.string(key);
    if (value === undefined) throw this.wrong(key, "a string (the option is required)");
    return value;
  }

  /** A string, or a number as it is written. */
  text(key: string): string | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (typeof value !== "string" && typeof value !== "number") throw this.wrong(key, "a string");
    return String(value);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.value(key);
    if (value === undefined) return fallback;
    // To Python any text is true; a text that says the opposite is a mistake to be told.
    if (typeof value === "string" && /^(?:true|yes|on)$/i.test(value)) return true;
    if (typeof value !== "boolean") throw this.wrong(key, "true or false");
    return value;
  }

  /** A boolean that may also be written as a string ("yes", "on", "1", ...). */
  looseBoolean(key: string, fallback: boolean): boolean {
    const value = this.value(key);
    if (value === undefined) return fallback;
    const text = String(value).toLowerCase();
    if (["y", "yes", "t", "true", "on", "1"].includes(text)) return true;
    if (["n", "no", "f", "false", "off", "0"].includes(text)) return false;
    throw this.wrong(key, "true or false");
  }

  integer(key: string): number | undefined;
  integer(key: string, fallback: number, bounds?: Bounds): number;
  integer(key: string, fallback?: number, bounds: Bounds = {}): number | undefined {
    const value = this.value(key);
    if (value === undefined) return fallback;
    if (typeof value !== "number" || !Number.isInteger(value)) throw this.wrong(key, "a whole number");
    return this.bounded(key, value, bounds, "a whole number");
  }

  number(key: string, fallback: number, bounds: Bounds = {}): number {
    const value = this.value(key);
    if (value === undefined) return fallback;
    if (typeof value !== "number" || Number.isNaN(value)) throw this.wrong(key, "a number");
    return this.bounded(key, value, bounds, "a number");
  }

  /** A TCP port, as a number or as a string of digits. */
  port(key: string): number | undefined;
  port(key: string, fallback: number): number;
  port(key: string, fallback?: number): number | undefined {
    const value = this.value(key);
    if (value === undefined) return fallback;
    const port = typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
    if (typeof port !== "number" || !Number.isInteger(port) || port < 0 || port > 65535) throw this.wrong(key, "a port number (0 to 65535)");
    return port;
  }

  /** Milliseconds. */
  duration(key: string): number | undefined;
  duration(key: string, fallback: string | number, bounds?: Bounds): number;
  duration(key: string, fallback?: string | number, bounds: Bounds = {}): number | undefined {
    const value = this.value(key) ?? fallback;
    if (value === undefined) return undefined;
    const wanted = 'a duration such as "30s", "5m", "1h", "7d" or a number of milliseconds';
    const milliseconds = parseDuration(value);
    if (milliseconds === undefined) throw this.wrong(key, wanted);
    return this.bounded(key, milliseconds, bounds, wanted);
  }

  /** Milliseconds; undefined for an option without a value, `fallback` only when it is absent. */
  nullableDuration(key: string, fallback: string): number | undefined {
    return this.has(key) && this.values[key] === null ? undefined : this.duration(key, fallback);
  }

  /** Bytes. */
  size(key: string): number | undefined;
  size(key: string, fallback: string | number, bounds?: Bounds): number;
  size(key: string, fallback?: string | number, bounds: Bounds = {}): number | undefined {
    const value = this.value(key) ?? fallback;
    if (value === undefined) return undefined;
    const wanted = 'a size such as "10K", "50M", "1G" or a number of bytes';
    const bytes = parseSize(value);
    if (bytes === undefined) throw this.wrong(key, wanted);
    return this.bounded(key, bytes, bounds, wanted);
  }

  oneOf<const T extends string | number | boolean>(key: string, choices: readonly T[]): T | undefined;
  oneOf<const T extends string | number | boolean>(key: string, choices: readonly T[], fallback: T): T;
  oneOf<T extends string | number | boolean>(key: string, choices: readonly T[], fallback?: T): T | undefined {
    const value = this.value(key);
    if (value === undefined) return fallback;
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw this.wrong(key, `one of ${choices.join(", ")}`);
    return found;
  }

  /** A list of strings; [] when absent. */
  strings(key: string, fallback: readonly string[] = []): string[] {
    return this.optionalStrings(key) ?? [...fallback];
  }

  optionalStrings(key: string): string[] | undefined {
    const value = this.value(key);
    this.tracker.read.add(`${this.patternOf(key)}[]`);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) throw this.wrong(key, "a list of strings");
    return [...value];
  }

  /** A list of strings, or a single string. */
  stringOrStrings(key: string, fallback: readonly string[]): string[] {
    const value = this.value(key);
    return typeof value === "string" ? [value] : this.strings(key, fallback);
  }

  /** The mapping below `key`; an empty one when absent. */
  object(key: string): ConfigReader {
    return this.optionalObject(key) ?? new ConfigReader({}, this.tracker, this.pathOf(key), this.patternOf(key));
  }

  optionalObject(key: string): ConfigReader | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (!isMapping(value)) throw this.wrong(key, "a mapping");
    return new ConfigReader(value, this.tracker, this.pathOf(key), this.patternOf(key));
  }

  /** A list of mappings; [] when absent. */
  objects(key: string): ConfigReader[] {
    return this.optionalObjects(key) ?? [];
  }

  optionalObjects(key: string): ConfigReader[] | undefined {
    const value = this.value(key);
    const pattern = `${this.patternOf(key)}[]`;
    this.tracker.read.add(pattern);
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw this.wrong(key, "a list");
    return value.map((item: unknown, index) => {
      const path = `${this.pathOf(key)}[${index}]`;
      if (!isMapping(item)) throw new ConfigError(`found ${describeValue(item, key)}, wanted a mapping`, path);
      return new ConfigReader(item, this.tracker, path, pattern);
    });
  }

  /** A mapping from names to mappings. */
  map(key: string): (readonly [name: string, reader: ConfigReader])[] {
    return this.names(key).map((name) => [name, this.object(key).named(name)] as const);
  }

  /** A mapping from names to numbers. */
  numbers(key: string): Record<string, number> {
    return Object.fromEntries(this.names(key).map((name) => [name, this.object(key).entry(name, "number", "a number")]));
  }

  /** A mapping from names to strings. */
  stringMap(key: string): Record<string, string> {
    return Object.fromEntries(this.names(key).map((name) => [name, this.object(key).entry(name, "string", "a string")]));
  }

  /** The names of a mapping whose keys the admin chooses. */
  names(key: string): string[] {
    this.tracker.maps.add(this.patternOf(key));
    this.tracker.read.add(`${this.patternOf(key)}.{key}`);
    return Object.keys(this.object(key).values);
  }

  /**
   * A secret given inline as `key` or in a file as `pathKey`. White space around a file's content is cut off.
   * Both set, or an inline one where those are forbidden, is an error.
   */
  secret(key: string, pathKey: string, context: Pick<ParseContext, "allowSecretsInConfig" | "dataDir">): string | undefined {
    const inline = this.inlineSecret(key, context);
    const content = this.fileContent(pathKey, context);
    if (content === undefined) return inline;
    if (inline) throw this.error(key, `is set together with ${this.pathOf(pathKey)}; keep only one of them`);
    return content.trim();
  }

  /** A secret that can only be given inline. */
  inlineSecret(key: string, context: Pick<ParseContext, "allowSecretsInConfig">): string | undefined {
    const value = this.string(key);
    if (value && !context.allowSecretsInConfig) throw this.error(key, "a secret stands in the configuration, and --no-secrets-in-config forbids that");
    return value;
  }

  /** The content of the file that `key` names; undefined when the option is absent. */
  fileContent(key: string, context: Pick<ParseContext, "dataDir">): string | undefined {
    const file = this.filePath(key, context);
    return file === undefined ? undefined : readConfigFile(file, this.pathOf(key));
  }

  /** An absolute path; relative ones count from the working directory, as in Synapse. */
  filePath(key: string, context: Pick<ParseContext, "dataDir">): string | undefined {
    const path = this.string(key);
    return path === undefined || path === "" ? undefined : resolve(context.dataDir, path);
  }

  private named(name: string): ConfigReader {
    const value = this.values[name];
    const path = this.pathOf(name);
    if (value !== null && !isMapping(value)) throw new ConfigError(`found ${describeValue(value, name)}, wanted a mapping`, path);
    return new ConfigReader(value ?? {}, this.tracker, path, `${this.pattern}.{key}`);
  }

  private entry<T extends "number" | "string">(name: string, type: T, wanted: string): T extends "number" ? number : string {
    const value = this.values[name];
    if (typeof value !== type) throw this.wrong(name, wanted);
    return value as T extends "number" ? number : string;
  }

  /** The value unchecked; undefined when absent or empty. What lies below it counts as unread. */
  value(key: string): unknown {
    this.tracker.read.add(this.patternOf(key));
    return Object.hasOwn(this.values, key) ? (this.values[key] ?? undefined) : undefined;
  }

  private bounded(key: string, value: number, bounds: Bounds, wanted: string): number {
    if (bounds.min !== undefined && value < bounds.min) throw this.wrong(key, `${wanted}, at least ${bounds.min}`);
    if (bounds.max !== undefined && value > bounds.max) throw this.wrong(key, `${wanted}, at most ${bounds.max}`);
    return value;
  }

  private patternOf(key: string): string {
    return this.pattern === "" ? key : `${this.pattern}.${key}`;
  }
}

/** What a section's parser knows beside its own options. */
export interface ParseContext {
  /** Absolute; where the signing key lies unless an option says otherwise. */
  readonly configDir: string;
  /** Absolute; relative paths in the configuration count from here (Synapse: the working directory). */
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** False with --no-secrets-in-config. */
  readonly allowSecretsInConfig: boolean;
  /** Something the admin should know, logged when the server starts. */
  notice(text: string): void;
}

/** @throws ConfigError when the file cannot be read */
export function readConfigFile(file: string, option: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError(`cannot read the file ${file} (${(error as NodeJS.ErrnoException).code ?? String(error)})`, option);
  }
}
