/**
 * A configuration that cannot be honoured. `message` is one line: the option's path, what was found, what is wanted.
 * The command that reads the configuration prints it and exits with status 1.
 */
export class ConfigError extends Error {
  constructor(
    message: string,
    /** The option, such as `listeners[0].port`; undefined when no single option is to blame. */
    readonly path?: string,
  ) {
    super(path === undefined ? message : `${path}: ${message}`);
    this.name = "ConfigError";
  }
}

const SECRET_NAME = /secret|password|pass$|token|pepper|_key$|^key$|signing_key/;

/** What stands in the file, short enough for one line; the value of an option with a secretive name is not shown. */
export function describeValue(value: unknown, option: string): string {
  if (value === undefined) return "nothing";
  if (value === null) return "an empty value";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  if (SECRET_NAME.test(option)) return `a ${typeof value}`;
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
