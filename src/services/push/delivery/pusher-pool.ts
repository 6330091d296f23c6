import { createHash } from "node:crypto";
import { BackgroundWork } from "../../../lib/background-work.ts";
import type { Timer } from "../../../lib/clock.ts";
import type { JsonObject } from "../../../lib/json.ts";
import { Repeated } from "../../../lib/repeated.ts";
import { Turns } from "../../../lib/turns.ts";
import { IpFilter } from "../../../outbound/ip-filter.ts";
import { PushGateway } from "../../../outbound/push-gateway.ts";
import { usersWithChangedPushers, usersWithPendingPushes, usersWithReceipts } from "../../../storage/push/delivery.ts";
import { enabledPushers, enabledPushersOf, type Pusher, type PusherProgress, putPusherProgress } from "../../../storage/push/pushers.ts";
import type { Context } from "../../context.ts";
import type { Publisher, StoredEvents } from "../../events/publish.ts";
import { deletePusher } from "../pushers.ts";
import { EmailPusher, type EmailPusherContext } from "./email-pusher.ts";
import { HttpPusher, type PusherContext, type PusherTools } from "./http-pusher.ts";
import type { RunningPusher } from "./running-pusher.ts";

export type PoolContext = PusherContext & EmailPusherContext & Pick<Context, "notifier">;

/** Pushers that work at once. */
const AT_ONCE = 50;
/** Those that write mails have places of their own: a mail server that is slow does not hold up the others. */
const MAILS_AT_ONCE = 5;
/** Progress is written down at most so often: after a crash a notification may come twice. */
const SAVE_INTERVAL_MS = 1_000;
/** Receipts of so long a time are looked at together. */
const BADGE_DELAY_MS = 1_000;

/** Runs the pushers of this server's users: wakes those whom an event notifies, starts and stops them as users set and remove them. */
export class PusherPool {
  private readonly byUser = new Map<string, RunningPusher[]>();
  private readonly undo: (() => void)[] = [];
  private readonly stopping = new AbortController();
  private readonly unsaved = new Map<number, PusherProgress>();
  private readonly background = new BackgroundWork((error) => {
    if (!this.stopping.signal.aborted) this.log.warn("Something could not be done for pushers", { error });
  });
  private readonly refreshing = new Repeated(
    () => this.readChanges(),
    (error) => this.log.error("Changed pushers could not be read", { error }),
  );
  private readonly tools: PusherTools;
  private readonly mailTools: PusherTools;
  private readonly gateway: PushGateway;
  /** Users whom events notify that are not visible yet, with the position of the newest. */
  private readonly due = new Map<string, number>();
  private saving: Timer | undefined;
  private badges: Timer | undefined;
  private receiptsSeen = 0;
  private pushersSeen = 0;
  private started = false;

  constructor(
    private readonly context: () => PoolContext,
    config: Context["config"],
    trusted?: readonly string[],
  ) {
    const { ipRangeBlocklist, ipRangeAllowlist, proxy, userAgentSuffix } = config.server;
    this.gateway = new PushGateway({
      userAgent: `Myelin${userAgentSuffix === undefined ? "" : ` ${userAgentSuffix}`}`,
      filter: new IpFilter(ipRangeBlocklist, ipRangeAllowlist),
      proxy,
      trusted,
    });
    const turns = new Turns(AT_ONCE);
    this.tools = {
      gateway: this.gateway,
      signal: this.stopping.signal,
      turn: (work) => turns.run(work),
      progress: (progress) => this.note(progress),
      remove: ({ userId, appId, pushkey }) => deletePusher(this.context(), userId, appId, pushkey),
    };
    const mailTurns = new Turns(MAILS_AT_ONCE);
    this.mailTools = { ...this.tools, turn: (work) => mailTurns.run(work) };
  }

  /** Begins to push, where it is this process that does. */
  async start(publisher: Publisher): Promise<void> {
    const ctx = this.context();
    if (!ctx.config.workers.startPushers || this.started) return;
    this.started = true;
    this.receiptsSeen = ctx.streams.receipts.currentToken();
    this.pushersSeen = ctx.streams.pushers.currentToken();
    this.undo.push(
      publisher.onStored((stored) => this.stored(stored)),
      ctx.streams.events.onAdvance((token) => this.wakeDue(token)),
      ctx.streams.pushers.onAdvance(() => this.refreshing.poke()),
      ctx.streams.receipts.onAdvance(() => this.receiptsCame()),
    );
    for (const row of await enabledPushers(ctx.read)) this.add(row);
    if (this.byUser.size === 0) return;
    for (const userId of await usersWithPendingPushes(ctx.read)) this.wake(userId);
  }

  /**
   * Sends a notification of a module's making to the push gateways of a user, or of one device: by device, whether it arrived.
   */
  async dispatch(
    userId: string,
    deviceId: string | undefined,
    notification: { readonly content: JsonObject; readonly tweaks: JsonObject; readonly defaultPayload: JsonObject },
  ): Promise<Record<string, boolean>> {
    await this.refreshing.settled();
    const { content, tweaks, defaultPayload } = notification;
    const pushers = (this.byUser.get(userId) ?? []).filter((pusher) => pusher instanceof HttpPusher && (!deviceId || pusher.row.deviceId === deviceId));
    const sent = await Promise.all((pushers as HttpPusher[]).map((pusher) => this.tools.turn(() => pusher.dispatch(content, tweaks, defaultPayload))));
    return Object.fromEntries(pushers.flatMap(({ row }, index) => (row.deviceId === null ? [] : [[row.deviceId, sent[index]!]])));
  }

