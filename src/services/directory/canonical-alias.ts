import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { isRoomAlias } from "../../protocol/ids.ts";
import { resolveAlias } from "./aliases.ts";
import type { Context } from "../context.ts";
import type { BuiltEvent } from "../events/create.ts";

/**
 * New aliases in m.room.canonical_alias must point to the room.
 * @throws MatrixError 400 M_BAD_ALIAS or M_INVALID_PARAM
 */
export async function checkCanonicalAlias(
  ctx: Pick<Context, "appservices" | "config" | "events" | "members" | "read" | "remoteRooms">,
  { event, before }: BuiltEvent,
): Promise<void> {
  if (event.type !== "m.room.canonical_alias" || event.stateKey === undefined) return;
  const oldId = before?.map.get("m.room.canonical_alias\u0000");
  const old = oldId === undefined ? undefined : (await ctx.events.one(oldId))?.content;
  const { alias, alt_aliases: alternatives = [] } = event.content;
  if (alias !== undefined && alias !== null && alias !== "" && alias !== old?.alias) {
    if (typeof alias !== "string") throw invalidParam("The alias must be of type string.");
    await requirePointsHere(ctx, alias, event.roomId);
  }
  if (!Array.isArray(alternatives)) throw invalidParam("The alt_aliases property must be a list.");
  const known = new Set(Array.isArray(old?.alt_aliases) ? old.alt_aliases : []);
  for (const alternative of alternatives) {
    if (known.has(alternative)) continue;
    if (typeof alternative !== "string") throw invalidParam("Each alt_alias must be of type string.");
    await requirePointsHere(ctx, alternative, event.roomId);
  }
}

async function requirePointsHere(
  ctx: Pick<Context, "appservices" | "config" | "members" | "read" | "remoteRooms">,
  alias: string,
  roomId: string,
): Promise<void> {
  if (!isRoomAlias(alias)) throw invalidParam(`${alias} was not legal alias`);
  const refusal = new MatrixError(400, "M_BAD_ALIAS", `Room alias ${alias} does not point to the room`);
  const target = await resolveAlias(ctx, alias).catch((error: unknown) => {
    throw error instanceof MatrixError && error.errcode === "M_NOT_FOUND" ? refusal : error;
  });
  if (target.roomId !== roomId) throw refusal;
}
