import type { Timer } from "../../lib/clock.ts";
import { signals } from "../../lib/signals.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { getDomain } from "../../protocol/ids.ts";
import {
  activePresence,
  joinedRoomsOf,
  presenceOf,
  putPresence,
  putUsersToSendFullPresenceTo,
  type UserPresence,
  usersToSendFullPresenceTo,
} from "../../storage/presence/presence.ts";
import type { Context } from "../context.ts";
import { TimerWheel } from "./timer-wheel.ts";
import { applyTimeouts, combineDevices, type DevicePresence, offlinePresence, type PresenceTimers, updatePresence } from "./state-machine.ts";

export type PresenceContext = Pick<Context, "read" | "transaction" | "clock" | "log" | "streams" | "notifier" | "changes" | "members" | "modules" | "remote">;

export interface PresenceOptions {
  readonly serverName: string;
  /** False: nobody has a presence. */
  readonly enabled: boolean;
  /** False ("untracked"): syncs and activity change nothing, only what modules and other servers set. */
  readonly tracked: boolean;
  /** MSC3026: users may be `busy`. */
  readonly busy: boolean;
  readonly timers: PresenceTimers;
  /** Rooms through which nobody's presence is told. */
  readonly excludedRooms: ReadonlySet<string>;
}

const TIMEOUTS_EVERY_MS = 5_000;
const PERSIST_EVERY_MS = 60_000;
/** Clients that were syncing before a restart get this long to come back. */
const GRACE_AFTER_START_MS = 30_000;
/** Offline users who have been away for longer, and say nothing, are not told to servers that join a room. */
const RECENT_MS = 7 * 24 * 3600 * 1000;

/**
 * Presence of local users by their devices, and of remote ones as their servers say; as Synapse does it, with its timers. The newest
 * state is in memory; what others must hear of is stored and announced at once (all changes of the same moment in one transaction),
 * the rest each minute.
 */
export class Presence {
  private readonly states = new Map<string, UserPresence>();
  private readonly devices = new Map<string, Map<string | undefined, DevicePresence>>();
  /** Syncs under way by user and device. */
  private readonly syncing = new Map<string, Map<string | undefined, number>>();
  private readonly wheel = new TimerWheel(TIMEOUTS_EVERY_MS);
  private readonly unsaved = new Set<string>();
  private readonly toAnnounce = new Map<string, UserPresence>();
  private announcing: Promise<void> | undefined;
  /** One transaction after another, so that a user never gets two rows. */
  private saving: Promise<void> = Promise.resolve();
  private readonly timers: Timer[] = [];
  /** By user, the place in the stream up to which clients get everything anew. */
  private fullUpTo = new Map<string, number>();

  constructor(
    private readonly ctx: PresenceContext,
    private readonly options: PresenceOptions,
  ) {}

  /** Loads those who are not offline and starts the timers. With presence disabled everybody is marked offline. */
  async open(): Promise<void> {
    const { clock, read } = this.ctx;
    this.fullUpTo = await usersToSendFullPresenceTo(read);
    for (const state of await activePresence(read)) {
      this.states.set(state.userId, state);
      if (!this.options.tracked) continue;
      // Nobody knows which device it was: an unnamed one stands for them until it times out.
      this.devices.set(state.userId, new Map([[undefined, { state: state.state, lastActiveTs: state.lastActiveTs, lastSyncTs: state.lastUserSyncTs }]]));
      this.wheel.add(state.userId, 0);
    }
    if (!this.options.enabled) {
      const stale = [...this.states.values()].map((state) => ({ ...state, state: "offline", statusMsg: null, currentlyActive: false }));
      for (const state of stale) this.states.set(state.userId, state);
      if (stale.length > 0) await this.persist(stale);
      return;
    }
    this.timers.push(clock.every(PERSIST_EVERY_MS, () => this.inBackground(this.saveUnsaved())));
    if (!this.options.tracked) return;
    const checkTimers = (): void => this.inBackground(this.checkTimeouts());
    this.timers.push(clock.after(GRACE_AFTER_START_MS, () => this.timers.push(clock.every(TIMEOUTS_EVERY_MS, checkTimers))));
  }

  /** Stores what is not stored yet. */
  async close(): Promise<void> {
    for (const timer of this.timers) timer.cancel();
    await this.announcing;
    await this.saveUnsaved();
  }

  get enabled(): boolean {
    return this.options.enabled;
  }

