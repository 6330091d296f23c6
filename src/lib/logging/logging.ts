import type { LogFields, Logger, LogLevel } from "../log.ts";
import { currentRequest } from "../request-context.ts";
import { buildSetup, defaultSetup, isWithin, type LogEnvironment, type LoggingSetup, type LoggerSettings } from "./dict-config.ts";
import type { Handler } from "./handlers.ts";
import { LEVEL_OF, LEVELS, type LogRecord } from "./record.ts";

/**
 * The logging of one server: a tree of loggers by dotted names, by the rules of Python's `logging` and the admin's log configuration,
 * with winston behind each handler.
 */
export interface Logging {
  readonly log: Logger;
  /** Messages of the log configuration itself: what could not be honoured. */
  readonly notices: readonly string[];
  /** Takes another log configuration; the present one stays when that is not usable. @throws LogConfigError */
  reconfigure(config: unknown): void;
  /** Writes what is held back. */
  flush(): void;
  /** Writes what is held back and closes files. */
  close(): void;
}

/** How a logger reacts, worked out once for each name. */
interface Route {
  /** Records below it are dropped. */
  readonly level: number;
  readonly handlers: readonly Handler[];
}

/**
 * @param config the parsed log configuration; undefined: INFO to stderr
 * @throws LogConfigError
 */
export function startLogging(config: unknown, serverName: string, environment: LogEnvironment): Logging {
  const tree = new LoggerTree(serverName, environment, config === undefined ? defaultSetup(environment) : buildSetup(config, environment));
  return {
    log: tree.logger("root"),
    get notices() {
      return tree.setup.notices;
    },
    reconfigure: (next) => tree.replace(buildSetup(next, environment)),
    flush: () => tree.flush(),
    close: () => tree.close(),
  };
}

class LoggerTree {
  private routes = new Map<string, Route>();
  private readonly loggers = new Map<string, Logger>();
  private disabled = new Set<string>();

  constructor(
    private readonly serverName: string,
    private readonly environment: LogEnvironment,
    public setup: LoggingSetup,
  ) {}

  logger(name: string): Logger {
    const known = this.loggers.get(name);
    if (known !== undefined) return known;
    const write = (level: LogLevel, message: string, fields?: LogFields): void => {
      const route = this.route(name);
      if (LEVELS[LEVEL_OF[level]] < route.level) return;
      const record = this.record(name, level, message, fields);
      for (const handler of route.handlers) handler.handle(record);
    };
    const logger: Logger = {
      debug: (message, fields) => write("debug", message, fields),
      info: (message, fields) => write("info", message, fields),
      warn: (message, fields) => write("warn", message, fields),
      error: (message, fields) => write("error", message, fields),
      named: (other) => this.logger(other),
      enabled: (level) => LEVELS[LEVEL_OF[level]] >= this.route(name).level,
    };
    this.loggers.set(name, logger);
    return logger;
  }

  replace(setup: LoggingSetup): void {
    const old = this.setup;
    this.setup = setup;
    this.routes = new Map();
    // As Python: loggers that exist and are neither named nor below a named one fall silent.
    const named = [...setup.loggers.keys()];
    this.disabled = new Set(
      setup.disableExisting ? [...this.loggers.keys()].filter((name) => name !== "root" && !named.some((other) => isWithin(name, other))) : [],
    );
    for (const handler of old.handlers) handler.close();
  }

  flush(): void {
    for (const handler of this.setup.handlers) handler.flush();
  }

  close(): void {
    for (const handler of this.setup.handlers) handler.close();
  }

  private route(name: string): Route {
    const known = this.routes.get(name);
    if (known !== undefined) return known;
    const route = this.disabled.has(name) ? { level: Number.POSITIVE_INFINITY, handlers: [] } : this.findRoute(name);
    this.routes.set(name, route);
    return route;
  }

  private findRoute(name: string): Route {
    const handlers: Handler[] = [];
    let level: number | undefined;
    let isOpen = true;
    const own = this.setup.loggers.get(name);
    if (own?.filters.some((filter) => !isWithin(name, filter))) return { level: Number.POSITIVE_INFINITY, handlers };
    for (const settings of this.lineage(name)) {
      level ??= settings.level;
      if (isOpen) handlers.push(...settings.handlers);
      isOpen &&= settings.propagate;
    }
    return { level: level ?? LEVELS.WARNING, handlers };
  }

  /** The settings of the logger and its ancestors, root last. */
  private *lineage(name: string): Iterable<LoggerSettings> {
    for (let current = name === "root" ? "" : name; current !== ""; current = current.slice(0, Math.max(0, current.lastIndexOf(".")))) {
      const settings = this.setup.loggers.get(current);
      if (settings !== undefined) yield settings;
    }
    yield this.setup.root;
  }

  private record(name: string, level: LogLevel, message: string, fields: LogFields = {}): LogRecord {
    const { error, request, ...others } = fields;
    const context = currentRequest();
    return {
      name,
      level: LEVEL_OF[level],
      message,
      created: this.environment.clock.now(),
      error,
      request: request ?? context?.id ?? "sentinel",
      serverName: this.serverName,
      context:
        context?.method === undefined
          ? {}
          : {
              ip_address: context.ip,
              site_tag: context.siteTag,
              requester: context.requester,
              method: context.method,
              url: context.url,
              user_agent: context.userAgent,
            },
      fields: others,
    };
  }
}
