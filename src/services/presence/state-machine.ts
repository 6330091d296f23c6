import type { UserPresence } from "../../storage/presence/presence.ts";

/**
 * How presence follows from what devices do and from time passing: Synapse's rules, as functions without effects. Times are milliseconds.
 */
export interface PresenceTimers {
  /** After this long without activity a user is no longer "currently active". */
  readonly lastActiveGranularityMs: number;
  /** After this long without a sync a device is offline. */
  readonly syncOnlineTimeoutMs: number;
  /** After this long without activity a device is idle (`unavailable`). */
  readonly idleTimeoutMs: number;
}

/** A busy device stays so for this long without a sync. */
export const BUSY_ONLINE_TIMEOUT_MS = 60 * 60 * 1000;
/** A user of another server is offline when nothing was heard for so long. */
export const REMOTE_TIMEOUT_MS = 30 * 60 * 1000;
/** Other servers hear of an online user at least this often. */
export const FEDERATION_PING_MS = 25 * 60 * 1000;

/** What one device of a local user claims. */
export interface DevicePresence {
  state: string;
  lastActiveTs: number;
  lastSyncTs: number;
}

export const offlinePresence = (userId: string): UserPresence => ({
  userId,
  state: "offline",
  lastActiveTs: 0,
  lastFederationUpdateTs: 0,
  lastUserSyncTs: 0,
  statusMsg: null,
  currentlyActive: false,
});

const RANK: Readonly<Record<string, number>> = { busy: 4, online: 3, unavailable: 2, offline: 1 };

/** The user's state: the highest of the devices, of equal ones the last active. */
export function combineDevices(devices: Iterable<DevicePresence>): string {
  let [state, lastActive] = ["offline", -1];
  for (const device of devices) {
    const [rank, best] = [RANK[device.state] ?? 0, RANK[state] ?? 0];
    if (rank > best || (rank === best && device.lastActiveTs > lastActive)) [state, lastActive] = [device.state, device.lastActiveTs];
  }
  return state;
}

/** Whether others must hear of the change. */
export function mustNotify(old: UserPresence, next: UserPresence, granularityMs: number): boolean {
  if (old.statusMsg !== next.statusMsg || old.state !== next.state) return true;
  const movedOn = next.lastActiveTs - old.lastActiveTs > granularityMs;
  if (old.state !== "online") return movedOn;
  return old.currentlyActive !== next.currentlyActive || (movedOn && !next.currentlyActive);
}

export interface Update {
  readonly next: UserPresence;
  /** Store it and tell those who share rooms. */
  readonly notify: boolean;
  /** Nothing new, but other servers must hear that the user is still there. */
  readonly ping: boolean;
  /** Times at which the user's timers are to be looked at. */
  readonly checkAt: readonly number[];
}

/** What becomes of a user's state when it is to be `wanted`. */
export function updatePresence(old: UserPresence, wanted: UserPresence, isLocal: boolean, now: number, timers: PresenceTimers): Update {
  const checkAt: number[] = [];
  let next = wanted;
  let ping = false;
  if (isLocal) {
    if (next.state === "online") {
      checkAt.push(next.lastActiveTs + timers.idleTimeoutMs);
      const active = now - next.lastActiveTs < timers.lastActiveGranularityMs;
      next = { ...next, currentlyActive: active };
      if (active) checkAt.push(next.lastActiveTs + timers.lastActiveGranularityMs);
    }
    if (next.state !== "offline") {
      checkAt.push(next.lastUserSyncTs + timers.syncOnlineTimeoutMs);
      if (now - next.lastFederationUpdateTs > FEDERATION_PING_MS) {
        next = { ...next, lastFederationUpdateTs: now };
        ping = true;
      }
    }
    if (next.state === "busy") checkAt.push(next.lastUserSyncTs + BUSY_ONLINE_TIMEOUT_MS);
  } else {
    checkAt.push(next.lastFederationUpdateTs + REMOTE_TIMEOUT_MS);
  }
  const notify = mustNotify(old, next, timers.lastActiveGranularityMs);
  if (notify) next = { ...next, lastFederationUpdateTs: now };
  return { next, notify, ping, checkAt };
}

/**
 * What time did to a user: idle devices become `unavailable`, those that no longer sync are removed from `devices`. undefined when there is
 * nothing to update.
 */
export function applyTimeouts(
  user: UserPresence,
  isLocal: boolean,
  devices: Map<string | undefined, DevicePresence>,
  isSyncing: (deviceId: string | undefined) => boolean,
  now: number,
  timers: PresenceTimers,
): UserPresence | undefined {
  if (user.state === "offline") return undefined;
  if (!isLocal) return now - user.lastFederationUpdateTs > REMOTE_TIMEOUT_MS ? { ...user, state: "offline" } : undefined;
  let devicesChanged = false;
  for (const [deviceId, device] of devices) {
    if (device.state === "online" && now - device.lastActiveTs > timers.idleTimeoutMs) {
      device.state = "unavailable";
      devicesChanged = true;
    }
    const timeout = device.state === "busy" ? BUSY_ONLINE_TIMEOUT_MS : timers.syncOnlineTimeoutMs;
    if (!isSyncing(deviceId) && now - Math.max(device.lastSyncTs, device.lastActiveTs) > timeout) {
      devices.delete(deviceId);
      devicesChanged = true;
    }
  }
  const state = devicesChanged ? combineDevices(devices.values()) : user.state;
  if (state !== user.state) return { ...user, state };
  // The caller recomputes what depends on the time: currently active, the ping of other servers.
  const due = now - user.lastActiveTs > timers.lastActiveGranularityMs || now - user.lastFederationUpdateTs > FEDERATION_PING_MS;
  return due ? user : undefined;
}
