import type { Dispatcher } from "undici";
import { ByteCollector } from "../lib/byte-collector.ts";

/** The text of an answer of at most `maxBytes`; the rest of a longer one is not read. @throws what `tooLong` makes of the reason */
export async function readText(body: Dispatcher.ResponseData["body"], maxBytes: number, tooLong: (reason: string) => Error): Promise<string> {
  const collector = new ByteCollector();
  for await (const chunk of body as AsyncIterable<Buffer>) {
    if (collector.size + chunk.length > maxBytes) {
      body.destroy();
      throw tooLong(`the answer is longer than ${maxBytes} bytes`);
    }
    collector.add(chunk);
  }
  return collector.bytes().toString("utf8");
}
