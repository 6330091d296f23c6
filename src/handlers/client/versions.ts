import type { Config } from "../../config/config.ts";
import { endpoint } from "../http/endpoint.ts";
import { Reply } from "../http/reply.ts";

/** Versions of the specification, as Synapse 1.160 names them. */
const VERSIONS = [
  "r0.0.1",
  "r0.1.0",
  "r0.2.0",
  "r0.3.0",
  "r0.4.0",
  "r0.5.0",
  "r0.6.0",
  "r0.6.1",
  ...Array.from({ length: 12 }, (_, index) => `v1.${index + 1}`),
];

/** What this server speaks; a user's own experimental features count when there is a token. */
export const versions = endpoint({
  servlet: "VersionsRestServlet",
  method: "GET",
  path: "/_matrix/client/versions",
  auth: "optional",
  allowLocked: true,
  allowExpired: true,
  async handle(ctx, { requester }) {
    const own = requester === undefined ? new Set<string>() : await ctx.features.ofUser(requester.userId);
    const headers = {
      Vary: "Authorization",
      ...(requester === undefined ? { "Cache-Control": "public, max-age=600, s-maxage=3600, stale-while-revalidate=600" } : {}),
    };
    return new Reply(200, { versions: VERSIONS, unstable_features: unstableFeatures(ctx.config, own) }, headers);
  },
});

/** @param own features that are on for the user who asks */
export function unstableFeatures(config: Config, own: ReadonlySet<string>): Record<string, boolean> {
  const { auth, experimental, room, server } = config;
  const encrypted = room.encryptionEnabledByDefaultForRoomPresets;
  return {
    "org.matrix.label_based_filtering": true,
    "org.matrix.e2e_cross_signing": true,
    "org.matrix.msc2432": true,
    "uk.half-shot.msc2666.query_mutual_rooms.stable": true,
    "io.element.e2ee_forced.public": encrypted.includes("public_chat"),
    "io.element.e2ee_forced.private": encrypted.includes("private_chat"),
    "io.element.e2ee_forced.trusted_private": encrypted.includes("trusted_private_chat"),
    "org.matrix.msc3026.busy_presence": experimental.msc3026Enabled,
    "org.matrix.msc2285.stable": true,
    "org.matrix.msc3827.stable": true,
    "org.matrix.msc3440.stable": true,
    "org.matrix.msc3771": true,
    "org.matrix.msc3773": experimental.msc3773Enabled,
    "fi.mau.msc2815": experimental.msc2815Enabled,
    "fi.mau.msc2659.stable": true,
    "org.matrix.msc3882": auth.loginViaExistingEnabled,
    "org.matrix.msc3881": experimental.msc3881Enabled || own.has("msc3881"),
    "org.matrix.msc3874": experimental.msc3874Enabled,
    "org.matrix.msc3912": experimental.msc3912Enabled,
    "org.matrix.msc3981": true,
    "org.matrix.msc3391": experimental.msc3391Enabled,
    "org.matrix.msc4069": experimental.msc4069ProfileInhibitPropagation,
    "org.matrix.msc4028": experimental.msc4028PushEncryptedEvents,
    "org.matrix.msc4108": experimental.msc4108Enabled || experimental.msc4108DelegationEndpoint !== undefined,
    "org.matrix.msc4140": server.msc4140Enabled,
    "org.matrix.simplified_msc3575": experimental.msc3575Enabled || own.has("msc3575"),
    "uk.tcpip.msc4133": experimental.msc4133Enabled,
    "uk.tcpip.msc4133.stable": true,
    "org.matrix.msc4155": experimental.msc4155Enabled,
    "org.matrix.msc4306": experimental.msc4306Enabled,
    "com.beeper.msc4169": experimental.msc4169Enabled,
    "org.matrix.msc4262": server.includeProfileUpdatesInSync,
    "org.matrix.msc4354": experimental.msc4354Enabled,
    "org.matrix.msc4380.stable": true,
    "org.matrix.msc4429": server.includeProfileUpdatesInSync,
    "org.matrix.msc4445.initial_sync_timeline_topological_ordering": true,
    "uk.timedout.msc4491.create_room_invite_reasons": experimental.msc4491Enabled,
    "org.matrix.msc4143": experimental.msc4143Enabled,
    "com.beeper.msc4446": experimental.msc4446Enabled,
    "io.element.msc4502": experimental.msc4502Enabled,
  };
}
