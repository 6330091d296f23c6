const MIN_LENGTH = 200;
const MAX_LENGTH = 500;

/**
 * A summary of paragraphs: as many as it takes to reach 200 characters; cut at a word with an ellipsis where that makes more than 500.
 * undefined when there is nothing to tell.
 */
export function summarise(paragraphs: Iterable<string>): string | undefined {
  let text = "";
  for (const paragraph of paragraphs) {
    const line = paragraph.replace(/\s+/g, " ").trim();
    if (line !== "") text += `${text === "" ? "" : "\n\n"}${line}`;
    if (length(text) >= MIN_LENGTH) break;
  }
  if (text === "") return undefined;
  return length(text) > MAX_LENGTH ? cut(text) : text;
}

function cut(text: string): string {
  let short = "";
  for (const [word] of text.slice(0, 4 * MAX_LENGTH).matchAll(/\s*\S+/g)) {
    const fits = length(short) + length(word) < MAX_LENGTH;
    // A huge word is better than next to nothing.
    if (fits || length(short) < MIN_LENGTH) short += word;
    if (!fits) break;
  }
  return `${[...short].slice(0, MAX_LENGTH).join("").trim()}…`;
}

/** Characters (code points), counted no further than is of interest. */
const length = (text: string): number => Array.from(text.slice(0, 4 * MAX_LENGTH)).length;
