import { MatrixError } from "../../protocol/errors.ts";
import { isRoomAlias, isRoomId } from "../../protocol/ids.ts";
import type { Context } from "../context.ts";
import { resolveAlias } from "../directory/aliases.ts";

/**
 * The room that a client names by id or alias, with servers that may help to reach it: those given, or those of the alias.
 * @throws MatrixError 400 when it is neither; 404 for an unknown alias
 */
export async function resolveRoom(
  ctx: Context,
  identifier: string,
  via: readonly string[] | undefined,
): Promise<{ roomId: string; servers: readonly string[] | undefined }> {
  if (isRoomId(identifier)) return { roomId: identifier, servers: via };
  if (isRoomAlias(identifier)) {
    const { roomId, servers } = await resolveAlias(ctx, identifier);
    return { roomId, servers };
  }
  throw new MatrixError(400, "M_UNKNOWN", `${identifier} was not legal room ID or room alias`);
}
