import type { ConfigReader } from "../reader.ts";

/** The user and the room by which the server speaks to users (`servernotices`). */
export type ServerNoticesConfig = ReturnType<typeof parseServerNotices>;

export function parseServerNotices(root: ConfigReader, serverName: string) {
  const raw = root.optionalObject("server_notices");
  const reader = raw ?? root.object("server_notices");
  const localpart = reader.string("system_mxid_localpart");
  if (raw !== undefined && localpart === undefined) throw reader.wrong("system_mxid_localpart", "a localpart (the option is required)");
  return {
    /** undefined: server notices are off. */
    userId: localpart === undefined ? undefined : `@${localpart}:${serverName}`,
    displayName: reader.string("system_mxid_display_name"),
    avatarUrl: reader.string("system_mxid_avatar_url"),
    roomName: reader.string("room_name", "Server Notices"),
    roomAvatarUrl: reader.string("room_avatar_url"),
    roomTopic: reader.string("room_topic"),
    autoJoin: reader.boolean("auto_join", false),
  };
}
