import type { ConfigReader } from "../reader.ts";

/** Who may create aliases and publish rooms (`roomdirectory`). */
export type RoomDirectoryConfig = ReturnType<typeof parseRoomDirectory>;

/** The first rule whose globs all match decides. */
export interface RoomDirectoryRule {
  readonly userId: string;
  readonly alias: string;
  readonly roomId: string;
  readonly action: "allow" | "deny";
}

export function parseRoomDirectory(raw: ConfigReader) {
  return {
    enableRoomListSearch: raw.boolean("enable_room_list_search", true),
    /** When none matches: deny. */
    aliasCreationRules: parseRules(raw, "alias_creation_rules") ?? [{ userId: "*", alias: "*", roomId: "*", action: "allow" as const }],
    /** When none matches: deny. */
    roomListPublicationRules: parseRules(raw, "room_list_publication_rules") ?? [],
  };
}

function parseRules(raw: ConfigReader, key: string): RoomDirectoryRule[] | undefined {
  return raw.optionalObjects(key)?.map((reader) => {
    const action = reader.oneOf("action", ["allow", "deny"]);
    const rule = { userId: reader.string("user_id", "*"), alias: reader.string("alias", "*"), roomId: reader.string("room_id", "*") };
    if (action === undefined) throw reader.wrong("action", "allow or deny (the option is required)");
    return { ...rule, action };
  });
}