  /** Resolves when all that can be pushed now is pushed. */
  async settled(): Promise<void> {
    await this.refreshing.settled();
    for (const pushers of this.byUser.values()) for (const pusher of pushers) await pusher.settled();
    await this.background.settled();
  }

  async close(): Promise<void> {
    for (const undo of this.undo) undo();
    this.stopping.abort();
    this.refreshing.stop();
    this.badges?.cancel();
    this.saving?.cancel();
    for (const pushers of this.byUser.values()) for (const pusher of pushers) pusher.stop();
    await this.gateway.close();
    await this.settled();
    await this.save();
  }

  private add(row: Pusher): void {
    const ctx = this.context();
    const isMail = row.kind === "email";
    if ((!isMail && row.kind !== "http") || !this.isOurs(row.userId) || (isMail && !ctx.config.email.enableNotifs)) return;
    const pusher = isMail ? EmailPusher.of(ctx, this.mailTools, row) : HttpPusher.of(ctx, this.tools, row);
    if (pusher === undefined) return this.log.warn(`A pusher of ${row.userId} for ${row.appId} is set wrongly`);
    const list = this.byUser.get(row.userId);
    if (list === undefined) this.byUser.set(row.userId, [pusher]);
    else list.push(pusher);
    ctx.metrics.pushersChanged(pusher.kind, row.appId, 1);
  }

  private wake(userId: string): void {
    for (const pusher of this.byUser.get(userId) ?? []) pusher.wake();
  }

  private stored({ backfilled, items }: StoredEvents): void {
    if (backfilled || this.byUser.size === 0) return;
    for (const { event, push } of items) {
      for (const { userId, notif } of push ?? [])
        if (notif && this.byUser.has(userId)) this.due.set(userId, Math.max(event.streamOrdering ?? 0, this.due.get(userId) ?? 0));
    }
  }

  private wakeDue(token: number): void {
    for (const [userId, position] of this.due) {
      if (position > token) continue;
      this.due.delete(userId);
      this.wake(userId);
    }
  }

  private get log() {
    return this.context().log.named("synapse.push.pusherpool");
  }

  /** Users set or removed pushers. */
  private async readChanges(): Promise<void> {
    const ctx = this.context();
    const upTo = ctx.streams.pushers.currentToken();
    const users = (await usersWithChangedPushers(ctx.read, this.pushersSeen, upTo)).filter((userId) => this.isOurs(userId));
    const rows = users.length === 0 ? [] : await enabledPushersOf(ctx.read, users);
    const ids = new Set(rows.map(({ id }) => id));
    for (const userId of users) {
      const kept: RunningPusher[] = [];
      for (const pusher of this.byUser.get(userId) ?? []) {
        if (ids.has(pusher.row.id)) {
          kept.push(pusher);
          continue;
        }
        pusher.stop();
        ctx.metrics.pushersChanged(pusher.kind, pusher.row.appId, -1);
      }
      if (kept.length === 0) this.byUser.delete(userId);
      else this.byUser.set(userId, kept);
    }
    for (const row of rows) if (this.byUser.get(row.userId)?.some((pusher) => pusher.row.id === row.id) !== true) this.add(row);
    this.pushersSeen = upTo;
    // What came since the pusher was set.
    for (const userId of users) this.wake(userId);
  }

  private receiptsCame(): void {
    const ctx = this.context();
    if (this.byUser.size === 0) {
      this.receiptsSeen = ctx.streams.receipts.currentToken();
      return;
    }
    this.badges ??= ctx.clock.after(BADGE_DELAY_MS, () => {
      this.badges = undefined;
      this.background.add(this.sendBadges());
    });
  }

  private async sendBadges(): Promise<void> {
    const ctx = this.context();
    const [after, upTo] = [this.receiptsSeen, ctx.streams.receipts.currentToken()];
    this.receiptsSeen = upTo;
    const users = await usersWithReceipts(ctx.read, after, upTo);
    await Promise.all(users.flatMap((userId) => (this.byUser.get(userId) ?? []).map((pusher) => this.tools.turn(() => pusher.sendBadge()))));
  }

  private note(progress: PusherProgress): void {
    this.unsaved.set(progress.id, progress);
    if (this.stopping.signal.aborted) return;
    this.saving ??= this.context().clock.after(SAVE_INTERVAL_MS, () => {
      this.saving = undefined;
      this.background.add(this.save());
    });
  }

  private async save(): Promise<void> {
    if (this.unsaved.size === 0) return;
    const progress = [...this.unsaved.values()].sort((a, b) => a.id - b.id);
    this.unsaved.clear();
    await this.context().transaction("update_pusher_last_stream_ordering_and_success", (txn) => putPusherProgress(txn, progress), {
      isolation: "read committed",
    });
  }

  /** Users are shared out among the processes that push, as in Synapse. */
  private isOurs(userId: string): boolean {
    const { pusherInstances, instanceName } = this.context().config.workers;
    if (pusherInstances.length <= 1) return true;
    const digest = createHash("sha256").update(userId).digest().reverse();
    return pusherInstances[Number(BigInt(`0x${digest.toString("hex")}`) % BigInt(pusherInstances.length))] === instanceName;
  }
}
