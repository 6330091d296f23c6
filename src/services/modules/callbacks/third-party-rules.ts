import type { JsonObject } from "../../../lib/json.ts";
import { isJsonObject } from "../../../lib/json.ts";
import type { Logger } from "../../../lib/log.ts";
import { forbidden, MatrixError } from "../../../protocol/errors.ts";
import type { MatrixEvent, StateKey } from "../../../protocol/event/event.ts";
import type { Requester } from "../../requester.ts";
import { ModuleEvent, ModuleState } from "../events.ts";
import { whileRoomIsHeld } from "../held-room.ts";
import { thrownRefusal } from "../refusals.ts";

type MaybePromise<T> = T | Promise<T>;

/** A user's profile as it is after a change. */
export interface ModuleProfile {
  readonly display_name: string | null;
  readonly avatar_url: string | null;
}

/** Synapse's third-party rules callbacks. State comes as `ModuleState`. */
export interface ThirdPartyRulesCallbacks {
  /**
   * May an event of a local user (a template of `/make_join`, a knock) be made? `[true, event]` has it made as that dictionary says; type,
   * state key and room cannot change. Called while the room is held: do not wait for another event there. What is thrown refuses the event
   * with 500, or with the error's own status and errcode.
   */
  check_event_allowed?(event: ModuleEvent, state: ModuleState): MaybePromise<readonly [allowed: boolean, replacement?: JsonObject | undefined]>;
  /** May change `config`, or throw to refuse the room. */
  on_create_room?(requester: Requester, config: JsonObject, isRequesterAdmin: boolean): MaybePromise<void>;
  check_threepid_can_be_invited?(medium: string, address: string, state: ModuleState): MaybePromise<boolean>;
  check_visibility_can_be_modified?(roomId: string, state: ModuleState, newVisibility: "public" | "private"): MaybePromise<boolean>;
  /** Called after an event, of whatever server, was stored. */
  on_new_event?(event: ModuleEvent, state: ModuleState): MaybePromise<void>;
  check_can_shutdown_room?(userId: string | undefined, roomId: string): MaybePromise<boolean>;
  check_can_deactivate_user?(userId: string, byAdmin: boolean): MaybePromise<boolean>;
  on_profile_update?(userId: string, newProfile: ModuleProfile, byAdmin: boolean, deactivation: boolean): MaybePromise<void>;
  on_user_deactivation_status_changed?(userId: string, deactivated: boolean, byAdmin: boolean): MaybePromise<void>;
  /** The old name of `on_add_user_third_party_identifier`. */
  on_threepid_bind?(userId: string, medium: string, address: string): MaybePromise<void>;
  on_add_user_third_party_identifier?(userId: string, medium: string, address: string): MaybePromise<void>;
  on_remove_user_third_party_identifier?(userId: string, medium: string, address: string): MaybePromise<void>;
}

type Callback<K extends keyof ThirdPartyRulesCallbacks> = NonNullable<ThirdPartyRulesCallbacks[K]>;
type State = Iterable<readonly [StateKey, MatrixEvent]>;

/** The third-party rules of all modules. What the state is needed for takes it by a function, which is called when a module wants it. */
export class ThirdPartyRules {
  static readonly names: readonly (keyof ThirdPartyRulesCallbacks)[] = [
    "check_event_allowed",
    "on_create_room",
    "check_threepid_can_be_invited",
    "check_visibility_can_be_modified",
    "on_new_event",
    "check_can_shutdown_room",
    "check_can_deactivate_user",
    "on_profile_update",
    "on_user_deactivation_status_changed",
    "on_threepid_bind",
    "on_add_user_third_party_identifier",
    "on_remove_user_third_party_identifier",
  ];
  private readonly modules: ThirdPartyRulesCallbacks[] = [];

  constructor(private readonly log: Logger) {}

  register(callbacks: ThirdPartyRulesCallbacks): void {
    this.modules.push(callbacks);
  }

  has(name: keyof ThirdPartyRulesCallbacks): boolean {
    return this.modules.some((module) => module[name] !== undefined);
  }

  /** What is to be made in the event's place; undefined: the event as it is. @throws MatrixError 403, 500, or what the module threw */
  async requireAllowed(event: MatrixEvent, state: () => Promise<State>): Promise<JsonObject | undefined> {
    const callbacks = this.callbacks("check_event_allowed");
    if (callbacks.length === 0) return undefined;
    const view = new ModuleEvent(event);
    const before = await stateFor(callbacks, state);
    for (const callback of callbacks) {
      let result: unknown;
      try {
        result = await whileRoomIsHeld(event.roomId, async () => await callback(view, before));
      } catch (error) {
        this.warn("check_event_allowed", error);
        throw thrownRefusal(error) ?? new MatrixError(500, "M_UNKNOWN", "Internal server error");
      }
      const [allowed, replacement] = Array.isArray(result) ? (result as unknown[]) : [result, undefined];
      if (allowed === false) throw forbidden("This event is not allowed in this context");
      if (isJsonObject(replacement)) return replacement;
    }
    return undefined;
  }

