import { isJsonObject, type JsonObject } from "../../../lib/json.ts";
import type { Timer } from "../../../lib/clock.ts";
import { Repeated } from "../../../lib/repeated.ts";
import type { PushGateway } from "../../../outbound/push-gateway.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { pendingPushes, type PendingPush } from "../../../storage/push/delivery.ts";
import type { Pusher, PusherProgress } from "../../../storage/push/pushers.ts";
import { isExpired } from "../../accounts/validity.ts";
import type { Context } from "../../context.ts";
import { badgeOf } from "./badge.ts";
import { namesFor } from "./names.ts";
import type { RunningPusher } from "./running-pusher.ts";

export type PusherContext = Pick<
  Context,
  "accounts" | "clock" | "config" | "events" | "log" | "members" | "metrics" | "modules" | "random" | "read" | "state" | "streams"
>;

/** What pushers share. */
export interface PusherTools {
  readonly gateway: PushGateway;
  readonly signal: AbortSignal;
  /** Waits for a free place among those who work at once. */
  turn<T>(work: () => Promise<T>): Promise<T>;
  /** To be written down soon; at once where it must not be forgotten. */
  progress(progress: PusherProgress): void;
  /** The gateway does not know the push key any more. */
  remove(pusher: Pusher): Promise<void>;
}

const PAGE = 20;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 3_600_000;
/** After so long a notification is given up, so that a gateway that comes back is not flooded with old ones. */
const GIVE_UP_MS = 24 * 3_600_000;

/** Tells one push gateway of what notifies one user, in order (Push Gateway API; as Synapse). Idle it does no work. */
export class HttpPusher implements RunningPusher {
  readonly kind = "HttpPusher";
  private lastStreamOrdering: number;
  private lastSuccess: number | null;
  private failingSince: number | null;
  private pauseMs = FIRST_PAUSE_MS;
  private retry: Timer | undefined;
  private readonly delivering: Repeated;
  private lastBadge: number | undefined;
  private readonly url: string;
  private readonly device: JsonObject;
  private readonly isEventIdOnly: boolean;
  private readonly hasBadge: boolean;

  /** undefined for rows that name no gateway. */
  static of(ctx: PusherContext, tools: PusherTools, row: Pusher): HttpPusher | undefined {
    const data: unknown = row.data === null ? null : JSON.parse(row.data);
    if (!isJsonObject(data) || typeof data.url !== "string" || !URL.canParse(data.url) || new URL(data.url).pathname !== "/_matrix/push/v1/notify")
      return undefined;
    return new HttpPusher(ctx, tools, row, data.url, data);
  }

  private constructor(
    private readonly ctx: PusherContext,
    private readonly tools: PusherTools,
    readonly row: Pusher,
    url: string,
    { url: _url, ...data }: JsonObject,
  ) {
    this.url = url;
    this.device = { app_id: row.appId, pushkey: row.pushkey, pushkey_ts: Math.trunc(row.ts / 1000), data };
    this.isEventIdOnly = data.format === "event_id_only";
    this.hasBadge = !(ctx.config.experimental.msc4076Enabled && Boolean(data["org.matrix.msc4076.disable_badge_count"]));
    this.lastStreamOrdering = row.lastStreamOrdering ?? 0;
    this.lastSuccess = row.lastSuccess;
    this.failingSince = row.failingSince;
    this.delivering = new Repeated(
      () => tools.turn(() => this.deliverAll()),
      (error) => {
        if (!this.delivering.isClosed) ctx.log.named("synapse.push.httppusher").error(`Notifications of ${row.userId} could not be processed`, { error });
      },
    );
  }

  /** Something may notify the user. Waits for the end of a pause after a failure. */
  wake(): void {
    if (this.retry === undefined) this.delivering.poke();
  }

  /** The user read something: the number on the icon may have changed. */
  async sendBadge(): Promise<void> {
    if (this.delivering.isClosed || (await isExpired(this.ctx, this.row.userId))) return;
    const badge = await badgeOf(this.ctx, this.row.userId);
    if (badge === this.lastBadge) return;
    this.lastBadge = badge;
    const outcome = await this.tools.gateway.notify(this.url, { id: "", type: null, sender: "", counts: { unread: badge }, devices: [this.device] });
    this.ctx.metrics.badgeSent(!("failed" in outcome));
  }

  /** Sends what somebody else wrote, once. False when the gateway could not be told, or wants no more for this push key. */
  async dispatch(content: JsonObject, tweaks: JsonObject, defaultPayload: JsonObject): Promise<boolean> {
    const data = isJsonObject(this.device.data) ? this.device.data : {};
    const own = isJsonObject(data.default_payload) ? data.default_payload : {};
    const device = {
      ...this.device,
      data: Object.keys(defaultPayload).length === 0 ? data : { ...data, default_payload: { ...own, ...defaultPayload } },
      ...(Object.keys(tweaks).length > 0 && { tweaks }),
    };
    const outcome = await this.tools.gateway.notify(this.url, { ...content, devices: [device] });
    if (!("failed" in outcome)) return outcome.rejected.length === 0;
    this.ctx.log.named("synapse.push.httppusher").warn(`Failed to push data to ${this.row.userId}/${this.row.appId}: ${outcome.failed}`);
    return false;
  }

