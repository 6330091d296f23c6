/** Words of a search in the user directory, and the index form of names: as Synapse, which uses the same ICU word boundaries. */
const segmenter = new Intl.Segmenter("und", { granularity: "word" });
const MAX_WORDS = 10;
const STARTS_AS_WORD = /^[\p{L}\p{N}_]/u;

/** Lower case, compatibility-normalised. */
export const indexText = (text: string): string => text.toLowerCase().normalize("NFKC");

/** Words of a text; `-`, `.` and `_` join the words around them. */
export function words(text: string): string[] {
  const parts: string[] = [];
  for (const { segment } of segmenter.segment(text)) for (const part of segment.split(/[@:]+/)) parts.push(part.trim());
  const result: string[] = [];
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (part === "-" || part === "." || part === "_") {
      const next = parts[i + 1];
      if (next === undefined || !STARTS_AS_WORD.test(next)) continue;
      const previous = i > 0 && STARTS_AS_WORD.test(parts[i - 1]!) ? (result.pop() ?? "") : "";
      result.push(previous + part + next);
      i++;
    } else if (STARTS_AS_WORD.test(part)) result.push(part);
  }
  return result;
}

/** tsquery texts for a search: words or prefixes of words, whole words, prefixes; all empty when there is nothing to search for. */
export function directoryQueries(searchTerm: string): { full: string; exact: string; prefix: string } {
  const quoted = words(indexText(searchTerm))
    .slice(0, MAX_WORDS)
    .map((word) => `'${word.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`);
  return {
    full: quoted.map((word) => `(${word}:* | ${word})`).join(" & "),
    exact: quoted.join(" & "),
    prefix: quoted.map((word) => `${word}:*`).join(" & "),
  };
}