  /** `config` is changed in place. @throws MatrixError 403, or what the module threw */
  async onCreateRoom(requester: Requester, config: JsonObject, isRequesterAdmin: boolean): Promise<void> {
    for (const callback of this.callbacks("on_create_room")) {
      try {
        await callback(requester, config, isRequesterAdmin);
      } catch (error) {
        const refusal = thrownRefusal(error);
        if (refusal === undefined) this.warn("on_create_room", error);
        throw refusal ?? new MatrixError(403, "M_UNKNOWN", "Room creation forbidden with these parameters");
      }
    }
  }

  async mayInviteThreepid(medium: string, address: string, state: () => Promise<State>): Promise<boolean> {
    return await this.allow("check_threepid_can_be_invited", state, (callback, current) => callback(medium, address, current));
  }

  async mayChangeVisibility(roomId: string, visibility: "public" | "private", state: () => Promise<State>): Promise<boolean> {
    return await this.allow("check_visibility_can_be_modified", state, (callback, current) => callback(roomId, current, visibility));
  }

  /** @throws MatrixError 403 */
  async requireMayShutDown(userId: string | undefined, roomId: string): Promise<void> {
    if (!(await this.allow("check_can_shutdown_room", noState, (callback) => callback(userId, roomId)))) throw forbidden("Shutdown of this room is forbidden");
  }

  /** @throws MatrixError 403 */
  async requireMayDeactivate(userId: string, byAdmin: boolean): Promise<void> {
    if (!(await this.allow("check_can_deactivate_user", noState, (callback) => callback(userId, byAdmin))))
      throw forbidden("Deactivation of this user is forbidden");
  }

  async newEvent(event: MatrixEvent, state: () => Promise<State>): Promise<void> {
    const callbacks = this.callbacks("on_new_event");
    if (callbacks.length === 0) return;
    const current = await stateFor(callbacks, state);
    await this.tell("on_new_event", (callback) => callback(new ModuleEvent(event), current));
  }

  async profileUpdated(userId: string, profile: ModuleProfile, byAdmin: boolean, deactivation: boolean): Promise<void> {
    await this.tell("on_profile_update", (callback) => callback(userId, profile, byAdmin, deactivation));
  }

  async deactivationChanged(userId: string, deactivated: boolean, byAdmin: boolean): Promise<void> {
    await this.tell("on_user_deactivation_status_changed", (callback) => callback(userId, deactivated, byAdmin));
  }

  async threepidAdded(userId: string, medium: string, address: string): Promise<void> {
    await this.tell("on_add_user_third_party_identifier", (callback) => callback(userId, medium, address));
    await this.tell("on_threepid_bind", (callback) => callback(userId, medium, address));
  }

  async threepidRemoved(userId: string, medium: string, address: string): Promise<void> {
    await this.tell("on_remove_user_third_party_identifier", (callback) => callback(userId, medium, address));
  }

  private callbacks<K extends keyof ThirdPartyRulesCallbacks>(name: K): Callback<K>[] {
    return this.modules.flatMap((module) =>
      module[name] === undefined ? [] : [(module[name] as (...args: unknown[]) => unknown).bind(module) as Callback<K>],
    );
  }

  /** False when a module says so; one that fails has no say. */
  private async allow<K extends keyof ThirdPartyRulesCallbacks>(
    name: K,
    state: () => Promise<State>,
    call: (callback: Callback<K>, state: ModuleState) => unknown,
  ): Promise<boolean> {
    const callbacks = this.callbacks(name);
    if (callbacks.length === 0) return true;
    const current = new ModuleState(await state());
    for (const callback of callbacks) {
      try {
        if ((await call(callback, current)) === false) return false;
      } catch (error) {
        this.warn(name, error);
      }
    }
    return true;
  }

  private async tell<K extends keyof ThirdPartyRulesCallbacks>(name: K, call: (callback: Callback<K>) => unknown): Promise<void> {
    for (const callback of this.callbacks(name)) {
      try {
        await call(callback);
      } catch (error) {
        this.warn(name, error);
      }
    }
  }

  private warn(name: string, error: unknown): void {
    this.log.warn(`The module callback ${name} failed`, { error });
  }
}

/** The state, which is large in large rooms and not gathered where all callbacks take the event alone. */
async function stateFor(callbacks: readonly { readonly length: number }[], state: () => Promise<State>): Promise<ModuleState> {
  return new ModuleState(callbacks.every(({ length }) => length === 1) ? [] : await state());
}

const noState = (): Promise<State> => Promise.resolve([]);