  /** Present state of each user; offline for those of whom nothing is known. */
  async get(userIds: Iterable<string>): Promise<Map<string, UserPresence>> {
    const result = new Map<string, UserPresence>();
    const missing: string[] = [];
    for (const userId of userIds) {
      const state = this.states.get(userId);
      if (state === undefined) missing.push(userId);
      else result.set(userId, state);
    }
    if (missing.length > 0) {
      const stored = new Map((await presenceOf(this.ctx.read, missing)).map((state) => [state.userId, state]));
      // A change that happened meanwhile is newer than what was read.
      for (const userId of missing) result.set(userId, this.states.get(userId) ?? stored.get(userId) ?? offlinePresence(userId));
    }
    return result;
  }

  /** The newest state of a user whose row was just read. */
  newest(stored: UserPresence): UserPresence {
    return this.states.get(stored.userId) ?? stored;
  }

  /**
   * A local user sets their presence. @throws MatrixError 400 M_UNKNOWN for a state that does not exist
   */
  async set(userId: string, deviceId: string | undefined, state: string, statusMsg: string | undefined): Promise<void> {
    if (!this.options.tracked) return;
    this.checkState(state);
    const device = this.device(userId, deviceId);
    const now = this.ctx.clock.now();
    device.state = state;
    device.lastActiveTs = now;
    const combined = combineDevices(this.devices.get(userId)!.values());
    const old = await this.current(userId);
    const active = combined === "online" || combined === "busy";
    await this.update([{ ...old, state: combined, statusMsg: statusMsg ?? null, lastActiveTs: active ? now : old.lastActiveTs }]);
  }

  /** The user did something (sent an event, a receipt, typed): an idle device is online again. Never fails. */
  async bumpActive(userId: string, deviceId: string | undefined): Promise<void> {
    if (!this.options.tracked) return;
    try {
      signals.presenceBumped.emit();
      const now = this.ctx.clock.now();
      const device = this.device(userId, deviceId);
      device.lastActiveTs = now;
      if (device.state === "unavailable") device.state = "online";
      const old = await this.current(userId);
      await this.update([{ ...old, lastActiveTs: now, state: combineDevices(this.devices.get(userId)!.values()) }]);
    } catch (error) {
      this.ctx.log.named("synapse.handlers.presence").warn("Could not note a user's activity", { error });
    }
  }

  /**
   * A sync of the device begins, with the `set_presence` that it asked for; returns what to call at its end.
   * @throws MatrixError 400 M_UNKNOWN for a state that does not exist
   */
  async beginSync(userId: string, deviceId: string | undefined, state: string): Promise<() => void> {
    this.checkState(state);
    if (!this.options.tracked || state === "offline") return () => {};
    let counts = this.syncing.get(userId);
    if (counts === undefined) this.syncing.set(userId, (counts = new Map()));
    counts.set(deviceId, (counts.get(deviceId) ?? 0) + 1);
    const end = (): void => this.inBackground(this.endSync(userId, deviceId));
    try {
      const now = this.ctx.clock.now();
      const old = await this.current(userId);
      const device = this.device(userId, deviceId);
      device.state = old.state === "busy" ? "busy" : state;
      device.lastActiveTs = device.lastSyncTs = now;
      const combined = combineDevices(this.devices.get(userId)!.values());
      const active = combined === "online" || combined === "busy";
      await this.update([{ ...old, state: combined, lastUserSyncTs: now, lastActiveTs: active ? now : old.lastActiveTs }]);
    } catch (error) {
      end();
      throw error;
    }
    return end;
  }

  /** `push` entries of an `m.presence` EDU of another server. Malformed ones and those of other servers' users are dropped. */
  async receiveRemote(origin: string, entries: readonly unknown[]): Promise<void> {
    if (!this.options.tracked) return;
    const now = this.ctx.clock.now();
    const wanted = new Map<string, Partial<UserPresence>>();
    for (const entry of entries) {
      if (typeof entry !== "object" || entry === null) continue;
      const { user_id, presence, last_active_ago, status_msg, currently_active } = entry as Record<string, unknown>;
      if (typeof user_id !== "string" || getDomain(user_id) !== origin || typeof presence !== "string" || presence === "" || presence.includes("\0")) continue;
      wanted.set(user_id, {
        state: presence,
        lastFederationUpdateTs: now,
        ...(typeof last_active_ago === "number" && Number.isSafeInteger(last_active_ago) ? { lastActiveTs: now - last_active_ago } : {}),
        statusMsg: typeof status_msg === "string" && !status_msg.includes("\0") ? status_msg : null,
        currentlyActive: currently_active === true,
      });
    }
    if (wanted.size === 0) return;
    signals.presenceReceived.emit(wanted.size);
    const old = await this.get(wanted.keys());
    for (const [userId, state] of old) if (!this.states.has(userId)) this.states.set(userId, state);
    await this.update([...wanted].map(([userId, change]) => ({ ...this.states.get(userId)!, ...change })));
  }

