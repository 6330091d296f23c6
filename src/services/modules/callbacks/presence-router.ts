import type { Logger } from "../../../lib/log.ts";
import type { UserPresence } from "../../../storage/presence/presence.ts";

import { PRESENCE_ALL_USERS } from "../presence-all-users.ts";

type MaybePromise<T> = T | Promise<T>;

/** A user's presence; times in milliseconds since the epoch. */
export interface ModulePresence {
  readonly user_id: string;
  readonly state: string;
  readonly last_active_ts: number;
  readonly last_federation_update_ts: number;
  readonly last_user_sync_ts: number;
  readonly status_msg: string | null;
  readonly currently_active: boolean;
}

/** Synapse's presence router callbacks: both, or neither. What fails counts for nothing. */
export interface PresenceRouterCallbacks {
  /** By user, local or remote, whose presence they are to get beside that of those they share rooms with. */
  get_users_for_states(
    states: readonly ModulePresence[],
  ): MaybePromise<Readonly<Record<string, Iterable<ModulePresence>>> | ReadonlyMap<string, Iterable<ModulePresence>>>;
  /** Whose presence this local user gets beside that, or `PRESENCE_ALL_USERS`. */
  get_interested_users(userId: string): MaybePromise<Iterable<string> | typeof PRESENCE_ALL_USERS>;
}

/** Where modules send presence. */
export class PresenceRouter {
  private readonly modules: PresenceRouterCallbacks[] = [];

  constructor(private readonly log: Logger) {}

  /** @throws Error for one callback without the other */
  register(callbacks: Partial<PresenceRouterCallbacks>): void {
    if (callbacks.get_users_for_states === undefined && callbacks.get_interested_users === undefined) return;
    if (callbacks.get_users_for_states === undefined || callbacks.get_interested_users === undefined)
      throw new Error("A module that routes presence registers both get_users_for_states and get_interested_users, or neither");
    this.modules.push(callbacks as PresenceRouterCallbacks);
  }

  get isEmpty(): boolean {
    return this.modules.length === 0;
  }

  /** By user id, the users whose states they get. */
  async usersForStates(states: readonly UserPresence[]): Promise<Map<string, Set<string>>> {
    const routes = new Map<string, Set<string>>();
    for (const module of this.modules) {
      try {
        const result: unknown = await module.get_users_for_states(states.map(asModulePresence));
        const entries = result instanceof Map ? result.entries() : Object.entries(result as Record<string, unknown>);
        for (const [userId, wanted] of entries as Iterable<[string, Iterable<ModulePresence>]>) {
          const known = routes.get(userId) ?? new Set<string>();
          for (const { user_id: other } of wanted) known.add(other);
          routes.set(userId, known);
        }
      } catch (error) {
        this.log.warn("The module callback get_users_for_states failed", { error });
      }
    }
    return routes;
  }

  async interestedUsers(userId: string): Promise<ReadonlySet<string> | typeof PRESENCE_ALL_USERS> {
    const users = new Set<string>();
    for (const module of this.modules) {
      try {
        const result = await module.get_interested_users(userId);
        if (result === PRESENCE_ALL_USERS) return PRESENCE_ALL_USERS;
        if (typeof result === "string") throw new Error(`${result} is no list of users`);
        for (const user of result) users.add(user);
      } catch (error) {
        this.log.warn("The module callback get_interested_users failed", { error });
      }
    }
    return users;
  }
}

function asModulePresence(state: UserPresence): ModulePresence {
  return {
    user_id: state.userId,
    state: state.state,
    last_active_ts: state.lastActiveTs,
    last_federation_update_ts: state.lastFederationUpdateTs,
    last_user_sync_ts: state.lastUserSyncTs,
    status_msg: state.statusMsg,
    currently_active: state.currentlyActive,
  };
}
