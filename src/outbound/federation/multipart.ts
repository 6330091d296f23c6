/** The answer cannot be read as multipart/mixed. */
export class BadMultipart extends Error {
  override name = "BadMultipart";
}

export interface Part {
  /** By lower-case name; of headers that come twice the last. */
  readonly headers: ReadonlyMap<string, string>;
  /** To be read to the end before the next part. @throws BadMultipart when the answer breaks off */
  readonly content: AsyncGenerator<Buffer, undefined>;
}

const MAX_HEADERS = 16 * 1024;
const MAX_PREAMBLE = 64 * 1024;
const HEADERS_END = Buffer.from("\r\n\r\n");

/** The boundary that a `Content-Type` names; undefined when it is no multipart type. */
export function boundaryOf(contentType: string | undefined): string | undefined {
  const match = /^multipart\/[a-z-]+\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType ?? "");
  return match?.[1] ?? match?.[2];
}

/** The parts of a multipart message (RFC 2046), one after another, without holding more of it in memory than a chunk. */
export async function* partsOf(source: AsyncIterable<Buffer>, boundary: string): AsyncGenerator<Part, undefined> {
  const input = new Input(source[Symbol.asyncIterator]());
  // As if a line break stood before the first boundary.
  input.held = Buffer.from("\r\n");
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  await drain(input, delimiter, MAX_PREAMBLE);
  for (;;) {
    const mark = (await input.take(2)).toString("latin1");
    if (mark === "--") return undefined;
    // The line of a boundary may end with white space.
    if (mark !== "\r\n") await drain(input, Buffer.from("\r\n"), MAX_HEADERS);
    const headers = await readHeaders(input);
    const content = until(input, delimiter);
    yield { headers, content };
    for await (const _ of content); // what the reader left
  }
}

async function readHeaders(input: Input): Promise<Map<string, string>> {
  const headers = new Map<string, string>();
  // A part without headers begins with an empty line.
  if ((await input.peek(2)).toString("latin1") === "\r\n") {
    await input.take(2);
    return headers;
  }
  let text = "";
  for await (const chunk of until(input, HEADERS_END)) {
    text += chunk.toString("latin1");
    if (text.length > MAX_HEADERS) throw new BadMultipart("the headers of a part are too long");
  }
  for (const line of text.split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  return headers;
}

async function drain(input: Input, end: Buffer, most: number): Promise<void> {
  let size = 0;
  for await (const chunk of until(input, end)) if ((size += chunk.length) > most) throw new BadMultipart("the answer does not begin with a part");
}

/** What comes before `end`, which is taken too. */
async function* until(input: Input, end: Buffer): AsyncGenerator<Buffer, undefined> {
  for (;;) {
    const at = input.held.indexOf(end);
    if (at !== -1) {
      const found = input.held.subarray(0, at);
      input.held = input.held.subarray(at + end.length);
      if (found.length > 0) yield found;
      return undefined;
    }
    // The beginning of `end` may be there already.
    const safe = input.held.length - end.length + 1;
    if (safe > 0) {
      const chunk = input.held.subarray(0, safe);
      input.held = input.held.subarray(safe);
      yield chunk;
    }
    if (!(await input.more())) throw new BadMultipart("the answer breaks off");
  }
}

class Input {
  held: Buffer = Buffer.alloc(0);

  constructor(private readonly source: AsyncIterator<Buffer>) {}

  async more(): Promise<boolean> {
    const { done, value } = await this.source.next();
    if (done === true) return false;
    this.held = this.held.length === 0 ? value : Buffer.concat([this.held, value]);
    return true;
  }

  async peek(count: number): Promise<Buffer> {
    while (this.held.length < count) if (!(await this.more())) throw new BadMultipart("the answer breaks off");
    return this.held.subarray(0, count);
  }

  async take(count: number): Promise<Buffer> {
    const taken = await this.peek(count);
    this.held = this.held.subarray(count);
    return taken;
  }
}
