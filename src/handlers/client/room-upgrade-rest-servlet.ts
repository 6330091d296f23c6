import { missingParam } from "../../protocol/errors.ts";
import { ShadowBanned } from "../../services/events/send.ts";
import { parseCreators, parseVersion } from "../../services/rooms/creation-request.ts";
import { upgradeRoom } from "../../services/rooms/upgrade.ts";
import { endpoint } from "../http/endpoint.ts";

export const postUpgrade = endpoint({
  servlet: "RoomUpgradeRestServlet",
  method: "POST",
  path: "/_matrix/client/(r0|v3|unstable)/rooms/:roomId/upgrade",
  auth: "user",
  emptyBody: false,
  async handle(ctx, { requester, params, body }) {
    if (body.new_version === undefined) throw missingParam("Missing params: ['new_version']");
    const version = parseVersion(ctx, body.new_version);
    const creators =
      version.creatorsHavePower && body.additional_creators !== undefined && body.additional_creators !== null
        ? parseCreators(body.additional_creators)
        : undefined;
    try {
      return { replacement_room: await upgradeRoom(ctx, requester, params.roomId, version, creators) };
    } catch (error) {
      // Shadow-banned users are not to know.
      if (!(error instanceof ShadowBanned)) throw error;
      return { replacement_room: ctx.random.letters(18) };
    }
  },
});

export const upgradeRoutes = [postUpgrade];
