import type { RoomPreset } from "../../config/sections/room.ts";
import type { JsonObject } from "../../lib/json.ts";

/** What a preset of /createRoom stands for (client-server API, "Creation"). */
export interface Preset {
  readonly joinRule: "invite" | "public";
  readonly historyVisibility: "shared";
  readonly guestsCanJoin: boolean;
  /** Those who are invited at the creation get the power of the creator. */
  readonly inviteesHavePower: boolean;
  readonly powerLevels: JsonObject;
}

const PRESETS: Readonly<Record<RoomPreset, Preset>> = {
  private_chat: { joinRule: "invite", historyVisibility: "shared", guestsCanJoin: true, inviteesHavePower: false, powerLevels: { invite: 0 } },
  trusted_private_chat: { joinRule: "invite", historyVisibility: "shared", guestsCanJoin: true, inviteesHavePower: true, powerLevels: { invite: 0 } },
  // As Synapse: calls ring for everybody.
  public_chat: { joinRule: "public", historyVisibility: "shared", guestsCanJoin: false, inviteesHavePower: false, powerLevels: { "m.call.invite": 50 } },
};

export const isPreset = (name: unknown): name is RoomPreset => typeof name === "string" && Object.hasOwn(PRESETS, name);
export const presetOf = (name: RoomPreset): Preset => PRESETS[name];

/** Power levels of a new room, before any override. `creatorsHavePower`: room version 12, where creators stand above the numbers. */
export function defaultPowerLevels(preset: Preset, creator: string, invitees: readonly string[], creatorsHavePower: boolean): JsonObject {
  const users: JsonObject = creatorsHavePower ? {} : { [creator]: 100 };
  if (preset.inviteesHavePower && !creatorsHavePower) for (const userId of invitees) users[userId] = 100;
  return {
    users,
    users_default: 0,
    events: {
      "m.room.name": 50,
      "m.room.power_levels": 100,
      "m.room.history_visibility": 100,
      "m.room.canonical_alias": 50,
      "m.room.avatar": 50,
      "m.room.tombstone": creatorsHavePower ? 150 : 100,
      "m.room.server_acl": 100,
      "m.room.encryption": 100,
    },
    events_default: 0,
    state_default: 50,
    ban: 50,
    kick: 50,
    redact: 50,
    invite: 50,
    historical: 100,
    ...preset.powerLevels,
  };
}
