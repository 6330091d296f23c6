import { createHmac, timingSafeEqual } from "node:crypto";

/**
 * Macaroons with first-party caveats in the binary format of libmacaroons, version 1: bearer tokens that carry their conditions, chained
 * by HMAC-SHA256, in URL-safe base64 without padding.
 */
export interface Macaroon {
  readonly location: string;
  readonly identifier: string;
  readonly caveats: readonly string[];
  readonly signature: Buffer;
}

const GENERATOR_KEY = "macaroons-key-generator".padEnd(32, "\0");
const MAX_PACKET = 0xffff;

/** Serialises a macaroon signed with `key`. */
export function mintMacaroon(key: Uint8Array, location: string, identifier: string, caveats: readonly string[]): string {
  const packets = [packet("location", location), packet("identifier", identifier), ...caveats.map((caveat) => packet("cid", caveat))];
  packets.push(packet("signature", signatureOf(key, identifier, caveats)));
  return Buffer.concat(packets).toString("base64url");
}

/** The parts of a serialised macaroon; undefined when it is none, or has third-party caveats. Says nothing of its validity. */
export function parseMacaroon(text: string): Macaroon | undefined {
  if (!/^[A-Za-z0-9_\-+/]+=*$/.test(text)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  let location: string | undefined;
  let identifier: string | undefined;
  let signature: Buffer | undefined;
  const caveats: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = Number.parseInt(bytes.toString("latin1", at, at + 4), 16);
    const end = at + size;
    if (!(size > 5) || end > bytes.length || bytes[end - 1] !== 10) return undefined;
    const space = bytes.indexOf(32, at + 4);
    if (space < 0 || space >= end) return undefined;
    const name = bytes.toString("latin1", at + 4, space);
    const value = bytes.subarray(space + 1, end - 1);
    if (signature !== undefined) return undefined;
    if (name === "location" && location === undefined) location = value.toString("utf8");
    else if (name === "identifier" && identifier === undefined) identifier = value.toString("utf8");
    else if (name === "cid") caveats.push(value.toString("utf8"));
    else if (name === "signature") signature = Buffer.from(value);
    else return undefined;
    at = end;
  }
  if (location === undefined || identifier === undefined || signature?.length !== 32) return undefined;
  return { location, identifier, caveats, signature };
}

/** True when `key` signed the macaroon and every caveat satisfies `holds`. */
export function verifyMacaroon(macaroon: Macaroon, key: Uint8Array, holds: (caveat: string) => boolean): boolean {
  return timingSafeEqual(signatureOf(key, macaroon.identifier, macaroon.caveats), macaroon.signature) && macaroon.caveats.every(holds);
}

function signatureOf(key: Uint8Array, identifier: string, caveats: readonly string[]): Buffer {
  let signature: Buffer = hmac(hmac(Buffer.from(GENERATOR_KEY, "latin1"), key), Buffer.from(identifier, "utf8"));
  for (const caveat of caveats) signature = hmac(signature, Buffer.from(caveat, "utf8"));
  return signature;
}

function hmac(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac("sha256", key).update(data).digest();
}

function packet(name: string, value: string | Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(`${name} `, "latin1"), Buffer.from(value as string), Buffer.from("\n", "latin1")]);
  const size = body.length + 4;
  if (size > MAX_PACKET) throw new RangeError("macaroon packet too long");
  return Buffer.concat([Buffer.from(size.toString(16).padStart(4, "0"), "latin1"), body]);
}
