import type { ConfigReader } from "../reader.ts";

/** Searching users (`userdirectory`). */
export type UserDirectoryConfig = ReturnType<typeof parseUserDirectory>;

export function parseUserDirectory(root: ConfigReader) {
  const raw = root.object("user_directory");
  return {
    enabled: raw.boolean("enabled", true),
    searchAllUsers: raw.boolean("search_all_users", false),
    excludeRemoteUsers: raw.boolean("exclude_remote_users", false),
    preferLocalUsers: raw.boolean("prefer_local_users", false),
    showLockedUsers: raw.boolean("show_locked_users", false),
  };
}
