import { isJsonObject } from "../../../lib/json.ts";
import type { Timer } from "../../../lib/clock.ts";
import { Repeated } from "../../../lib/repeated.ts";
import { isMailAddress } from "../../../outbound/mail.ts";
import { pusherThrottles, putPusherThrottles, type Throttle, type UnreadNotification, unreadNotifications } from "../../../storage/push/mails.ts";
import { type Pusher, putPusherProgress } from "../../../storage/push/pushers.ts";
import { getUserOfThreepid } from "../../../storage/threepids/user-threepids.ts";
import { isExpired } from "../../accounts/validity.ts";
import type { Context } from "../../context.ts";
import { sendTemplateMail } from "../../mail.ts";
import { composeDigest, type DigestContext, type Notified, tellable } from "./digest.ts";
import type { PusherTools } from "./http-pusher.ts";
import type { RunningPusher } from "./running-pusher.ts";

export type EmailPusherContext = DigestContext & Pick<Context, "accounts" | "log" | "mail" | "metrics" | "modules" | "streams" | "templates" | "transaction">;

/** Notifications in one mail. */
const AT_MOST = 20;
const THROTTLE_GROWTH = 144;
const LONGEST_THROTTLE_MS = 24 * 3_600_000;
/** After so long a silence in a room the next message is news again. */
const RELEASED_AFTER_MS = 12 * 3_600_000;
const FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 3_600_000;
/** How long a mail under way has when the server stops. */
const STOP_MS = 2_000;
const MAX_BRAND = 64;
const NEVER: Throttle = { lastSentTs: 0, throttleMs: 0 };

/**
 * Writes to one user about what is unread (as Synapse): when a notification has waited for `email.notif_delay_before_mail` and its room
 * has not been written about too lately, a mail tells of all that is unread then. Each notification told of makes its room wait longer,
 * up to a day, until the room was silent for half a day.
 */
export class EmailPusher implements RunningPusher {
  readonly kind = "EmailPusher";
  private lastStreamOrdering: number;
  private throttles: Map<string, Throttle> | undefined;
  private timer: Timer | undefined;
  private pauseMs = FIRST_PAUSE_MS;
  private isPausing = false;
  private readonly writing: Repeated;
  private readonly appName: string;

  /** undefined where mails are off, or for rows that name no address. */
  static of(ctx: EmailPusherContext, tools: PusherTools, row: Pusher): EmailPusher | undefined {
    return ctx.config.email.enableNotifs && ctx.mail !== undefined && isMailAddress(row.pushkey) ? new EmailPusher(ctx, tools, row) : undefined;
  }

