import { MatrixError } from "../../protocol/errors.ts";
import type { Streams } from "../../storage/stream-ids.ts";

/**
 * Positions in the events stream, as Synapse writes them:
 * `s<stream>` live; `t<depth>-<stream>` historical (topological); `m<min>~<instance>.<pos>~...` live with several writers.
 */
export interface RoomPosition {
  readonly stream: number;
  /** Depth: present in historical positions only. */
  readonly topological?: number | bigint;
  /** Positions of writers that are ahead of `stream`, by `instance_map` number. */
  readonly instances?: ReadonlyMap<number, number>;
}

/** Positions of streams that may have several writers: a number or `m<min>~<instance>.<pos>`. */
export interface WriterPosition {
  readonly stream: number;
  readonly instances?: ReadonlyMap<number, number>;
}

/** The 14 fields of a sync token, in their order. */
export interface StreamToken {
  readonly room: RoomPosition;
  readonly presence: number;
  readonly typing: number;
  readonly receipt: WriterPosition;
  readonly accountData: number;
  readonly pushRules: number;
  readonly toDevice: number;
  readonly deviceLists: WriterPosition;
  /** Always 0 (groups were removed). */
  readonly groups: number;
  readonly unPartialStatedRooms: number;
  readonly threadSubscriptions: number;
  readonly stickyEvents: number;
  readonly quarantinedMedia: WriterPosition;
  readonly profileUpdates: number;
}

/** Before everything. */
export const START_TOKEN: StreamToken = {
  room: { stream: 0 },
  presence: 0,
  typing: 0,
  receipt: { stream: 0 },
  accountData: 0,
  pushRules: 0,
  toDevice: 0,
  deviceLists: { stream: 0 },
  groups: 0,
  unPartialStatedRooms: 0,
  threadSubscriptions: 0,
  stickyEvents: 0,
  quarantinedMedia: { stream: 0 },
  profileUpdates: 0,
};

const SHORTEST = 1;
const FIELDS = 14;
const bad = (): MatrixError => new MatrixError(400, "M_UNKNOWN", "Invalid stream token"); // the errcode is Synapse's

/** Reads `since` and `next_batch`. Missing trailing fields count as 0. @throws MatrixError 400 M_UNKNOWN */
export function parseStreamToken(text: string): StreamToken {
  const parts = text.split("_");
  if (parts.length < SHORTEST || parts.length > FIELDS) throw bad();
  while (parts.length < FIELDS) parts.push("0");
  const number = (index: number): number => parseNumber(parts[index]!);
  return {
    room: parseRoomPosition(parts[0]!),
    presence: number(1),
    typing: number(2),
    receipt: parseWriterPosition(parts[3]!),
    accountData: number(4),
    pushRules: number(5),
    toDevice: number(6),
    deviceLists: parseWriterPosition(parts[7]!),
    groups: number(8),
    unPartialStatedRooms: number(9),
    threadSubscriptions: number(10),
    stickyEvents: number(11),
    quarantinedMedia: parseWriterPosition(parts[12]!),
    profileUpdates: number(13),
  };
}

/** The text of a sync token, as Synapse writes it. */
export function formatStreamToken(token: StreamToken): string {
  return [
    formatRoomPosition(token.room),
    token.presence,
    token.typing,
    formatWriterPosition(token.receipt),
    token.accountData,
    token.pushRules,
    token.toDevice,
    formatWriterPosition(token.deviceLists),
    token.groups,
    token.unPartialStatedRooms,
    token.threadSubscriptions,
    token.stickyEvents,
    formatWriterPosition(token.quarantinedMedia),
    token.profileUpdates,
  ].join("_");
}

/** @throws MatrixError 400 M_UNKNOWN */
export function parseRoomPosition(text: string): RoomPosition {
  if (text.startsWith("s")) return { stream: parseNumber(text.slice(1)) };
  if (text.startsWith("m")) return parseWriterPosition(text);
  const match = /^t(-?\d{1,19})-(-?\d{1,16})$/.exec(text);
  if (match === null) throw bad();
  const depth = Number(match[1]);
  return { topological: Number.isSafeInteger(depth) ? depth : BigInt(match[1]!), stream: parseNumber(match[2]!) };
}

/** The text of a position in a room, `s...` or `t...-...`. */
export function formatRoomPosition(position: RoomPosition): string {
  if (position.topological !== undefined) return `t${position.topological}-${position.stream}`;
  return position.instances !== undefined && position.instances.size > 0 ? formatWriterPosition(position) : `s${position.stream}`;
}

/** Reads a position of several writers, `5` or `m5~1.7~2.9`. */
export function parseWriterPosition(text: string): WriterPosition {
  if (!text.startsWith("m")) return { stream: parseNumber(text) };
  const [first, ...rest] = text.slice(1).split("~");
  const instances = new Map<number, number>();
  for (const part of rest) {
    if (part === "") continue;
    const [instance, position, more] = part.split(".");
    if (position === undefined || more !== undefined) throw bad();
    instances.set(parseNumber(instance!), parseNumber(position));
  }
  return { stream: parseNumber(first!), instances };
}

/** The text of such a position. */
export function formatWriterPosition(position: WriterPosition): string {
  if (position.instances === undefined || position.instances.size === 0) return String(position.stream);
  return `m${position.stream}~${[...position.instances].map(([instance, at]) => `${instance}.${at}`).join("~")}`;
}

function parseNumber(text: string): number {
  if (!/^-?\d{1,16}$/.test(text)) throw bad();
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw bad();
  return value;
}

/** The position of everything that is visible now. `typing` comes from memory: its serial. */
export function currentToken(streams: Streams, typing: number): StreamToken {
  return {
    room: { stream: streams.events.currentToken() },
    presence: streams.presence.currentToken(),
    typing,
    receipt: { stream: streams.receipts.currentToken() },
    accountData: streams.accountData.currentToken(),
    pushRules: streams.pushRules.currentToken(),
    toDevice: streams.toDevice.currentToken(),
    deviceLists: { stream: streams.deviceLists.currentToken() },
    groups: 0,
    unPartialStatedRooms: streams.unPartialStatedRooms.currentToken(),
    threadSubscriptions: streams.threadSubscriptions.currentToken(),
    stickyEvents: streams.stickyEvents.currentToken(),
    quarantinedMedia: { stream: streams.quarantinedMedia.currentToken() },
    profileUpdates: streams.profileUpdates.currentToken(),
  };
}
