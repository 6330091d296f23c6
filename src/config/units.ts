/** Durations and sizes as homeserver.yaml writes them. */

const DURATION_UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_536_000_000 };
const SIZE_UNITS: Readonly<Record<string, number>> = { K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };

/** Milliseconds of "90s", "5m", "1h", "7d", "2w", "1y", "300" or 300 (both milliseconds); undefined when it is none of these. */
export function parseDuration(value: unknown): number | undefined {
  return parseWithUnit(value, DURATION_UNITS);
}

/** Bytes of "50M", "10K", "1G", "2T", "1024" or 1024; units of 1024; undefined when it is none of these. */
export function parseSize(value: unknown): number | undefined {
  return parseWithUnit(value, SIZE_UNITS);
}

function parseWithUnit(value: unknown, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === "number") return Number.isInteger(value) ? value : undefined;
  if (typeof value !== "string") return undefined;
  // Python's int() allows space and a sign around the digits, and underscores between them.
  const match = /^\s*([+-]?\d+(?:_\d+)*)\s*([A-Za-z]?)$/.exec(value);
  if (match === null) return undefined;
  const unit = match[2] === "" ? 1 : units[match[2]!];
  return unit === undefined ? undefined : Number(match[1]!.replaceAll("_", "")) * unit;
}