  /** Whether two users share a room through which presence is told. */
  async isVisible(observed: string, observer: string): Promise<boolean> {
    if (observed === observer) return true;
    const rooms = await joinedRoomsOf(this.ctx.read, [observed, observer]);
    const mine = rooms.get(observer);
    const theirs = rooms.get(observed);
    if (mine === undefined || theirs === undefined) return false;
    for (const roomId of mine) if (theirs.has(roomId) && !this.options.excludedRooms.has(roomId)) return true;
    return false;
  }

  /** Users joined a room: servers that are new to it hear of its local users, and all of its servers of local newcomers. */
  async announceJoins(roomId: string, newcomers: ReadonlySet<string>): Promise<void> {
    const { serverName, excludedRooms, tracked } = this.options;
    if (!tracked || !this.ctx.remote.federates || excludedRooms.has(roomId) || newcomers.size === 0) return;
    const { joined, local } = await this.ctx.members.inRoom(roomId);
    const before = new Set<string>();
    const newServers = new Set<string>();
    for (const userId of joined) if (!newcomers.has(userId)) before.add(getDomain(userId));
    for (const userId of newcomers) if (!before.has(getDomain(userId))) newServers.add(getDomain(userId));
    for (const set of [before, newServers]) set.delete(serverName);
    const now = this.ctx.clock.now();
    if (newServers.size > 0) {
      const states = [...(await this.get([...local].filter((userId) => !newcomers.has(userId)))).values()].filter(
        (state) => state.state !== "offline" || now - state.lastActiveTs < RECENT_MS || state.statusMsg !== null,
      );
      if (states.length > 0) this.ctx.remote.sendPresence(states, newServers);
    }
    const localNewcomers = [...newcomers].filter((userId) => getDomain(userId) === serverName);
    const all = new Set([...before, ...newServers]);
    if (localNewcomers.length > 0 && all.size > 0) this.ctx.remote.sendPresence([...(await this.get(localNewcomers)).values()], all);
  }

  private checkState(state: string): void {
    if (!["online", "unavailable", "offline"].includes(state) && !(state === "busy" && this.options.busy)) {
      throw new MatrixError(400, "M_UNKNOWN", "Invalid presence state");
    }
  }

  private async endSync(userId: string, deviceId: string | undefined): Promise<void> {
    const counts = this.syncing.get(userId);
    const left = (counts?.get(deviceId) ?? 1) - 1;
    if (left > 0) counts!.set(deviceId, left);
    else {
      counts?.delete(deviceId);
      if (counts?.size === 0) this.syncing.delete(userId);
    }
    const now = this.ctx.clock.now();
    const device = this.devices.get(userId)?.get(deviceId);
    if (device !== undefined) device.lastSyncTs = now;
    await this.update([{ ...(await this.current(userId)), lastUserSyncTs: now }]);
  }

  private device(userId: string, deviceId: string | undefined): DevicePresence {
    let devices = this.devices.get(userId);
    if (devices === undefined) this.devices.set(userId, (devices = new Map()));
    let device = devices.get(deviceId);
    if (device === undefined) devices.set(deviceId, (device = { state: "offline", lastActiveTs: 0, lastSyncTs: 0 }));
    return device;
  }

  /** As `get`, of one user whose state is about to change: `update` compares with what is in memory. */
  private async current(userId: string): Promise<UserPresence> {
    const state = (await this.get([userId])).get(userId)!;
    if (!this.states.has(userId)) this.states.set(userId, state);
    return this.states.get(userId)!;
  }

