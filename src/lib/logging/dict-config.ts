import { resolve } from "node:path";
import type { Clock } from "../clock.ts";
import { type LineWriter, LogFile, RotatingFile, TimedRotatingFile } from "./files.ts";
import { DEFAULT_FORMAT, type Formatter, gcpJsonFormatter, jsonFormatter, pythonFormatter, terseJsonFormatter } from "./formatters.ts";
import { type Handler, MemoryHandler, nullHandler, WritingHandler } from "./handlers.ts";
import { LEVELS, parseLevel } from "./record.ts";

/** What logging needs of the process. */
export interface LogEnvironment {
  readonly stdout: Pick<LineWriter, "write">;
  readonly stderr: Pick<LineWriter, "write">;
  /** Relative file names count from here. */
  readonly workingDirectory: string;
  readonly processId: number;
  readonly clock: Clock;
}

/** A logger as the configuration describes it. */
export interface LoggerSettings {
  readonly level: number | undefined;
  readonly handlers: readonly Handler[];
  readonly propagate: boolean;
  /** Names: only records of these loggers and their children pass. */
  readonly filters: readonly string[];
}

export interface LoggingSetup {
  readonly root: LoggerSettings;
  readonly loggers: ReadonlyMap<string, LoggerSettings>;
  readonly disableExisting: boolean;
  /** All handlers, targets of others last. */
  readonly handlers: readonly Handler[];
  /** What could not be honoured, one line each. */
  readonly notices: readonly string[];
}

/** A log configuration that cannot be used; the message names the place. */
export class LogConfigError extends Error {}

type Mapping = Readonly<Record<string, unknown>>;

/** INFO and above to stderr, in Synapse's layout: what happens without a log configuration. */
export function defaultSetup(environment: LogEnvironment): LoggingSetup {
  const handler = new WritingHandler(0, pythonFormatter(DEFAULT_FORMAT, undefined, "%", environment.processId)!, stream(environment.stderr));
  return {
    root: { level: LEVELS.INFO, handlers: [handler], propagate: true, filters: [] },
    loggers: new Map([["synapse.storage.SQL", { level: LEVELS.INFO, handlers: [], propagate: true, filters: [] }]]),
    disableExisting: false,
    handlers: [handler],
    notices: [],
  };
}

/**
 * Builds what a dictionary of Python's `logging.config` describes.
 * @throws LogConfigError
 */
export function buildSetup(config: unknown, environment: LogEnvironment): LoggingSetup {
  if (!isMapping(config)) throw new LogConfigError("the log configuration is no mapping");
  if (config["structured"])
    throw new LogConfigError("structured: the old form of structured logging no longer exists; use the formatter synapse.logging.TerseJsonFormatter");
  if (config["version"] !== 1) throw new LogConfigError(`version: found ${JSON.stringify(config["version"])}, wanted 1`);
  const builder = new Builder(config, environment);
  return builder.build();
}

const MEMORY_CLASSES = ["synapse.logging.handlers.PeriodicallyFlushingMemoryHandler", "logging.handlers.MemoryHandler"];

class Builder {
  private readonly notices: string[] = [];
  private readonly handlers = new Map<string, Handler>();
  private readonly underWay = new Set<string>();

  constructor(
    private readonly config: Mapping,
    private readonly environment: LogEnvironment,
  ) {}

  build(): LoggingSetup {
    const loggers = new Map<string, LoggerSettings>();
    try {
      for (const name of Object.keys(mapping(this.config["handlers"], "handlers"))) this.handler(name);
      for (const [name, settings] of Object.entries(mapping(this.config["loggers"], "loggers"))) loggers.set(name, this.logger(settings, `loggers.${name}`));
      const root = this.logger(this.config["root"] ?? {}, "root");
      return {
        root: { ...root, level: root.level ?? LEVELS.WARNING },
        loggers,
        disableExisting: this.config["disable_existing_loggers"] === true,
        // A memory handler is made after its target, and must be flushed before that is closed.
        handlers: [...this.handlers.values()].reverse(),
        notices: this.notices,
      };
    } catch (error) {
      for (const handler of [...this.handlers.values()].reverse()) handler.close();
      throw error;
    }
  }

