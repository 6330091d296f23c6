import type { JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { AliasTarget } from "../../storage/rooms/aliases.ts";
import type { Requester } from "../requester.ts";

/**
 * What rooms need of other servers. Federation provides it; `noRemoteRooms` stands in where the server does not federate.
 */
export interface RemoteRooms {
  /** Where an alias of another server points; undefined when that server does not know it. @throws MatrixError 502 when it does not answer */
  resolveAlias(alias: string): Promise<AliasTarget | undefined>;
  /** A page of another server's room directory, as it came. @throws MatrixError 502 */
  publicRooms(server: string, request: RemotePublicRooms): Promise<JsonObject>;
  /** Joins a room through one of the servers, and stores the room. `content` is that of the member event. @throws MatrixError */
  join(request: RemoteMembership): Promise<{ eventId: string }>;
  /** Knocks on a room through one of the servers. @throws MatrixError */
  knock(request: RemoteMembership): Promise<{ eventId: string }>;
  /** Asks the invited user's server to take a new invite; returns its signatures by server name. @throws MatrixError when it refuses */
  sendInvite(invite: MatrixEvent): Promise<JsonObject>;
  /** Tells the inviting server that the invite is rejected, and stores the leave event. Rejects when it cannot: the leave is made here then. */
  rejectInvite(request: { requester: Requester; invite: MatrixEvent; content: JsonObject }): Promise<{ eventId: string }>;
  /** Fetches history before `depth`; true when something new was stored. Never fails. */
  backfill(roomId: string, depth: number | bigint, limit: number): Promise<boolean>;
  /** The event that other servers in the room have closest to a time; it is stored before the answer. undefined when nobody knows one. */
  eventNearTime(request: { roomId: string; timestamp: number; backwards: boolean }): Promise<{ eventId: string; originServerTs: number } | undefined>;
  /** A room and its children as another server describes them; undefined when none of the servers answers. */
  hierarchy(request: { roomId: string; servers: readonly string[]; suggestedOnly: boolean }): Promise<RemoteHierarchy | undefined>;
  /** How complex a room is by the word of the servers in it (1 and more: too complex for small servers); undefined when they do not tell. */
  complexity(roomId: string, servers: readonly string[]): Promise<number | undefined>;
  /** Trades a signed third-party invite token for an invite. @throws MatrixError */
  exchangeThirdPartyInvite(request: { roomId: string; userId: string; signed: JsonObject }): Promise<void>;
}

export interface RemoteMembership {
  readonly requester: Requester;
  readonly userId: string;
  readonly roomId: string;
  readonly servers: readonly string[];
  readonly content: JsonObject;
}

export interface RemotePublicRooms {
  readonly limit: number | undefined;
  readonly since: string | undefined;
  readonly filter: JsonObject | undefined;
  readonly allNetworks: boolean;
  readonly thirdPartyInstanceId: string | undefined;
}

export interface RemoteHierarchy {
  /** With `children_state` and, where the room's joins are restricted, `allowed_room_ids`. */
  readonly room: JsonObject;
  readonly children: ReadonlyMap<string, JsonObject>;
  readonly inaccessibleChildren: ReadonlySet<string>;
}

const nobody = (): Promise<never> => Promise.reject(new MatrixError(404, "M_UNKNOWN", "No known servers"));
const unreachable = (what: string) => (): Promise<never> => Promise.reject(new MatrixError(502, "M_UNKNOWN", `Failed to fetch ${what}`));

export const noRemoteRooms: RemoteRooms = {
  resolveAlias: unreachable("alias"),
  publicRooms: unreachable("room list"),
  join: nobody,
  knock: nobody,
  sendInvite: () => Promise.reject(new MatrixError(403, "M_FORBIDDEN", "This server does not federate")),
  rejectInvite: nobody,
  backfill: () => Promise.resolve(false),
  eventNearTime: () => Promise.resolve(undefined),
  hierarchy: () => Promise.resolve(undefined),
  complexity: () => Promise.resolve(undefined),
  exchangeThirdPartyInvite: nobody,
};
