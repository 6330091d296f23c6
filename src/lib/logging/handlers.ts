import winston from "winston";
import type { Clock, Timer } from "../clock.ts";
import type { LineWriter } from "./files.ts";
import type { Formatter } from "./formatters.ts";
import { LEVELS, type LogRecord } from "./record.ts";

/** Where records go: a level, a formatter, a destination, by Python's rules. */
export interface Handler {
  handle(record: LogRecord): void;
  /** Writes what is held back. */
  flush(): void;
  close(): void;
}

/** Python's levels by name for winston, where the smallest number is the most urgent. */
const WINSTON_LEVELS = Object.fromEntries(Object.entries(LEVELS).map(([name, level]) => [name, LEVELS.CRITICAL - level]));

interface RecordInfo extends winston.Logform.TransformableInfo {
  readonly record: LogRecord;
  line: string;
}

// The type declarations spell it in lower case only.
const { Transport } = winston as unknown as { readonly Transport: new () => winston.transport };

/** Hands the formatted lines of a winston logger to a writer. */
class WriterTransport extends Transport {
  constructor(private readonly writer: LineWriter) {
    super();
  }

  override log = (info: RecordInfo, next: () => void): void => {
    this.writer.write(`${info.line}\n`);
    next();
  };
}

/** A handler that formats and writes each record: stream and file handlers. */
export class WritingHandler implements Handler {
  private readonly logger: winston.Logger;

  constructor(
    private readonly level: number,
    private readonly formatter: Formatter,
    private readonly writer: LineWriter,
  ) {
    const format = winston.format((info) => Object.assign(info, { line: this.formatter((info as RecordInfo).record) }));
    this.logger = winston.createLogger({ levels: WINSTON_LEVELS, level: "DEBUG", format: format(), transports: [new WriterTransport(writer)] });
  }

  handle(record: LogRecord): void {
    if (LEVELS[record.level] >= this.level) this.logger.log({ level: record.level, message: record.message, record } as winston.LogEntry);
  }

  flush(): void {}

  close(): void {
    this.logger.close();
    this.writer.close();
  }
}

/** Holds records back until there are `capacity`, or one is urgent, or `periodMs` have passed. */
export class MemoryHandler implements Handler {
  private held: LogRecord[] = [];
  private readonly timer: Timer | undefined;

  constructor(
    private readonly options: {
      readonly level: number;
      readonly capacity: number;
      readonly flushLevel: number;
      readonly periodMs: number | undefined;
      readonly flushOnClose: boolean;
    },
    private readonly target: Handler | undefined,
    clock: Pick<Clock, "every">,
  ) {
    this.timer = options.periodMs === undefined ? undefined : clock.every(options.periodMs, () => this.flush());
  }

  handle(record: LogRecord): void {
    const level = LEVELS[record.level];
    if (level < this.options.level) return;
    this.held.push(record);
    if (this.held.length >= this.options.capacity || level >= this.options.flushLevel) this.flush();
  }

  flush(): void {
    const held = this.held;
    this.held = [];
    for (const record of held) this.target?.handle(record);
    this.target?.flush();
  }

  close(): void {
    this.timer?.cancel();
    if (this.options.flushOnClose) this.flush();
  }
}

/** Python's NullHandler. */
export const nullHandler: Handler = { handle: () => {}, flush: () => {}, close: () => {} };