  /** Takes over states that are to be; waits until what others must hear of is stored. */
  private async update(wanted: readonly UserPresence[]): Promise<void> {
    if (!this.options.enabled) return;
    const now = this.ctx.clock.now();
    const pings: UserPresence[] = [];
    let notify = false;
    for (const state of wanted) {
      const isLocal = getDomain(state.userId) === this.options.serverName;
      const old = this.states.get(state.userId) ?? offlinePresence(state.userId);
      const update = updatePresence(old, state, isLocal, now, this.options.timers);
      this.states.set(state.userId, update.next);
      signals.presenceUpdated.emit({ isLocal, old, next: update.next, notified: update.notify, pinged: update.ping && !update.notify });
      if (this.options.tracked) for (const at of update.checkAt) this.wheel.add(state.userId, at);
      if (update.notify) {
        this.unsaved.delete(state.userId);
        this.toAnnounce.set(state.userId, update.next);
        notify = true;
      } else {
        this.unsaved.add(state.userId);
        if (update.ping) pings.push(update.next);
      }
    }
    if (notify) await (this.announcing ??= this.announceAll());
    if (pings.length > 0) await this.tellServers(pings);
  }

  /** Stores and announces whatever gathers while the transaction before is under way, as one. */
  private async announceAll(): Promise<void> {
    try {
      while (this.toAnnounce.size > 0) {
        const states = [...this.toAnnounce.values()];
        this.toAnnounce.clear();
        await this.save(states);
        await this.wakeSharers(states);
        await this.tellServers(states.filter((state) => getDomain(state.userId) === this.options.serverName));
      }
    } finally {
      this.announcing = undefined;
    }
  }

  /** As `persist`; what cannot be stored is tried again later. Offline users leave the memory: they are read when somebody asks. */
  private async save(states: readonly UserPresence[]): Promise<void> {
    try {
      await (this.saving = this.saving.catch(() => {}).then(() => this.persist(states)));
    } catch (error) {
      for (const { userId } of states) this.unsaved.add(userId);
      throw error;
    }
    for (const state of states) if (state.state === "offline" && this.states.get(state.userId) === state) this.states.delete(state.userId);
  }

  private async persist(states: readonly UserPresence[]): Promise<void> {
    const sorted = [...states].sort((a, b) => (a.userId < b.userId ? -1 : 1));
    await this.ctx.transaction(
      "update_presence",
      async (txn) => {
        const streamIds = await this.ctx.streams.presence.next(txn, sorted.length);
        await putPresence(txn, sorted, streamIds, this.ctx.streams.presence.instanceName);
        txn.afterCommit(() => sorted.forEach(({ userId }, index) => this.ctx.changes.presence.record(userId, streamIds[index]!)));
      },
      { isolation: "read committed" },
    );
  }

  /** Wakes the waiting users who share a room with one of these; costs nothing while nobody waits. */
  private async wakeSharers(states: readonly UserPresence[]): Promise<void> {
    const { notifier, members } = this.ctx;
    notifier.announce();
    if (notifier.waitingUsers === 0) return;
    notifier.wakeUsers(
      states.map((state) => state.userId),
      "presence_key",
    );
    for (const { local } of (await members.inRooms(await this.roomsOf(states))).values()) notifier.wakeMembers(local, "presence_key");
    if (this.ctx.modules.presenceRouter.isEmpty) return;
    const routes = await this.ctx.modules.presenceRouter.usersForStates(states);
    notifier.wakeUsers(
      [...routes.keys()].filter((userId) => getDomain(userId) === this.options.serverName),
      "presence_key",
    );
  }

  /** Presence that modules route to users of other servers goes to those servers. */
  private async tellRouted(states: readonly UserPresence[]): Promise<void> {
    if (this.ctx.modules.presenceRouter.isEmpty) return;
    for (const [userId, wanted] of await this.ctx.modules.presenceRouter.usersForStates(states)) {
      const server = getDomain(userId);
      const routed = states.filter((state) => wanted.has(state.userId));
      if (server !== this.options.serverName && routed.length > 0) this.ctx.remote.sendPresence(routed, [server]);
    }
  }

  /**
   * Sends these local and remote users the states of those local users whose presence they get and who are online, whether or not they changed
   * (`ModuleApi.send_local_online_presence_to`): remote ones at once, local ones with their next sync.
   */
  async sendOnlineTo(userIds: readonly string[]): Promise<void> {
    const local = userIds.filter((userId) => getDomain(userId) === this.options.serverName);
    await this.sendOnlineToRemote(userIds.filter((userId) => getDomain(userId) !== this.options.serverName));
    if (local.length === 0) return;
    const position = this.ctx.streams.presence.currentToken();
    await this.ctx.transaction("add_users_to_send_full_presence_to", (txn) => putUsersToSendFullPresenceTo(txn, local, position));
    for (const userId of local) this.fullUpTo.set(userId, position);
    // The stream moves by one entry, so that a client gets everything once and not with each sync.
    await this.save([await this.current(local[0]!)]);
    this.ctx.notifier.wakeUsers(local, "presence_key");
    this.ctx.notifier.announce();
  }

