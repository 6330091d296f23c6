import type { Config } from "../../config/config.ts";
import { KNOWN_ROOM_VERSIONS, SUPPORTED_ROOM_VERSIONS } from "../../protocol/room-versions.ts";
import { canChangePassword } from "../../services/accounts/change-password.ts";
import { endpoint } from "../http/endpoint.ts";

/** What users may do here. */
export const capabilities = endpoint({
  servlet: "CapabilitiesRestServlet",
  method: "GET",
  path: "/_matrix/client/(r0|v3|unstable)/capabilities",
  auth: "guest",
  async handle(ctx, { requester }) {
    const moderation = (await ctx.isServerAdmin(requester)) && { "m.account_moderation": { suspend: true, lock: true } };
    return { capabilities: { ...capabilitiesOf(ctx.config), ...moderation } };
  },
});

function capabilitiesOf(config: Config): Record<string, unknown> {
  const { auth, experimental, registration, room, server } = config;
  const { enableSetDisplayname, enableSetAvatarUrl } = registration;
  const disallowed = [...(enableSetDisplayname ? [] : ["displayname"]), ...(enableSetAvatarUrl ? [] : ["avatar_url"])];
  const profileFields = { enabled: true, ...(disallowed.length > 0 ? { disallowed } : {}) };
  return {
    "m.room_versions": {
      default: server.defaultRoomVersion,
      available: Object.fromEntries(
        KNOWN_ROOM_VERSIONS.filter(({ id }) => isOffered(id, config)).map(({ id, stable }) => [id, stable ? "stable" : "unstable"]),
      ),
    },
    "m.change_password": { enabled: canChangePassword({ config }) },
    "m.set_displayname": { enabled: enableSetDisplayname },
    "m.set_avatar_url": { enabled: enableSetAvatarUrl },
    "m.3pid_changes": { enabled: registration.enable3pidChanges },
    "m.get_login_token": { enabled: auth.loginViaExistingEnabled },
    "m.profile_fields": profileFields,
    "org.matrix.msc4140.delayed_events": { max_delay_ms: server.maxEventDelayDurationMs, max_scheduled: server.maxDelayedEventsPerUser },
    ...(experimental.msc4452Enabled ? { "io.element.msc4452.preview_url": { enabled: config.media.urlPreview.enabled } } : {}),
    ...(experimental.msc3720Enabled ? { "org.matrix.msc3720.account_status": { enabled: true } } : {}),
    ...(experimental.msc3664Enabled ? { "im.nheko.msc3664.related_event_match": { enabled: true } } : {}),
    ...(experimental.msc4133Enabled ? { "uk.tcpip.msc4133.profile_fields": profileFields } : {}),
    ...(experimental.msc4267Enabled ? { "org.matrix.msc4267.forget_forced_upon_leave": { enabled: room.forgetRoomsOnLeave } } : {}),
  };
}

function isOffered(id: string, { experimental }: Config): boolean {
  return (
    SUPPORTED_ROOM_VERSIONS.includes(id) ||
    (id === "org.matrix.msc1767.10" && experimental.msc1767Enabled) ||
    (id === "org.matrix.msc4242.12" && experimental.msc4242Enabled)
  );
}