  private logger(value: unknown, path: string): LoggerSettings {
    const settings = mapping(value, path);
    return {
      level: level(settings["level"], `${path}.level`),
      handlers: strings(settings["handlers"], `${path}.handlers`).map((name) => this.handler(name)),
      propagate: settings["propagate"] !== false,
      filters: this.filters(settings["filters"], path),
    };
  }

  /** Python's `logging.Filter` passes records of one logger and its children; Synapse's context filter is not needed. */
  private filters(value: unknown, path: string): string[] {
    const all = mapping(this.config["filters"], "filters");
    return strings(value, `${path}.filters`).flatMap((name) => {
      const filter = all[name];
      if (!isMapping(filter)) throw new LogConfigError(`${path}.filters: there is no filter ${name}`);
      const factory = filter["()"];
      if (factory === undefined || factory === "logging.Filter") return typeof filter["name"] === "string" ? [filter["name"]] : [];
      if (typeof factory !== "string" || !factory.endsWith(".LoggingContextFilter"))
        this.notices.push(`filters.${name}: ${String(factory)} is unknown and filters nothing`);
      return [];
    });
  }

  private handler(name: string): Handler {
    const known = this.handlers.get(name);
    if (known !== undefined) return known;
    const path = `handlers.${name}`;
    const options = mapping(this.config["handlers"], "handlers")[name];
    if (!isMapping(options)) throw new LogConfigError(`there is no handler ${name}`);
    if (this.underWay.has(name)) throw new LogConfigError(`${path}.target: handlers point at each other`);
    this.underWay.add(name);
    const className = String(options["class"] ?? options["()"] ?? "");
    const handler = MEMORY_CLASSES.includes(className) ? this.memoryHandler(options, path, className) : this.writingHandler(options, path, className);
    const names = this.filters(options["filters"], path);
    const filtered = names.length === 0 ? handler : withFilter(handler, names);
    this.handlers.set(name, filtered);
    return filtered;
  }

  private memoryHandler(options: Mapping, path: string, className: string): Handler {
    const target = options["target"];
    if (target !== undefined && typeof target !== "string") throw new LogConfigError(`${path}.target: wanted the name of a handler`);
    const capacity = number(options["capacity"], `${path}.capacity`);
    if (capacity === undefined) throw new LogConfigError(`${path}.capacity: wanted a number of messages`);
    const isPeriodic = className === MEMORY_CLASSES[0];
    return new MemoryHandler(
      {
        level: level(options["level"], `${path}.level`) ?? 0,
        capacity,
        flushLevel: level(options["flushLevel"], `${path}.flushLevel`) ?? LEVELS.ERROR,
        periodMs: isPeriodic ? 1000 * (number(options["period"], `${path}.period`) ?? 5) : undefined,
        flushOnClose: options["flushOnClose"] !== false,
      },
      target === undefined ? undefined : this.handler(target),
      this.environment.clock,
    );
  }

  private writingHandler(options: Mapping, path: string, className: string): Handler {
    if (className === "logging.NullHandler") return nullHandler;
    const writer = this.writer(options, path, className);
    return new WritingHandler(level(options["level"], `${path}.level`) ?? 0, this.formatter(options["formatter"], path), writer);
  }

