import { isJsonObject, type Json } from "../../lib/json.ts";
import { type MatrixEvent, stateKeyOf } from "../../protocol/event/event.ts";
import { localpartOf } from "../../protocol/ids.ts";
import type { PowerLevels } from "../../protocol/power-levels.ts";
import { PushEvent, type RelatedEvent } from "../../protocol/push-rules/push-event.ts";
import type { RuleSet } from "../../protocol/push-rules/rule-set.ts";
import { clientVisibility } from "../../protocol/visibility.ts";
import { isHighlight, storedActions } from "../../protocol/push-rules/actions.ts";
import type { PushAction } from "../../storage/push/actions.ts";
import { threadSubscribers } from "../../storage/push/thread-subscriptions.ts";
import type { State } from "../../storage/state/snapshot.ts";
import { inviteRules } from "../account-data/invite-rules.ts";
import type { Context } from "../context.ts";
import type { CrowdNotice } from "../push/crowds.ts";

export type PushContext = Pick<Context, "appservices" | "clock" | "config" | "events" | "ignoredUsers" | "members" | "pushRules" | "read" | "state">;

export type CrowdContext = PushContext & Pick<Context, "audiences" | "streams">;

export interface PushInput {
  readonly event: MatrixEvent;
  /** The state before the event; undefined for outliers. */
  readonly before: State | undefined;
  /** In force before the event; undefined for outliers. */
  readonly levels: PowerLevels | undefined;
  /** Events that are not stored yet. */
  readonly atHand?: (eventId: string) => MatrixEvent | undefined;
}

/**
 * Whom an event notifies: the outcome of the push rules of all local users concerned. The rules are run once for each distinct set of
 * them; again for those users alone whom the event may mean in person.
 */
export async function evaluatePush(ctx: PushContext, input: PushInput): Promise<PushAction[]> {
  const { event } = input;
  const { config } = ctx;
  const isOutOfBand = event.outlier && event.internal.out_of_band_membership === true;
  if ((event.outlier && !isOutOfBand) || event.rejectedReason !== undefined || event.internal.soft_failed === true) return [];
  if (!isNotifiable(ctx, event)) return [];
  const userIds = await usersConcerned(ctx, event);
  if (userIds.length === 0) return [];

  const countsAsUnread = config.experimental.msc2654Enabled && isUnreadWorthy(event);
  const [rules, members, profiles, threadId, related] = await Promise.all([
    ctx.pushRules.forUsers(userIds),
    ctx.members.joined(event.roomId),
    ctx.members.localProfiles(event.roomId),
    threadOf(ctx, input),
    config.experimental.msc3664Enabled ? relatedEvents(ctx, input) : undefined,
  ]);
  const pushEvent = new PushEvent(event, { memberCount: members.size, levels: input.levels, ...(related && { related }) });
  const subscribers = config.experimental.msc4306Enabled && threadId !== "main" ? await threadSubscribers(ctx.read, event.roomId, threadId) : undefined;
  const mentions = mentionedUsers(event);
  const body = pushEvent.body.toLowerCase();
  const outcomes = new Map<RuleSet, Outcome>();
  const actions: PushAction[] = [];
  for (const userId of userIds) {
    const ruleSet = rules.get(userId);
    if (ruleSet === undefined) continue;
    const displayName =
      profiles.get(userId)?.displayName ?? (event.stateKey === userId && typeof event.content.displayname === "string" ? event.content.displayname : undefined);
    let outcome: Outcome;
    if (subscribers !== undefined || event.stateKey === userId || mentions.has(userId) || mayName(body, userId, displayName)) {
      outcome = outcomeOf(ruleSet.evaluate(pushEvent, { userId, displayName, threadSubscription: subscribers?.has(userId) }));
    } else {
      outcome = outcomes.get(ruleSet) ?? outcomeOf(ruleSet.evaluate(pushEvent, NOBODY));
      outcomes.set(ruleSet, outcome);
    }
    if (outcome.notif || countsAsUnread) actions.push({ userId, ...(outcome.notif ? outcome : SILENT), unread: countsAsUnread, threadId });
  }
  return actions.length === 0 ? actions : await onlyVisible(ctx, input, actions);
}

