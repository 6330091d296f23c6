import assert from "node:assert/strict";
import { describe, it } from "mocha";
import { BadMultipart, boundaryOf, partsOf } from "./multipart.ts";

async function* pieces(text: string, size: number): AsyncGenerator<Buffer, undefined> {
  const all = Buffer.from(text, "latin1");
  for (let at = 0; at < all.length; at += size) yield all.subarray(at, at + size);
  return undefined;
}

async function read(text: string, size: number): Promise<[Record<string, string>, string][]> {
  const parts: [Record<string, string>, string][] = [];
  for await (const { headers, content } of partsOf(pieces(text, size), "b")) {
    let body = "";
    for await (const chunk of content) body += chunk.toString("latin1");
    parts.push([Object.fromEntries(headers), body]);
  }
  return parts;
}

describe("multipart answers", () => {
  const text =
    "--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: text/plain\r\nContent-Disposition: inline\r\n\r\nline\r\n--not the end\r\n-\r\n--b--\r\n";

  it("are read the same way however they are cut", async () => {
    const wanted = [
      [{ "content-type": "application/json" }, "{}"],
      [{ "content-type": "text/plain", "content-disposition": "inline" }, "line\r\n--not the end\r\n-"],
    ];
    for (const size of [1, 2, 3, 7, 1000]) assert.deepEqual(await read(text, size), wanted, `pieces of ${size}`);
  });

  it("may have a preamble, and parts without headers", async () => {
    assert.deepEqual(await read("for the eye\r\n--b\r\n\r\nx\r\n--b--", 4), [[{}, "x"]]);
  });

  it("that break off, or have no parts, are refused", async () => {
    await assert.rejects(read(text.slice(0, -12), 5), BadMultipart);
    await assert.rejects(read("no parts at all", 5), BadMultipart);
    await assert.rejects(read("x".repeat(200_000), 1000), BadMultipart);
    await assert.rejects(read(`--b\r\nA: ${"x".repeat(20_000)}\r\n\r\n`, 1000), BadMultipart);
  });

  it("name their boundary in the content type", () => {
    assert.equal(boundaryOf("multipart/mixed; boundary=abc"), "abc");
    assert.equal(boundaryOf('Multipart/Mixed; charset=x; boundary="a b"'), "a b");
    for (const bad of [undefined, "", "text/plain; boundary=a", "multipart/mixed", "multipart/mixed; boundary="]) assert.equal(boundaryOf(bad), undefined);
  });
});
