import { isJsonObject, type Json, type JsonObject } from "../../../lib/json.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import { buildEvent } from "../../../protocol/event/build.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { MAX_DEPTH } from "../../../protocol/event/format.ts";
import { isEventId, isUserId } from "../../../protocol/ids.ts";
import { KNOWN_ROOM_VERSIONS, roomVersion, type RoomVersion } from "../../../protocol/room-versions.ts";
import type { Context } from "../../context.ts";
import { askServers, BadAnswer } from "../remote-error.ts";

export type TemplateContext = Pick<Context, "clock" | "config" | "federationClient" | "log" | "random" | "signingKeys">;

export interface OwnMembership {
  readonly roomId: string;
  readonly userId: string;
  readonly membership: "join" | "leave" | "knock";
  readonly servers: readonly string[];
  readonly content: JsonObject;
}

const MAX_PREVS = 20;
const MAX_AUTH = 10;
const MAX_TEMPLATE_BYTES = 256 * 1024;
const AUTHORISER = "join_authorised_via_users_server";

/**
 * A membership event of a local user for a room that this server is not in, made with the help of a server that is (`/make_join` and its like),
 * and signed. Of what that server proposes only the place in the history is taken, and who vouches for the join: all else is ours
 * (CVE-2026-24471).
 * @throws MatrixError
 */
export async function makeMembership(ctx: TemplateContext, wanted: OwnMembership): Promise<{ server: string; version: RoomVersion; event: MatrixEvent }> {
  const { roomId, userId, membership } = wanted;
  const failoverErrcodes = ["M_NOT_FOUND", ...(membership === "join" ? ["M_UNABLE_TO_AUTHORISE_JOIN", "M_UNABLE_TO_GRANT_JOIN"] : [])];
  const versions = KNOWN_ROOM_VERSIONS.filter((version) => !version.stateDag).map((version) => version.id);
  return await askServers(
    ctx,
    `make_${membership}`,
    wanted.servers,
    async (server) => {
      const answer = await ctx.federationClient.requestObject({
        method: "GET",
        destination: server,
        path: `/_matrix/federation/v1/make_${membership}/${encodeURIComponent(roomId)}/${encodeURIComponent(userId)}`,
        ...(membership === "leave" ? {} : { query: { ver: versions } }),
        maxBytes: MAX_TEMPLATE_BYTES,
      });
      const version = versionOf(answer.room_version);
      if (membership === "knock" && !version.knocking) throw new MatrixError(400, "M_FORBIDDEN", "This room version does not support knocking");
      if (!isJsonObject(answer.event)) throw new BadAnswer("Bad 'event' field in response");
      return { server, version, event: complete(ctx, wanted, version, answer.event) };
    },
    { failoverErrcodes },
  );
}

/** Without a version the room is of the first or second, whose events are alike. */
function versionOf(id: Json | undefined): RoomVersion {
  const version = id === undefined ? roomVersion("1") : typeof id === "string" ? roomVersion(id) : undefined;
  if (version === undefined || version.stateDag) throw new MatrixError(400, "M_UNSUPPORTED_ROOM_VERSION", "Homeserver does not support this room version");
  return version;
}

function complete(ctx: TemplateContext, wanted: OwnMembership, version: RoomVersion, template: JsonObject): MatrixEvent {
  const prevs = references(template.prev_events, version, MAX_PREVS);
  const auth = references(template.auth_events, version, MAX_AUTH);
  const { depth } = template;
  const isDepth = (typeof depth === "number" && Number.isSafeInteger(depth) && depth >= 0) || (typeof depth === "bigint" && depth >= 0n && depth <= MAX_DEPTH);
  if (prevs.size === 0 || !isDepth) throw new BadAnswer("The proposed event has no place in the room's history");
  const proposed = isJsonObject(template.content) ? template.content[AUTHORISER] : undefined;
  const vouched = wanted.membership === "join" && version.restrictedJoins && isUserId(proposed) ? { [AUTHORISER]: proposed } : {};
  const { [AUTHORISER]: _, ...content } = wanted.content;
  const hashes = new Map([...prevs, ...auth]);
  return buildEvent(
    {
      roomVersion: version,
      roomId: wanted.roomId,
      type: "m.room.member",
      stateKey: wanted.userId,
      sender: wanted.userId,
      content: { ...content, ...vouched, membership: wanted.membership },
      originServerTs: ctx.clock.now(),
      depth,
      prevEventIds: [...prevs.keys()],
      authEventIds: [...auth.keys()],
      ...(version.eventFormat === 1
        ? {
            eventId: `$${Math.floor(ctx.clock.now() / 1000)}${ctx.random.below(1_000_000)}${ctx.random.letters(5)}:${ctx.config.server.serverName}`,
            referenceHash: (id: string) => hashes.get(id),
          }
        : {}),
    },
    ctx.config.server.serverName,
    ctx.signingKeys.slice(0, 1),
  );
}

/** Event ids, in old room versions with their hashes. @throws BadAnswer */
function references(value: Json | undefined, version: RoomVersion, most: number): Map<string, string | undefined> {
  if (!Array.isArray(value) || value.length > most) throw new BadAnswer("The proposed event has a bad list of events");
  const found = new Map<string, string | undefined>();
  for (const item of value) {
    const id = version.eventFormat === 1 && Array.isArray(item) ? item[0] : item;
    if (!isEventId(id)) throw new BadAnswer("The proposed event refers to what is no event");
    const hashes = version.eventFormat === 1 && Array.isArray(item) && isJsonObject(item[1]) ? item[1] : {};
    found.set(id, typeof hashes.sha256 === "string" ? hashes.sha256 : undefined);
  }
  return found;
}
