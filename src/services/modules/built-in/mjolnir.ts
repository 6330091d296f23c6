import type { ConfigReader } from "../../../config/reader.ts";
import { compileGlob } from "../../../protocol/glob.ts";
import { getDomain } from "../../../protocol/ids.ts";
import type { ModuleApi } from "../api.ts";
import type { ModuleEvent } from "../events.ts";

const RULES = {
  user: ["m.policy.rule.user", "m.room.rule.user", "org.matrix.mjolnir.rule.user"],
  room: ["m.policy.rule.room", "m.room.rule.room", "org.matrix.mjolnir.rule.room"],
  server: ["m.policy.rule.server", "m.room.rule.server", "org.matrix.mjolnir.rule.server"],
} as const;
type Kind = keyof typeof RULES;
const KINDS = Object.keys(RULES) as Kind[];
const ALL_TYPES: ReadonlySet<string> = new Set(Object.values(RULES).flat());
const BANS: ReadonlySet<string> = new Set(["m.ban", "org.matrix.mjolnir.ban"]);

interface Rule {
  readonly kind: Kind;
  readonly matches: (entity: string) => boolean;
  readonly bans: boolean;
}

/**
 * `mjolnir.Module`: policy lists (client-server API, "Moderation policy lists") in rooms that somebody of this server is in decide who may
 * invite and write, and who is found. @throws ConfigError
 */
export function mjolnirAntiSpam(config: ConfigReader, api: ModuleApi): void {
  const lists = new BanLists(api, config.strings("ban_lists"));
  const blockInvites = config.boolean("block_invites", true);
  const blockMessages = config.boolean("block_messages", false);
  const blockUsernames = config.boolean("block_usernames", false);
  const bansSender = async (userId: string): Promise<boolean> => (await lists.bans("user", userId)) || (await lists.bans("server", getDomain(userId)));
  api.register_spam_checker_callbacks({
    async check_event_for_spam(event) {
      if (event.state_key !== undefined && ALL_TYPES.has(event.type) && lists.has(event.room_id)) return api.NOT_SPAM;
      return blockMessages && (await bansSender(event.sender)) ? "M_FORBIDDEN" : api.NOT_SPAM;
    },
    async user_may_invite(inviter, _invitee, roomId) {
      return blockInvites && ((await bansSender(inviter)) || (await lists.bans("room", roomId))) ? "M_FORBIDDEN" : api.NOT_SPAM;
    },
    async check_username_for_spam({ user_id: userId, display_name: name }) {
      return blockUsernames && ((await lists.bans("user", userId)) || (name !== null && (await lists.bans("user", name))));
    },
  });
  api.register_third_party_rules_callbacks({
    on_new_event(event) {
      if (event.is_state() && ALL_TYPES.has(event.type)) lists.changed(event.room_id);
    },
  });
}

/** The rules of the lists, read when they are first needed and after each change. */
class BanLists {
  private readonly rules = new Map<string, Promise<readonly Rule[]>>();

  constructor(
    private readonly api: ModuleApi,
    private readonly roomIds: readonly string[],
  ) {}

  has(roomId: string): boolean {
    return this.roomIds.includes(roomId);
  }

  changed(roomId: string): void {
    this.rules.delete(roomId);
  }

  /** The first rule that fits decides. */
  async bans(kind: Kind, entity: string): Promise<boolean> {
    for (const roomId of this.roomIds) for (const rule of await this.rulesOf(roomId)) if (rule.kind === kind && rule.matches(entity)) return rule.bans;
    return false;
  }

  private async rulesOf(roomId: string): Promise<readonly Rule[]> {
    let rules = this.rules.get(roomId);
    if (rules === undefined) {
      rules = this.read(roomId);
      this.rules.set(roomId, rules);
      rules.catch(() => this.rules.delete(roomId));
    }
    return await rules;
  }

  private async read(roomId: string): Promise<Rule[]> {
    const types = [...ALL_TYPES].map((type) => [type, undefined] as const);
    return (await this.api.get_state_events_in_room(roomId, types)).flatMap((event) => ruleOf(event) ?? []);
  }
}

function ruleOf({ type, content }: ModuleEvent): Rule | undefined {
  const { entity, recommendation, reason } = content;
  const kind = KINDS.find((candidate) => (RULES[candidate] as readonly string[]).includes(type));
  if (kind === undefined || typeof entity !== "string" || typeof recommendation !== "string" || typeof reason !== "string") return undefined;
  const glob = compileGlob(entity);
  return { kind, matches: (value) => glob.matches(value), bans: BANS.has(recommendation) };
}
