import { localpartOf } from "../../protocol/ids.ts";
import type { RuleSet } from "../../protocol/push-rules/rule-set.ts";
import { usersWithPushers } from "../../storage/push/pushers.ts";
import type { Context } from "../context.ts";

/** The local members of a large room as the evaluation of push rules sees them: by the rules they share. */
export interface Audience {
  /** Users without a pusher, by their rules; the lists are the same objects as long as nothing changes. */
  readonly crowds: ReadonlyMap<RuleSet, readonly string[]>;
  /** Users with a pusher, who always get rows. */
  readonly withPushers: readonly { readonly userId: string; readonly rules: RuleSet }[];
  /** What a text must hold to name the user, in lower case. */
  readonly names: readonly { readonly userId: string; readonly rules: RuleSet; readonly localpart: string; readonly displayName: string | undefined }[];
}

interface Held {
  readonly version: string;
  readonly audience: Promise<Audience>;
}

export type AudienceContext = Pick<Context, "appservices" | "members" | "pushRules" | "read" | "streams">;

const KEPT_ROOMS = 200;

/** Audiences of large rooms, kept while neither members nor rules nor pushers change. */
export class Audiences {
  private readonly rooms = new Map<string, Held>();

  async of(ctx: AudienceContext, roomId: string): Promise<Audience> {
    const members = await ctx.members.inRoom(roomId);
    const version = `${members.version} ${ctx.streams.pushRules.currentToken()} ${ctx.streams.pushers.currentToken()}`;
    const held = this.rooms.get(roomId);
    this.rooms.delete(roomId);
    const audience = held?.version === version ? held.audience : load(ctx, roomId, [...members.local]);
    this.rooms.set(roomId, { version, audience });
    for (const oldest of this.rooms.keys()) {
      if (this.rooms.size <= KEPT_ROOMS) break;
      this.rooms.delete(oldest);
    }
    audience.catch(() => this.rooms.delete(roomId));
    return await audience;
  }
}

async function load(ctx: AudienceContext, roomId: string, local: readonly string[]): Promise<Audience> {
  const services = ctx.appservices.all();
  const userIds = services.length === 0 ? local : local.filter((userId) => !services.some((service) => service.ownsUser(userId)));
  const [rules, profiles, pushed] = await Promise.all([
    ctx.pushRules.forUsers(userIds),
    ctx.members.localProfiles(roomId),
    usersWithPushers(ctx.read, userIds),
  ]);
  const crowds = new Map<RuleSet, string[]>();
  const withPushers: { userId: string; rules: RuleSet }[] = [];
  const names: Audience["names"][number][] = [];
  for (const userId of userIds) {
    const ruleSet = rules.get(userId);
    if (ruleSet === undefined) continue;
    names.push({ userId, rules: ruleSet, localpart: localpartOf(userId).toLowerCase(), displayName: profiles.get(userId)?.displayName?.toLowerCase() });
    if (pushed.has(userId)) withPushers.push({ userId, rules: ruleSet });
    else {
      const list = crowds.get(ruleSet);
      if (list === undefined) crowds.set(ruleSet, [userId]);
      else list.push(userId);
    }
  }
  return { crowds, withPushers, names };
}