  private constructor(
    private readonly ctx: EmailPusherContext,
    private readonly tools: PusherTools,
    readonly row: Pusher,
  ) {
    this.lastStreamOrdering = row.lastStreamOrdering ?? 0;
    const data: unknown = row.data === null ? null : JSON.parse(row.data);
    const brand = isJsonObject(data) && typeof data.brand === "string" ? data.brand : undefined;
    // The client says it, and it stands in the sender: no address, no second name.
    this.appName = brand === undefined ? ctx.config.email.appName : brand.replace(/["<>@,;:\\()[\]\p{Cc}]/gu, "").slice(0, MAX_BRAND);
    this.writing = new Repeated(
      () => tools.turn(() => this.writeWhatIsDue()),
      (error) => this.pause(error),
    );
  }

  /** Something may notify the user. Waits for the end of a pause after a failure. */
  wake(): void {
    if (!this.isPausing) this.writing.poke();
  }

  /** What was read in the meantime is not written about when its time comes. */
  sendBadge(): Promise<void> {
    return Promise.resolve();
  }

  stop(): void {
    this.writing.stop();
    this.timer?.cancel();
    this.timer = undefined;
  }

  settled(): Promise<void> {
    return this.writing.settled();
  }

  private get log() {
    return this.ctx.log.named("synapse.push.emailpusher");
  }

  private pause(error: unknown): void {
    if (this.writing.isClosed) return;
    this.log.error(`Mails to ${this.row.userId} could not be sent; tried again later`, { error });
    this.isPausing = true;
    this.wakeAt(this.ctx.clock.now() + this.pauseMs);
    this.pauseMs = Math.min(this.pauseMs * 2, LONGEST_PAUSE_MS);
  }

  private async writeWhatIsDue(): Promise<void> {
    const { ctx, row } = this;
    if (this.isPausing) return;
    this.throttles ??= await pusherThrottles(ctx.read, row.id);
    if (await isExpired(ctx, row.userId)) return;
    const upTo = ctx.streams.events.currentToken();
    const unread = await unreadNotifications(ctx.read, row.userId, this.lastStreamOrdering, upTo, AT_MOST);
    const notified = await tellable(ctx, row.userId, unread);
    if (this.writing.isClosed) return;
    if (notified.length === 0) {
      this.lastStreamOrdering = upTo;
      this.tools.progress({ id: row.id, lastStreamOrdering: upTo, lastSuccess: ctx.clock.now(), failingSince: row.failingSince });
      return;
    }
    const now = ctx.clock.now();
    const due = notified.find((notification) => this.dueAt(notification) <= now);
    if (due === undefined) return this.wakeAt(Math.min(...notified.map((notification) => this.dueAt(notification))));
    await this.tell(notified, due);
  }

  private async tell(notified: readonly Notified[], due: Notified): Promise<void> {
    const { ctx, row, appName } = this;
    const { userId, appId, pushkey: address } = row;
    if ((await getUserOfThreepid(ctx.read, "email", address.toLowerCase())) !== userId) {
      this.log.warn(`${userId} has not the address any more that is to be written to: the pusher is removed`);
      return await this.tools.remove(row);
    }
    const { subject, unsubscribeLink, values } = await composeDigest(ctx, { userId, appId, address, appName }, notified, {
      notification: due,
      throttle: this.throttleOf(due.roomId),
    });
    if (this.writing.isClosed) return;
    this.log.info(`Sending a mail about unread messages to ${userId}`);
    const { notifHtml: html, notifText: text } = ctx.config.email.templates;
    await this.unlessStopped(sendTemplateMail(ctx, "notification", { to: address, subject, html, text, values, appName, unsubscribeLink }));
    await this.told(notified);
  }

  /** The mail is on its way. All that was unread counts as told, also what had no place in it. */
  private async told(notified: readonly UnreadNotification[]): Promise<void> {
    const { ctx, row } = this;
    const now = ctx.clock.now();
    this.pauseMs = FIRST_PAUSE_MS;
    this.lastStreamOrdering = Math.max(...notified.map(({ streamOrdering }) => streamOrdering));
    for (const { roomId, receivedTs, previousTs } of notified) {
      const { throttleMs } = this.throttleOf(roomId);
      const isReleased = throttleMs === 0 || (previousTs !== null && receivedTs - previousTs > RELEASED_AFTER_MS);
      const next = isReleased ? ctx.config.email.notifDelayBeforeMailMs : Math.min(throttleMs * THROTTLE_GROWTH, LONGEST_THROTTLE_MS);
      this.throttles!.set(roomId, { lastSentTs: now, throttleMs: next });
    }
    const progress = { id: row.id, lastStreamOrdering: this.lastStreamOrdering, lastSuccess: now, failingSince: row.failingSince };
    this.tools.progress(progress); // in the place of what waits there to be written
    const changed = new Map(notified.map(({ roomId }) => [roomId, this.throttleOf(roomId)]));
    await ctx.transaction(
      "update_pusher_last_stream_ordering_and_success",
      async (txn) => {
        await putPusherProgress(txn, [progress]);
        await putPusherThrottles(txn, row.id, changed);
      },
      { isolation: "read committed" },
    );
    this.wake(); // what came since
  }

  /** A mail server that hangs does not keep the server from stopping; the mail comes again then. */
  private async unlessStopped<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.tools;
    return await new Promise((resolve, reject) => {
      const onStop = (): void => void this.ctx.clock.after(STOP_MS, () => reject(new Error("The server stops")));
      signal.addEventListener("abort", onStop, { once: true });
      work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onStop));
    });
  }

  private dueAt({ receivedTs, roomId }: UnreadNotification): number {
    const { lastSentTs, throttleMs } = this.throttleOf(roomId);
    return Math.max(receivedTs + this.ctx.config.email.notifDelayBeforeMailMs, lastSentTs + throttleMs);
  }

  private throttleOf(roomId: string): Throttle {
    return this.throttles?.get(roomId) ?? NEVER;
  }

  private wakeAt(time: number): void {
    this.timer?.cancel();
    this.timer = this.ctx.clock.after(Math.max(0, time - this.ctx.clock.now()), () => {
      this.timer = undefined;
      this.isPausing = false;
      this.wake();
    });
  }
}
