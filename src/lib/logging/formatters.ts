import { strftime } from "../strftime.ts";
import { describeError, LEVELS, type LogRecord } from "./record.ts";

export type Formatter = (record: LogRecord) => string;

/** Synapse's layout when there is no log configuration. */
export const DEFAULT_FORMAT = "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s";

/**
 * Python's `logging.Formatter`: a layout in % style (`%(levelname)-8s`), { style (`{levelname:<8}`) or $ style (`${levelname}`).
 * There are no line numbers and file names of Python here: lineno is 0, file names are "-".
 * @returns undefined for an unknown style
 */
export function pythonFormatter(format: string, dateFormat: string | undefined, style: string, processId: number): Formatter | undefined {
  const compile = { "%": compilePercent, "{": compileBraces, $: compileDollars }[style];
  if (compile === undefined) return undefined;
  const pieces = compile(format);
  return (record) => {
    const line = pieces.map((piece) => (typeof piece === "string" ? piece : piece.print(attribute(record, piece.name, dateFormat, processId)))).join("");
    const extra = Object.entries(record.fields).map(([key, value]) => ` ${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
    const exception = record.error === undefined ? "" : `\n${describeError(record.error)}`;
    return line + extra.join("") + exception;
  };
}

/** Synapse's JSON lines: log, namespace, level, then the fields of request and message. */
export const jsonFormatter: Formatter = (record) => JSON.stringify(jsonEvent(record, {}));

/** As `jsonFormatter`, with the time in seconds. */
export const terseJsonFormatter: Formatter = (record) => JSON.stringify(jsonEvent(record, { time: Math.round(record.created / 10) / 100 }));

/** Lines for Google Cloud Logging. */
export const gcpJsonFormatter: Formatter = (record) => {
  const message = record.error === undefined ? record.message : `${record.message}\n${describeError(record.error)}`;
  return JSON.stringify({ severity: record.level, message, logger: record.name, time: new Date(record.created).toISOString() });
};

function jsonEvent(record: LogRecord, time: object): object {
  const error = record.error;
  const exception =
    error === undefined
      ? {}
      : { exc_type: error instanceof Error ? error.name : typeof error, exc_value: error instanceof Error ? error.message : String(error) };
  return {
    log: record.message,
    namespace: record.name,
    level: record.level,
    ...time,
    request: record.request,
    server_name: record.serverName,
    ...record.context,
    ...jsonFields(record.fields),
    ...exception,
  };
}

function jsonFields(fields: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, typeof value === "bigint" ? value.toString() : value]));
}

interface Piece {
  readonly name: string;
  readonly print: (value: string | number) => string;
}

function compilePercent(format: string): (string | Piece)[] {
  const pieces: (string | Piece)[] = [];
  let last = 0;
  for (const match of format.matchAll(/%(?:%|\((\w+)\)([-0 +#]*)(\d*)(?:\.(\d+))?([sdifrx]))/g)) {
    pieces.push(format.slice(last, match.index));
    last = match.index + match[0].length;
    if (match[1] === undefined) pieces.push("%");
    else
      pieces.push({ name: match[1], print: printer(match[5]!, match[2]!.includes("-") ? "<" : ">", match[2]!.includes("0"), Number(match[3] || 0), match[4]) });
  }
  return [...pieces, format.slice(last)];
}

function compileBraces(format: string): (string | Piece)[] {
  const pieces: (string | Piece)[] = [];
  let last = 0;
  for (const match of format.matchAll(/\{\{|\}\}|\{(\w+)(?::([<>^])?(0)?(\d*)(?:\.(\d+))?([sdfrx]?))?\}/g)) {
    pieces.push(format.slice(last, match.index));
    last = match.index + match[0].length;
    if (match[1] === undefined) pieces.push(match[0][0]!);
    else
      pieces.push({
        name: match[1],
        print: printer(match[6] || "s", match[2] ?? (match[6] === "d" ? ">" : "<"), match[3] === "0", Number(match[4] || 0), match[5]),
      });
  }
  return [...pieces, format.slice(last)];
}

function compileDollars(format: string): (string | Piece)[] {
  const pieces: (string | Piece)[] = [];
  let last = 0;
  for (const match of format.matchAll(/\$(?:\$|\{(\w+)\}|(\w+))/g)) {
    pieces.push(format.slice(last, match.index));
    last = match.index + match[0].length;
    const name = match[1] ?? match[2];
    pieces.push(name === undefined ? "$" : { name, print: String });
  }
  return [...pieces, format.slice(last)];
}

function printer(type: string, align: string, zeros: boolean, width: number, precision: string | undefined): (value: string | number) => string {
  return (value) => {
    let text = String(value);
    if (type === "f") text = Number(value).toFixed(Number(precision ?? 6));
    else if ((type === "d" || type === "i") && typeof value === "number") text = String(Math.trunc(value));
    else if (precision !== undefined) text = text.slice(0, Number(precision));
    if (align === "<") return text.padEnd(width);
    if (align === "^") return text.padStart(Math.floor((width + text.length) / 2)).padEnd(width);
    return text.padStart(width, zeros ? "0" : " ");
  };
}

/** A field of Python's LogRecord, or one that Synapse adds. */
function attribute(record: LogRecord, name: string, dateFormat: string | undefined, processId: number): string | number {
  switch (name) {
    case "message":
      return record.message;
    case "name":
      return record.name;
    case "levelname":
      return record.level;
    case "levelno":
      return LEVELS[record.level];
    case "asctime":
      return formatTime(record.created, dateFormat);
    case "created":
      return record.created / 1000;
    case "msecs":
      return record.created % 1000;
    case "request":
      return record.request;
    case "server_name":
      return record.serverName;
    case "process":
      return processId;
    case "lineno":
    case "thread":
    case "relativeCreated":
      return 0;
    case "threadName":
      return "MainThread";
    case "processName":
      return "MainProcess";
    case "filename":
    case "pathname":
    case "funcName":
    case "module":
      return "-";
    default: {
      const value = record.context[name] ?? record.fields[name];
      return typeof value === "string" || typeof value === "number" ? value : value === undefined ? "None" : JSON.stringify(value);
    }
  }
}

/** Local time as Python writes it: "2026-11-21 03:08:12,345", or by a strftime layout. */
export function formatTime(created: number, layout: string | undefined): string {
  const date = new Date(created);
  if (layout === undefined) return `${strftime(date, "%Y-%m-%d %H:%M:%S")},${String(date.getMilliseconds()).padStart(3, "0")}`;
  return strftime(date, layout);
}
