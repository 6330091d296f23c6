import { isMapping, type ReadTracker } from "./reader.ts";
import { UNSUPPORTED_OPTIONS } from "./unsupported.ts";

/** What becomes of an option that stands in the configuration. */
export interface OptionUse {
  /** As it stands in the file, such as `listeners[0].port`. */
  readonly path: string;
  /** `idle`: Myelin does not honour it, and its value changes nothing anyway. */
  readonly use: "honoured" | "no-effect" | "idle" | "unknown";
  /** Why it has no effect. */
  readonly reason?: string;
}

/** One line for each option in the file that Myelin does not honour, or does not know. */
export function noticesAboutOptions(values: Readonly<Record<string, unknown>>, tracker: ReadTracker): string[] {
  return examineOptions(values, tracker).flatMap(({ path, use, reason }) => {
    if (use === "no-effect") return [`${path} has no effect: ${reason}`];
    return use === "unknown" ? [`${path} is unknown and has no effect`] : [];
  });
}

/** Each option that stands in the file, in its order: honoured ones by their outermost names, others where they stand. */
export function examineOptions(values: Readonly<Record<string, unknown>>, tracker: ReadTracker): OptionUse[] {
  const uses: OptionUse[] = [];
  const visit = (value: unknown, path: string, pattern: string): void => {
    if (tracker.opaque.has(pattern)) return;
    if (Array.isArray(value)) {
      for (const [index, item] of value.entries()) visit(item, `${path}[${index}]`, `${pattern}[]`);
      return;
    }
    if (!isMapping(value)) return;
    for (const [key, item] of Object.entries(value)) {
      const childPath = path === "" ? key : `${path}.${key}`;
      const childPattern = tracker.maps.has(pattern) ? `${pattern}.{key}` : pattern === "" ? key : `${pattern}.${key}`;
      const unsupported = UNSUPPORTED_OPTIONS.get(childPattern);
      if (unsupported !== undefined) {
        const idle = item === null || isHarmless(item, unsupported.harmless);
        uses.push({ path: childPath, use: idle ? "idle" : "no-effect", reason: unsupported.reason });
      } else if (tracker.read.has(childPattern) || tracker.opaque.has(childPattern)) {
        if (path === "") uses.push({ path: childPath, use: "honoured" });
        visit(item, childPath, childPattern);
      } else {
        uses.push({ path: childPath, use: "unknown" });
      }
    }
  };
  visit(values, "", "");
  return uses;
}

function isHarmless(value: unknown, harmless: readonly unknown[] = []): boolean {
  return harmless.some((each) => JSON.stringify(each) === JSON.stringify(value));
}