/** As `evaluatePush`, in rooms with many local members in the form that takes no row for each of them. */
export async function evaluatePushForAll(ctx: CrowdContext, input: PushInput): Promise<{ push: readonly PushAction[]; crowd: readonly CrowdNotice[] }> {
  const { event, before } = input;
  const members = await ctx.members.inRoom(event.roomId);
  const isPlain = before !== undefined && event.type !== "m.room.member" && event.rejectedReason === undefined && event.internal.soft_failed !== true;
  const isInThread = ctx.config.experimental.msc4306Enabled && (await threadOf(ctx, input)) !== "main";
  if (
    !isCrowd(members.local) ||
    isInThread ||
    !isPlain ||
    !isNotifiable(ctx, event) ||
    ctx.config.experimental.msc2654Enabled ||
    !(await isSeenByAllJoined(ctx, input))
  ) {
    return { push: await evaluatePush(ctx, input), crowd: [] };
  }
  const [audience, threadId, related, ignorers] = await Promise.all([
    ctx.audiences.of(ctx, event.roomId),
    threadOf(ctx, input),
    ctx.config.experimental.msc3664Enabled ? relatedEvents(ctx, input) : undefined,
    event.stateKey === undefined ? ctx.ignoredUsers.ignorersOf(event.sender) : undefined,
  ]);
  const pushEvent = new PushEvent(event, { memberCount: members.joined.size, levels: input.levels, ...(related && { related }) });
  const mentions = mentionedUsers(event);
  const body = pushEvent.body.toLowerCase();
  const except = new Set([event.sender, ...(ignorers ?? [])]);
  const push: PushAction[] = [];
  const single = (userId: string, outcome: Outcome): void => {
    if (outcome.notif) push.push({ userId, ...outcome, unread: false, threadId });
  };
  // Whom the event may mean in person.
  for (const { userId, rules, localpart, displayName } of audience.names) {
    const isNamed = body !== "" && (body.includes(localpart) || (displayName !== undefined && displayName !== "" && body.includes(displayName)));
    if (!isNamed && !mentions.has(userId) && event.stateKey !== userId) continue;
    if (except.has(userId)) continue;
    except.add(userId);
    const profile = (await ctx.members.localProfiles(event.roomId)).get(userId);
    single(userId, outcomeOf(rules.evaluate(pushEvent, { userId, displayName: profile?.displayName })));
  }
  for (const { userId, rules } of audience.withPushers) if (!except.has(userId)) single(userId, outcomeOf(rules.evaluate(pushEvent, NOBODY)));
  const crowd: CrowdNotice[] = [];
  for (const [rules, users] of audience.crowds) {
    const outcome = outcomeOf(rules.evaluate(pushEvent, NOBODY));
    if (!outcome.notif) continue;
    if (!outcome.highlight) crowd.push({ users, except, actions: outcome.actions, threadId });
    else for (const userId of users) if (!except.has(userId)) single(userId, outcome);
  }
  return { push, crowd };
}

/** Whether a room with these local members counts as large. */
export const isCrowd = (local: ReadonlySet<string>): boolean => local.size >= 100;

/** What is on the head of the room is seen by all who are joined now; and much else too, by the history visibility. */
async function isSeenByAllJoined(ctx: PushContext, { event, before, atHand }: PushInput): Promise<boolean> {
  if (before === (await ctx.state.currentIds(event.roomId))) return true;
  const id = before!.get(stateKeyOf("m.room.history_visibility", ""));
  const visibility = id === undefined ? undefined : (atHand?.(id) ?? (await ctx.events.one(id)))?.content.history_visibility;
  return clientVisibility({ event, userId: "", visibility, membership: undefined }) === "shown";
}

function isNotifiable(ctx: Pick<Context, "config">, event: MatrixEvent): boolean {
  return ctx.config.push.enabled && !ctx.config.server.excludeRoomsFromSync.includes(event.roomId) && event.type !== "org.matrix.dummy_event";
}

interface Outcome {
  readonly actions: string;
  readonly notif: boolean;
  readonly highlight: boolean;
}

/** Stands for any user whom the event does not mean: no event names an id like this. */
const NOBODY = { userId: "@\u0000:\u0000" };
const SILENT: Outcome = { actions: "[]", notif: false, highlight: false };

function outcomeOf(actions: readonly Json[]): Outcome {
  return { actions: storedActions(actions), notif: actions.includes("notify"), highlight: isHighlight(actions) };
}

/** Local members, without those of appservices; of a membership event only its subject, as Synapse does; an invitee who wants the invite. */
async function usersConcerned(ctx: PushContext, event: MatrixEvent): Promise<string[]> {
  const local = await ctx.members.joinedLocal(event.roomId);
  const isAppserviceUser = (userId: string): boolean => ctx.appservices.all().some((service) => service.ownsUser(userId));
  if (event.type !== "m.room.member") return [...local].filter((userId) => userId !== event.sender && !isAppserviceUser(userId));
  const subject = event.stateKey;
  if (subject === undefined || subject === event.sender || !subject.endsWith(`:${ctx.config.server.serverName}`)) return [];
  if (event.membership === "invite") {
    const rule = (await inviteRules(ctx, [subject], event.sender, ctx.config.experimental.msc4155Enabled)).get(subject);
    return rule === "allow" ? [subject] : [];
  }
  return local.has(subject) && !isAppserviceUser(subject) ? [subject] : [];
}

