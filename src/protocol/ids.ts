/** Matrix identifiers as branded strings, their grammar and their parts (specification appendix "Identifier Grammar"). */
declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

export type UserId = Branded<string, "UserId">;
export type RoomId = Branded<string, "RoomId">;
export type EventId = Branded<string, "EventId">;
export type RoomAlias = Branded<string, "RoomAlias">;
export type ServerName = Branded<string, "ServerName">;
export type DeviceId = Branded<string, "DeviceId">;

/** Bytes that a user id, room id, alias or event id may have, sigil and domain included. */
export const MAX_ID_BYTES = 255;

export interface IdParts {
  /** Without the sigil; may be empty in historical ids. */
  readonly localpart: string;
  readonly domain: string;
}

/** What stands behind the first colon of a user id, alias, room id or old event id; "" when there is none. */
export function getDomain(id: string): string {
  const colon = id.indexOf(":");
  return colon === -1 ? "" : id.slice(colon + 1);
}

/** What stands between the sigil and the first colon, or the end. */
export function localpartOf(id: string): string {
  const colon = id.indexOf(":");
  return id.slice(1, colon === -1 ? undefined : colon);
}

/** Parts of `@localpart:domain`, with no more checks than for the sigil and the colon; undefined without them. */
export const parseUserId = (id: string): IdParts | undefined => parse("@", id);

function parse(sigil: string, id: string): IdParts | undefined {
  const colon = id.indexOf(":");
  if (colon === -1 || id[0] !== sigil) return undefined;
  return { localpart: id.slice(1, colon), domain: id.slice(colon + 1) };
}

/**
 * True for a user id of any time: the localpart may be empty and hold anything but a colon or NUL ("Historical User IDs"), the
 * domain is a server name, the whole at most 255 bytes.
 */
export function isUserId(value: unknown): value is UserId {
  return typeof value === "string" && isDomainId("@", value);
}

/** True for a user id whose localpart is not empty and of U+0021 to U+007E: what may be told to clients outside of events. */
export function isCompliantUserId(value: unknown): value is UserId {
  return isUserId(value) && COMPLIANT_LOCALPART.test(localpartOf(value));
}
const COMPLIANT_LOCALPART = /^[\x21-\x7e]+$/;

/** True for the localpart of a user id that may be registered today: lower-case letters, digits and `._=-/+`. */
export const isValidLocalpart = (localpart: string): boolean => VALID_LOCALPART.test(localpart);
const VALID_LOCALPART = /^[a-z0-9._=\-/+]+$/;

export const isRoomAlias = (value: unknown): value is RoomAlias => typeof value === "string" && isDomainId("#", value);

/** True for `!opaque:domain` and for the 43 characters of a create event's hash (room version 12). */
export function isRoomId(value: unknown): value is RoomId {
  if (typeof value !== "string") return false;
  return value.includes(":") ? isDomainId("!", value) : HASH_ROOM_ID.test(value);
}
const HASH_ROOM_ID = /^![A-Za-z0-9_-]{43}$/;

/** True for anything with the sigil `$`, more than that, and at most 255 bytes: old ids hold any text. */
export function isEventId(value: unknown): value is EventId {
  return typeof value === "string" && value.length > 1 && value[0] === "$" && fits(value) && !value.includes("\0");
}

function isDomainId(sigil: string, value: string): boolean {
  const parts = parse(sigil, value);
  return parts !== undefined && fits(value) && !parts.localpart.includes("\0") && isServerName(parts.domain);
}

const fits = (id: string): boolean => byteLengthWithin(id, MAX_ID_BYTES);

/** True when the UTF-8 form of `text` has at most `limit` bytes. */
export function byteLengthWithin(text: string, limit: number): boolean {
  if (text.length > limit) return false;
  return text.length * 3 <= limit || Buffer.byteLength(text) <= limit;
}

export interface ServerAddress {
  /** A DNS name, an IPv4 literal, or an IPv6 literal without its brackets. */
  readonly host: string;
  readonly port: number | undefined;
  readonly ipv6: boolean;
}

const SERVER_NAME = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9A-Za-z.-]{1,255}))(?::(\d{1,5}))?$/;

/** Host and port of a server name, undefined when it is not one by the grammar. */
export function parseServerName(name: string): ServerAddress | undefined {
  const match = SERVER_NAME.exec(name);
  if (match === null) return undefined;
  const [, ipv6, host, port] = match;
  if (ipv6 !== undefined && !isIpv6(ipv6)) return undefined;
  return { host: (ipv6 ?? host)!, port: port === undefined ? undefined : Number(port), ipv6: ipv6 !== undefined };
}

/** True for a server name of at most 255 bytes by the grammar. Compare server names as they are: they are case-sensitive. */
export function isServerName(value: unknown): value is ServerName {
  return typeof value === "string" && value.length <= MAX_ID_BYTES && parseServerName(value) !== undefined;
}

const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/;

/** RFC 3513 section 2.2: eight groups, at most one `::`, the last two groups possibly a dotted quad. */
function isIpv6(text: string): boolean {
  const halves = text.split("::");
  if (halves.length > 2) return false;
  let groups = 0;
  for (const [index, half] of halves.entries()) {
    if (half === "") {
      if (halves.length === 1) return false;
      continue;
    }
    const parts = half.split(":");
    for (const [at, part] of parts.entries()) {
      if (part.includes(".")) {
        const last = index === halves.length - 1 && at === parts.length - 1;
        if (!last || !IPV4.test(part)) return false;
        groups += 2;
      } else {
        if (!/^[0-9A-Fa-f]{1,4}$/.test(part)) return false;
        groups++;
      }
    }
  }
  return halves.length === 2 ? groups < 8 : groups === 8;
}
