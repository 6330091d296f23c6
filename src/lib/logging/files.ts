import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readdirSync, renameSync, statSync, unlinkSync, writeSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Clock } from "../clock.ts";
import { strftime } from "../strftime.ts";

/** Something that takes finished lines. Writing is synchronous, so that the last lines before an end are not lost. */
export interface LineWriter {
  write(text: string): void;
  close(): void;
}

/** A file that lines are appended to; opened with the first one. A file that was moved away (logrotate) is opened anew. */
export class LogFile implements LineWriter {
  private descriptor: number | undefined;
  private inode = 0;
  protected size = 0;

  constructor(
    readonly path: string,
    private readonly follow = false,
    private readonly truncate = false,
  ) {}

  write(text: string): void {
    if (this.follow && this.descriptor !== undefined && statSync(this.path, { throwIfNoEntry: false })?.ino !== this.inode) this.close();
    this.descriptor ??= this.open();
    this.size += writeSync(this.descriptor, text);
  }

  close(): void {
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
  }

  protected currentSize(): number {
    this.descriptor ??= this.open();
    return this.size;
  }

  private open(): number {
    mkdirSync(dirname(this.path), { recursive: true });
    const descriptor = openSync(this.path, this.truncate ? "w" : "a", 0o644);
    const stat = fstatSync(descriptor);
    this.inode = stat.ino;
    this.size = stat.size;
    return descriptor;
  }
}

/** Python's RotatingFileHandler: at `maxBytes` the file becomes `.1`, `.1` becomes `.2`, up to `backupCount`. */
export class RotatingFile extends LogFile {
  constructor(
    path: string,
    private readonly maxBytes: number,
    private readonly backupCount: number,
  ) {
    super(path);
  }

  override write(text: string): void {
    const size = this.currentSize();
    if (this.maxBytes > 0 && size > 0 && size + Buffer.byteLength(text) >= this.maxBytes) this.rotate();
    super.write(text);
  }

  private rotate(): void {
    this.close();
    for (let number = this.backupCount - 1; number >= 1; number--) {
      if (existsSync(`${this.path}.${number}`)) renameSync(`${this.path}.${number}`, `${this.path}.${number + 1}`);
    }
    if (this.backupCount > 0) renameSync(this.path, `${this.path}.1`);
    else unlinkSync(this.path);
  }
}

export interface TimedRotation {
  /** S, M, H, D, MIDNIGHT, W0 (Monday) to W6. */
  readonly when: string;
  readonly interval: number;
  /** 0: all are kept. */
  readonly backupCount: number;
  readonly utc: boolean;
}

const PERIODS: Readonly<Record<string, { readonly ms: number; readonly suffix: string }>> = {
  S: { ms: 1000, suffix: "%Y-%m-%d_%H-%M-%S" },
  M: { ms: 60_000, suffix: "%Y-%m-%d_%H-%M" },
  H: { ms: 3_600_000, suffix: "%Y-%m-%d_%H" },
  D: { ms: 86_400_000, suffix: "%Y-%m-%d" },
  MIDNIGHT: { ms: 86_400_000, suffix: "%Y-%m-%d" },
  W: { ms: 604_800_000, suffix: "%Y-%m-%d" },
};

/** Python's TimedRotatingFileHandler: the file of a past period gets the period's begin as suffix, the oldest ones are removed. */
export class TimedRotatingFile extends LogFile {
  private readonly period: { readonly ms: number; readonly suffix: string };
  private nextRotation: number;

  constructor(
    path: string,
    private readonly rotation: TimedRotation,
    private readonly clock: Pick<Clock, "now">,
  ) {
    super(path);
    this.period = PERIODS[rotation.when.startsWith("W") ? "W" : rotation.when]!;
    const written = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    this.nextRotation = this.after(written ?? clock.now());
  }

  static isKnown(when: string): boolean {
    return /^(?:S|M|H|D|MIDNIGHT|W[0-6])$/.test(when);
  }

  override write(text: string): void {
    if (this.clock.now() >= this.nextRotation) this.rotate();
    super.write(text);
  }

  private rotate(): void {
    this.close();
    const begin = this.shifted(this.nextRotation - this.period.ms * this.rotation.interval);
    const target = `${this.path}.${strftime(begin, this.period.suffix)}`;
    if (existsSync(this.path)) renameSync(this.path, target);
    this.nextRotation = this.after(this.clock.now());
    if (this.rotation.backupCount > 0) this.removeOld();
  }

  private removeOld(): void {
    const folder = dirname(this.path);
    const prefix = `${basename(this.path)}.`;
    const old = readdirSync(folder)
      .filter((name) => name.startsWith(prefix) && /^\d{4}-\d\d-\d\d(?:_\d\d(?:-\d\d){0,2})?$/.test(name.slice(prefix.length)))
      .sort();
    for (const name of old.slice(0, Math.max(0, old.length - this.rotation.backupCount))) unlinkSync(join(folder, name));
  }

  /** The next time of rotation after `time`. */
  private after(time: number): number {
    const { when, interval } = this.rotation;
    if (when !== "MIDNIGHT" && !when.startsWith("W")) return time + this.period.ms * interval;
    const date = new Date(time);
    const next = this.rotation.utc
      ? new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1))
      : new Date(date.getFullYear(), date.getMonth(), date.getDate() + 1);
    if (when === "MIDNIGHT") return next.getTime() + (interval - 1) * 86_400_000;
    // W0 is Monday: the file of a week ends with the end of that day.
    const today = ((this.rotation.utc ? date.getUTCDay() : date.getDay()) + 6) % 7;
    const days = (Number(when[1]) - today + 7) % 7;
    return next.getTime() + days * 86_400_000;
  }

  /** A date whose local fields are those of UTC where that is asked for. */
  private shifted(time: number): Date {
    const date = new Date(time);
    return this.rotation.utc ? new Date(time + date.getTimezoneOffset() * 60_000) : date;
  }
}