function mentionedUsers(event: MatrixEvent): ReadonlySet<unknown> {
  const mentions = event.content["m.mentions"];
  return new Set(isJsonObject(mentions) && Array.isArray(mentions.user_ids) ? mentions.user_ids : []);
}

/** Whether the text may hold the user's name: true more often than the rules will find it. */
function mayName(body: string, userId: string, displayName: string | undefined): boolean {
  if (body === "") return false;
  return body.includes(localpartOf(userId).toLowerCase()) || (displayName !== undefined && displayName !== "" && body.includes(displayName.toLowerCase()));
}

/** The thread of an event: its own, or that of what it relates to, up to four steps. */
async function threadOf(ctx: PushContext, { event, atHand }: PushInput): Promise<string> {
  let at: MatrixEvent | undefined = event;
  for (let steps = 0; at !== undefined && steps < 5; steps++) {
    const relation: unknown = at.content["m.relates_to"];
    if (!isJsonObject(relation) || typeof relation.rel_type !== "string" || typeof relation.event_id !== "string") return "main";
    if (relation.rel_type === "m.thread") return relation.event_id;
    at = atHand?.(relation.event_id) ?? (await ctx.events.one(relation.event_id));
  }
  return "main";
}

async function relatedEvents(ctx: PushContext, { event }: PushInput): Promise<Map<string, RelatedEvent>> {
  const related = new Map<string, RelatedEvent>();
  const relation = event.content["m.relates_to"];
  if (!isJsonObject(relation)) return related;
  const reply = isJsonObject(relation["m.in_reply_to"]) ? relation["m.in_reply_to"].event_id : undefined;
  const ids = [relation.event_id, reply].filter((id): id is string => typeof id === "string");
  const events = await ctx.events.get(ids);
  const target = events.get(relation.event_id as string);
  if (target !== undefined && typeof relation.rel_type === "string") related.set(relation.rel_type, { event: target, isFallback: false });
  const replied = events.get(reply as string);
  if (replied !== undefined)
    related.set("m.in_reply_to", { event: replied, isFallback: relation.rel_type === "m.thread" && relation.is_falling_back === true });
  return related;
}

/** What counts as unread (MSC2654). */
function isUnreadWorthy(event: MatrixEvent): boolean {
  const isState = event.stateKey !== undefined;
  if (!isState && event.type === "m.room.message" && event.content.msgtype === "m.notice") return false;
  const relation = event.content["m.relates_to"];
  if (isJsonObject(relation) && relation.rel_type === "m.replace") return false;
  if (typeof event.content.body === "string" && event.content.body !== "") return true;
  return isState ? UNREAD_STATE.has(event.type) : event.type === "m.room.encrypted";
}

const UNREAD_STATE: ReadonlySet<string> = new Set(["m.room.topic", "m.room.name", "m.room.avatar", "m.room.tombstone"]);

/** Nobody is notified of what they may not see: old events that arrive late, ignored senders. */
async function onlyVisible(ctx: PushContext, { event, before, atHand }: PushInput, actions: PushAction[]): Promise<PushAction[]> {
  const ignoredBy = event.stateKey === undefined ? await ctx.ignoredUsers.ignorersOf(event.sender) : undefined;
  const heard = ignoredBy === undefined || ignoredBy.size === 0 ? actions : actions.filter(({ userId }) => !ignoredBy.has(userId));
  if (before === undefined) return heard.filter(({ userId }) => userId === event.stateKey);
  const load = async (id: string | undefined): Promise<MatrixEvent | undefined> =>
    id === undefined ? undefined : (atHand?.(id) ?? (await ctx.events.one(id)));
  const visibility = (await load(before.get(stateKeyOf("m.room.history_visibility", ""))))?.content.history_visibility;
  if (clientVisibility({ event, userId: "", visibility, membership: undefined }) === "shown") return heard;
  const [local, current] = await Promise.all([ctx.members.joinedLocal(event.roomId), ctx.state.currentIds(event.roomId)]);
  const visible: PushAction[] = [];
  for (const action of heard) {
    const key = stateKeyOf("m.room.member", action.userId);
    const id = before.get(key);
    // As a rule the event is on the head of the room: who is joined now was joined before it.
    const isJoined = id !== undefined && id === current.get(key) && local.has(action.userId);
    const membership = isJoined ? "join" : (await load(id))?.membership;
    const isOwn = event.type === "m.room.member" && event.stateKey === action.userId;
    const previousContent = isOwn && membership !== undefined ? { membership } : undefined;
    if (clientVisibility({ event, userId: action.userId, visibility, membership: isOwn ? event.membership : membership, previousContent }) === "shown")
      visible.push(action);
  }
  return visible;
}
