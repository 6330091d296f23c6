/** `blocker`: the swap would fail or do damage; `warning`: somebody would notice; `note`: worth knowing; `ok`: looked at, nothing to say. */
export type Level = "ok" | "note" | "warning" | "blocker";

export const LEVELS: readonly Level[] = ["blocker", "warning", "note", "ok"];

/** What a check found. Each text is one line. */
export interface Finding {
  /** `risk-NN` where it is one of the known risks (`risks.ts`), else a word of its own; stable, for scripts. */
  readonly id: string;
  /** The check that found it. */
  readonly check: string;
  readonly level: Level;
  /** What is so. */
  readonly what: string;
  /** Why that matters; absent where all is well. */
  readonly why?: string;
  /** What to do about it. */
  readonly todo?: string;
  /** A few of the things that were found: ids, names, options. */
  readonly examples?: readonly string[];
}

/** A finding before the check's name is put to it. */
export type Draft = Omit<Finding, "check">;

export const ok = (id: string, what: string): Draft => ({ id, level: "ok", what });

interface Words {
  readonly what: string;
  readonly why: string;
  readonly todo: string;
  readonly examples?: readonly string[];
}

const draft =
  (level: Level) =>
  (id: string, words: Words): Draft => ({ id, level, ...words });

export const note = draft("note");
export const warning = draft("warning");
export const blocker = draft("blocker");

/** The number with its noun: `1 room`, `12,345 rooms`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${thousands(n)} ${n === 1 ? one : many}`;
}

export function thousands(n: number): string {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Bytes for people: `512 B`, `3.4 GB`. */
export function bytes(n: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = n;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Milliseconds for people, in the largest unit that fits: `45 seconds`, `3 days`. */
export function duration(ms: number): string {
  const units: readonly (readonly [string, number])[] = [
    ["day", 86_400_000],
    ["hour", 3_600_000],
    ["minute", 60_000],
    ["second", 1000],
  ];
  const [name, size] = units.find(([, unit]) => ms >= unit) ?? ["millisecond", 1];
  return count(ms / size, name);
}
