import { isMapping, type ReadTracker } from "./reader.ts";
import { UNSUPPORTED_OPTIONS } from "./unsupported.ts";

/** One line for each option in the file that Myelin does not honour, or does not know. */
export function noticesAboutOptions(values: Readonly<Record<string, unknown>>, tracker: ReadTracker): string[] {
  const notices: string[] = [];
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
        if (item !== null && !isDefault(item, unsupported.harmless)) notices.push(`${childPath} has no effect: ${unsupported.reason}`);
      } else if (tracker.read.has(childPattern) || tracker.opaque.has(childPattern)) {
        visit(item, childPath, childPattern);
      } else {
        notices.push(`${childPath} is unknown and has no effect`);
      }
    }
  };
  visit(values, "", "");
  return notices;
}

function isDefault(value: unknown, harmless: unknown): boolean {
  return harmless !== undefined && JSON.stringify(value) === JSON.stringify(harmless);
}