  private writer(options: Mapping, path: string, className: string): LineWriter {
    const { stdout, stderr, clock } = this.environment;
    switch (className) {
      case "logging.StreamHandler":
        return stream(options["stream"] === "ext://sys.stdout" ? stdout : stderr);
      case "logging.FileHandler":
        return new LogFile(this.file(options, path), false, options["mode"] === "w");
      case "logging.handlers.WatchedFileHandler":
        return new LogFile(this.file(options, path), true);
      case "logging.handlers.RotatingFileHandler":
        return new RotatingFile(
          this.file(options, path),
          number(options["maxBytes"], `${path}.maxBytes`) ?? 0,
          number(options["backupCount"], `${path}.backupCount`) ?? 0,
        );
      case "logging.handlers.TimedRotatingFileHandler": {
        const when = String(options["when"] ?? "h").toUpperCase();
        if (!TimedRotatingFile.isKnown(when)) throw new LogConfigError(`${path}.when: found ${when}, wanted S, M, H, D, midnight or W0 to W6`);
        const rotation = {
          when,
          interval: number(options["interval"], `${path}.interval`) ?? 1,
          backupCount: number(options["backupCount"], `${path}.backupCount`) ?? 0,
          utc: options["utc"] === true,
        };
        return new TimedRotatingFile(this.file(options, path), rotation, clock);
      }
      case "":
        throw new LogConfigError(`${path}.class: wanted the class of the handler`);
      default:
        this.notices.push(`${path}: ${className} is unknown to Myelin; its messages go to stderr`);
        return stream(stderr);
    }
  }

  private file(options: Mapping, path: string): string {
    const name = options["filename"];
    if (typeof name !== "string") throw new LogConfigError(`${path}.filename: wanted a file name`);
    return resolve(this.environment.workingDirectory, name);
  }

  private formatter(name: unknown, path: string): Formatter {
    const { processId } = this.environment;
    if (name === undefined || name === null) return pythonFormatter("%(message)s", undefined, "%", processId)!;
    const options = mapping(this.config["formatters"], "formatters")[String(name)];
    if (!isMapping(options)) throw new LogConfigError(`${path}.formatter: there is no formatter ${String(name)}`);
    const className = String(options["class"] ?? options["()"] ?? "");
    const shortName = className.split(".").at(-1)!;
    if (className.startsWith("synapse.logging")) {
      if (shortName === "JsonFormatter") return jsonFormatter;
      if (shortName === "TerseJsonFormatter") return terseJsonFormatter;
      if (shortName === "GcpJsonFormatter") return gcpJsonFormatter;
    }
    const plain = ["", "logging.Formatter", "synapse.logging.formatter.LogFormatter", "synapse.util.logformatter.LogFormatter"];
    if (!plain.includes(className)) this.notices.push(`formatters.${String(name)}: ${className} is unknown to Myelin; the format is used in its stead`);
    const format = options["format"] ?? options["fmt"] ?? "%(message)s";
    const dateFormat = options["datefmt"];
    const formatter = pythonFormatter(String(format), typeof dateFormat === "string" ? dateFormat : undefined, String(options["style"] ?? "%"), processId);
    if (formatter === undefined) throw new LogConfigError(`formatters.${String(name)}.style: wanted one of %, {, $`);
    return formatter;
  }
}

function withFilter(handler: Handler, names: readonly string[]): Handler {
  return {
    handle: (record) => {
      if (names.every((name) => isWithin(record.name, name))) handler.handle(record);
    },
    flush: () => handler.flush(),
    close: () => handler.close(),
  };
}

/** True for the logger `ancestor` and those below it. */
export function isWithin(name: string, ancestor: string): boolean {
  return ancestor === "" || name === ancestor || name.startsWith(`${ancestor}.`);
}

function stream(target: Pick<LineWriter, "write">): LineWriter {
  return { write: (text) => target.write(text), close: () => {} };
}

function isMapping(value: unknown): value is Mapping {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function mapping(value: unknown, path: string): Mapping {
  if (value === undefined || value === null) return {};
  if (!isMapping(value)) throw new LogConfigError(`${path}: wanted a mapping`);
  return value;
}

function strings(value: unknown, path: string): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every((item) => typeof item === "string")) throw new LogConfigError(`${path}: wanted a list of names`);
  return value as string[];
}

function number(value: unknown, path: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  const parsed = Number(value);
  if (!Number.isFinite(parsed)) throw new LogConfigError(`${path}: wanted a number`);
  return parsed;
}

function level(value: unknown, path: string): number | undefined {
  if (value === undefined || value === null) return undefined;
  const parsed = parseLevel(value);
  if (parsed === undefined) throw new LogConfigError(`${path}: found ${JSON.stringify(value)}, wanted a level such as INFO`);
  return parsed === 0 ? undefined : parsed;
}