  /** Servers hear of those whose presence their users get: of who shares a room with them, or whom modules route to them. */
  private async sendOnlineToRemote(userIds: readonly string[]): Promise<void> {
    const online = [...this.states.values()].filter((state) => state.state !== "offline" && getDomain(state.userId) === this.options.serverName);
    if (userIds.length === 0 || online.length === 0) return;
    const router = this.ctx.modules.presenceRouter;
    const rooms = await joinedRoomsOf(this.ctx.read, userIds);
    for (const userId of userIds) {
      const routed = router.isEmpty ? [] : await router.interestedUsers(userId);
      const watched = new Set(routed === "ALL" ? online.map((state) => state.userId) : routed);
      for (const roomId of rooms.get(userId) ?? [])
        if (!this.options.excludedRooms.has(roomId)) for (const member of await this.ctx.members.joinedLocal(roomId)) watched.add(member);
      const states = online.filter((state) => watched.has(state.userId));
      if (states.length > 0) this.ctx.remote.sendPresence(states, [getDomain(userId)]);
    }
  }

  /** A client of the user that has come to this place in the stream is to get everything anew. */
  wantsAll(userId: string, since: number): boolean {
    return since <= (this.fullUpTo.get(userId) ?? -1);
  }

  /** A module sets presences, also where they are not tracked. @throws MatrixError 400 M_UNKNOWN for a state that does not exist */
  async setByModule(users: readonly { readonly userId: string; readonly state: string; readonly statusMsg: string | undefined }[]): Promise<void> {
    const now = this.ctx.clock.now();
    for (const { state } of users) this.checkState(state);
    const old = await Promise.all(users.map(({ userId }) => this.current(userId)));
    await this.update(
      users.map(({ state, statusMsg }, index) => ({
        ...old[index]!,
        state,
        statusMsg: statusMsg ?? null,
        lastActiveTs: state === "online" || state === "busy" ? now : old[index]!.lastActiveTs,
      })),
    );
  }

  private async tellServers(states: readonly UserPresence[]): Promise<void> {
    if (!this.ctx.remote.federates) return;
    await this.tellRouted(states);
    for (const state of states) {
      const servers = new Set<string>();
      for (const roomId of await this.roomsOf([state])) for (const server of await this.ctx.members.joinedServers(roomId)) servers.add(server);
      servers.delete(this.options.serverName);
      if (servers.size > 0) this.ctx.remote.sendPresence([state], servers);
    }
  }

  /** Rooms, without the excluded ones, that these users are joined to. */
  private async roomsOf(states: readonly UserPresence[]): Promise<Set<string>> {
    const rooms = new Set<string>();
    const remote: string[] = [];
    for (const { userId } of states) {
      if (getDomain(userId) !== this.options.serverName) remote.push(userId);
      else for (const [roomId, own] of await this.ctx.members.roomsOf(userId)) if (own.membership === "join") rooms.add(roomId);
    }
    if (remote.length > 0) for (const ids of (await joinedRoomsOf(this.ctx.read, remote)).values()) for (const roomId of ids) rooms.add(roomId);
    for (const roomId of this.options.excludedRooms) rooms.delete(roomId);
    return rooms;
  }

  private async checkTimeouts(): Promise<void> {
    const now = this.ctx.clock.now();
    const changes: UserPresence[] = [];
    for (const userId of this.wheel.due(now)) {
      const state = this.states.get(userId);
      if (state === undefined) continue;
      const isLocal = getDomain(userId) === this.options.serverName;
      const devices = this.devices.get(userId) ?? new Map<string | undefined, DevicePresence>();
      const syncing = this.syncing.get(userId);
      const change = applyTimeouts(state, isLocal, devices, (deviceId) => syncing?.has(deviceId) ?? false, now, this.options.timers);
      if (devices.size === 0) this.devices.delete(userId);
      if (change !== undefined) changes.push(change);
    }
    if (changes.length > 0) await this.update(changes);
  }

  private async saveUnsaved(): Promise<void> {
    const states = [...this.unsaved].flatMap((userId) => this.states.get(userId) ?? []);
    this.unsaved.clear();
    if (states.length > 0) await this.save(states);
  }

  private inBackground(work: Promise<void>): void {
    work.catch((error: unknown) => this.ctx.log.named("synapse.handlers.presence").warn("Presence could not be updated", { error }));
  }
}
