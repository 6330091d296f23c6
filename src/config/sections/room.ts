import type { ConfigReader } from "../reader.ts";

/** Rooms that users create (`room`). */
export type RoomConfig = ReturnType<typeof parseRoom>;

export type RoomPreset = "private_chat" | "trusted_private_chat" | "public_chat";
const ENCRYPTED: Readonly<Record<string, readonly RoomPreset[]>> = {
  all: ["private_chat", "trusted_private_chat", "public_chat"],
  invite: ["private_chat", "trusted_private_chat"],
  off: [],
};

export function parseRoom(raw: ConfigReader) {
  // `off` without quotes is false in YAML.
  const kind = raw.oneOf("encryption_enabled_by_default_for_room_type", ["all", "invite", "off", false], "off");
  const override = raw.rawObject("default_power_level_content_override") ?? {};
  for (const preset of Object.keys(override)) {
    if (!ENCRYPTED["all"]!.includes(preset as RoomPreset)) {
      throw raw.error("default_power_level_content_override", `found ${preset}, wanted presets out of ${ENCRYPTED["all"]!.join(", ")}`);
    }
  }
  return {
    encryptionEnabledByDefaultForRoomPresets: ENCRYPTED[kind === false ? "off" : kind]!,
    /** Content of m.room.power_levels that replaces the preset's; null: nothing replaced. */
    defaultPowerLevelContentOverride: override as Partial<Record<RoomPreset, Record<string, unknown> | null>>,
    forgetRoomsOnLeave: raw.boolean("forget_rooms_on_leave", false),
  };
}
