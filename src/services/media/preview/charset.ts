/**
 * The text of a page. Its encoding is what the page says about itself, else what the server says, else UTF-8, else Windows-1252; the first
 * one in which all bytes make sense.
 */
export function decodePage(body: Buffer, contentType: string | undefined): string {
  for (const label of [...declared(body, contentType), "utf-8"]) {
    const text = decode(body, label);
    if (text !== undefined) return text;
  }
  return new TextDecoder("windows-1252").decode(body);
}

function* declared(body: Buffer, contentType: string | undefined): Generator<string> {
  if (body[0] === 0xff && body[1] === 0xfe) yield "utf-16le";
  if (body[0] === 0xfe && body[1] === 0xff) yield "utf-16be";
  // What a page says about its encoding stands at its top.
  const start = body.toString("latin1", 0, 1024);
  const inPage = [/<\s*meta[^>]*charset\s*=\s*["']?([a-z0-9_-]+)/i.exec(start)?.[1], /^\s*<\s*\?\s*xml[^>]*encoding=["']([a-z0-9_-]+)["']/i.exec(start)?.[1]];
  // The declaration was read as ASCII, so the page cannot be in UTF-16.
  for (const label of inPage) if (label !== undefined) yield /^utf-?16/i.test(label) ? "utf-8" : label;
  const inHeader = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(contentType ?? "")?.[1];
  if (inHeader !== undefined) yield inHeader;
}

/** undefined for unknown encodings, and bytes that are none of it. */
function decode(body: Buffer, label: string): string | undefined {
  try {
    return new TextDecoder(label, { fatal: true }).decode(body);
  } catch {
    return undefined;
  }
}
