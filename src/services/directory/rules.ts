import type { RoomDirectoryRule } from "../../config/sections/room-directory.ts";
import { compileGlob } from "../../protocol/glob.ts";
import type { Context } from "../context.ts";

type Needs = Pick<Context, "config">;

/** Whether `alias_creation_rules` let the user make that alias for the room. */
export function mayCreateAlias(ctx: Needs, userId: string, roomId: string, alias: string): boolean {
  return allowed(ctx.config.roomDirectory.aliasCreationRules, userId, roomId, [alias]);
}

/** Whether `room_list_publication_rules` let the user put a room with these aliases into the directory. */
export function mayPublish(ctx: Needs, userId: string, roomId: string, aliases: readonly string[]): boolean {
  return allowed(ctx.config.roomDirectory.roomListPublicationRules, userId, roomId, aliases);
}

/** The first rule that matches decides; without one the answer is no. A room without aliases matches only rules for any alias. */
function allowed(rules: readonly RoomDirectoryRule[], userId: string, roomId: string, aliases: readonly string[]): boolean {
  const rule = rules.find(
    (candidate) =>
      matches(candidate.userId, userId) &&
      matches(candidate.roomId, roomId) &&
      (candidate.alias === "*" || aliases.some((alias) => matches(candidate.alias, alias))),
  );
  return rule?.action === "allow";
}

const matches = (glob: string, text: string): boolean => compileGlob(glob.toLowerCase()).matches(text.toLowerCase());