  stop(): void {
    this.delivering.stop();
    this.retry?.cancel();
    this.retry = undefined;
  }

  settled(): Promise<void> {
    return this.delivering.settled();
  }

  private async deliverAll(): Promise<void> {
    if (this.retry !== undefined || (await isExpired(this.ctx, this.row.userId))) return;
    const upTo = this.ctx.streams.events.currentToken();
    for (;;) {
      const page = await pendingPushes(this.ctx.read, this.row.userId, this.lastStreamOrdering, upTo, PAGE);
      for (const push of page) if (this.delivering.isClosed || !(await this.deliver(push))) return;
      if (page.length < PAGE) return;
    }
  }

  /** False: not now. */
  private async deliver(push: PendingPush): Promise<boolean> {
    const { ctx } = this;
    const isDone = await this.push(push);
    if (this.delivering.isClosed) return false;
    ctx.metrics.pushed(isDone);
    const now = ctx.clock.now();
    if (isDone) {
      this.lastSuccess = now;
    } else {
      this.failingSince ??= now;
      if (this.failingSince >= now - GIVE_UP_MS) {
        this.save();
        this.retry = ctx.clock.after(this.pauseMs, () => {
          this.retry = undefined;
          this.wake();
        });
        this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
        return false;
      }
      ctx.log.named("synapse.push.httppusher").warn(`A notification of ${this.row.userId} is given up: its push gateway does not answer`);
    }
    this.pauseMs = FIRST_PAUSE_MS;
    this.failingSince = null;
    this.lastStreamOrdering = push.streamOrdering;
    this.save();
    return true;
  }

  private save(): void {
    this.tools.progress({ id: this.row.id, lastStreamOrdering: this.lastStreamOrdering, lastSuccess: this.lastSuccess, failingSince: this.failingSince });
  }

  /** False when the gateway could not be told. */
  private async push({ eventId, actions }: PendingPush): Promise<boolean> {
    const { ctx, row } = this;
    const event = await ctx.events.one(eventId);
    if (!actions.includes("notify") || event === undefined) return true;
    const badge = await badgeOf(ctx, row.userId);
    const jitter = ctx.config.push.jitterDelayMs;
    // Counted from when the event was sent: many in a row are not delayed one after the other.
    const wait = jitter === 0 ? 0 : event.originServerTs + 1 + ctx.random.below(jitter) - ctx.clock.now();
    if (wait > 0) await ctx.clock.sleep(Math.min(wait, jitter), this.tools.signal);
    if (this.delivering.isClosed) return false;
    const outcome = await this.tools.gateway.notify(this.url, await this.notification(event, tweaksOf(actions), badge));
    if ("failed" in outcome) {
      ctx.log.named("synapse.push.httppusher").warn(`Failed to push data to ${row.userId}/${row.appId}: ${outcome.failed}`);
      return false;
    }
    if (outcome.rejected.includes(row.pushkey)) await this.tools.remove(row);
    if (outcome.rejected.length === 0) this.lastBadge = badge;
    return true;
  }

  private async notification(event: MatrixEvent, tweaks: JsonObject, badge: number): Promise<JsonObject> {
    const { ctx, row } = this;
    const content: JsonObject = {
      event_id: event.eventId,
      room_id: event.roomId,
      prio: event.type === "m.room.encrypted" || Boolean(tweaks.highlight) || Boolean(tweaks.sound) ? "high" : "low",
      ...(this.hasBadge ? { counts: { unread: badge } } : {}),
    };
    if (this.isEventIdOnly) return { ...content, devices: [this.device] };
    const names = await namesFor(ctx, event, row.userId);
    return {
      id: event.eventId,
      ...content,
      type: event.type,
      sender: event.sender,
      ...(event.type === "m.room.member" && event.stateKey !== undefined
        ? { membership: event.membership ?? null, user_is_target: event.stateKey === row.userId }
        : {}),
      ...(ctx.config.push.includeContent && Object.keys(event.content).length > 0 ? { content: event.content } : {}),
      ...(names.sender === undefined ? {} : { sender_display_name: names.sender }),
      ...(names.room === undefined ? {} : { room_name: names.room }),
      devices: [Object.keys(tweaks).length === 0 ? this.device : { ...this.device, tweaks }],
    };
  }
}

function tweaksOf(actions: readonly unknown[]): JsonObject {
  const tweaks = Object.create(null) as JsonObject;
  for (const action of actions) if (isJsonObject(action) && typeof action.set_tweak === "string") tweaks[action.set_tweak] = action.value ?? true;
  return tweaks;
}
