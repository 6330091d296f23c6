import type { Dispatcher } from "undici";

/** The text of an answer of at most `maxBytes`; the rest of a longer one is not read. @throws what `tooLong` makes of the reason */
export async function readText(body: Dispatcher.ResponseData["body"], maxBytes: number, tooLong: (reason: string) => Error): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      body.destroy();
      throw tooLong(`the answer is longer than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
