import type { JsonObject } from "../../../lib/json.ts";
import type { Logger } from "../../../lib/log.ts";
import { forbidden } from "../../../protocol/errors.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { cloneJson } from "../clone-json.ts";
import { ModuleEvent } from "../events.ts";
import { whileRoomIsHeld } from "../held-room.ts";
import {
  callModule,
  type ErrorCode,
  isErrorCode,
  isRefusalWithFields,
  NOT_SPAM,
  readVerdict,
  refuse,
  type Refusal,
  type RefusalWithFields,
} from "../refusals.ts";

type MaybePromise<T> = T | Promise<T>;

/** `NOT_SPAM`, an error code, or a code with further keys of the answer. */
export type Verdict = typeof NOT_SPAM | ErrorCode | RefusalWithFields;

/** Who asks: pairs of user agent and address. */
export type RequestInfo = readonly (readonly [userAgent: string | undefined, ip: string])[];

export interface UserProfile {
  readonly user_id: string;
  readonly display_name: string | null;
  readonly avatar_url: string | null;
}

/** A file of the media repository while it is being stored. */
export interface MediaFileToCheck {
  /** Where it lies at present; the callback may read it, and must not keep the path. */
  readonly path: string;
  /** Calls `write` with each chunk. */
  write_chunks_to(write: (chunk: Buffer) => void): Promise<void>;
  read(): Promise<Buffer>;
}

/** What is known of the file. */
export interface MediaFileInfo {
  /** undefined for media of this server. */
  readonly server_name: string | undefined;
  readonly file_id: string;
  readonly url_cache: boolean;
  readonly thumbnail: { readonly width: number; readonly height: number; readonly method: string; readonly type: string } | undefined;
}

/**
 * Synapse's spam checker callbacks. Those that answer with a verdict may in their old form answer with a boolean: `true` says "spam" in
 * `check_event_for_spam` and `check_media_file_for_spam`, and "allowed" in those called `user_may_...`. An error that is thrown refuses the
 * request.
 */
export interface SpamCheckerCallbacks {
  /** Any text that is no error code is the message of the refusal. Events of other servers are soft-failed. */
  check_event_for_spam?(event: ModuleEvent): MaybePromise<Verdict | string | boolean>;
  /** `true` or a text: the event of another server is dropped, which takes this server's view of the room away from that of the others. */
  should_drop_federated_event?(event: ModuleEvent): MaybePromise<boolean | string>;
  user_may_join_room?(userId: string, roomId: string, isInvited: boolean): MaybePromise<Verdict | boolean>;
  user_may_invite?(inviter: string, invitee: string, roomId: string): MaybePromise<Verdict | boolean>;
  /** Invites by users of other servers; `user_may_invite` is asked after it. */
  federated_user_may_invite?(event: ModuleEvent): MaybePromise<Verdict | boolean>;
  user_may_send_3pid_invite?(inviter: string, medium: string, address: string, roomId: string): MaybePromise<Verdict | boolean>;
  user_may_create_room?(userId: string, roomConfig: JsonObject): MaybePromise<Verdict | boolean>;
  user_may_create_room_alias?(userId: string, roomAlias: string): MaybePromise<Verdict | boolean>;
  user_may_publish_room?(userId: string, roomId: string): MaybePromise<Verdict | boolean>;
  user_may_send_state_event?(userId: string, roomId: string, eventType: string, stateKey: string, content: JsonObject): MaybePromise<Verdict>;
  /** `true`: the user is left out of what user directory searches find. */
  check_username_for_spam?(profile: UserProfile, requesterId: string): MaybePromise<boolean>;
  check_registration_for_spam?(
    emailThreepid: { readonly medium: string; readonly address: string } | undefined,
    username: string | undefined,
    requestInfo: RequestInfo,
    authProviderId: string | undefined,
  ): MaybePromise<RegistrationBehaviour>;
  check_media_file_for_spam?(file: MediaFileToCheck, info: MediaFileInfo): MaybePromise<Verdict | boolean>;
  check_login_for_spam?(
    userId: string,
    deviceId: string | undefined,
    initialDisplayName: string | undefined,
    requestInfo: RequestInfo,
    authProviderId: string | undefined,
  ): MaybePromise<Verdict>;
}

/** What becomes of a registration. */
export type RegistrationBehaviour = "allow" | "deny" | "shadow_ban";

type Callback<K extends keyof SpamCheckerCallbacks> = NonNullable<SpamCheckerCallbacks[K]>;

const NAMES = [
  "check_event_for_spam",
  "should_drop_federated_event",
  "user_may_join_room",
  "user_may_invite",
  "federated_user_may_invite",
  "user_may_send_3pid_invite",
  "user_may_create_room",
  "user_may_create_room_alias",
  "user_may_publish_room",
  "user_may_send_state_event",
  "check_username_for_spam",
  "check_registration_for_spam",
  "check_media_file_for_spam",
  "check_login_for_spam",
] as const satisfies readonly (keyof SpamCheckerCallbacks)[];

/** The spam checkers of all modules. Each method asks them in the order of the config until one refuses; those that refuse throw. */
export class SpamChecker {
  static readonly names: readonly (keyof SpamCheckerCallbacks)[] = NAMES;
  private readonly modules: SpamCheckerCallbacks[] = [];

  constructor(private readonly log: Logger) {}

  register(callbacks: SpamCheckerCallbacks): void {
    this.modules.push(callbacks);
  }

  /** Somebody judges events at all: whoever would have to gather much for it asks first. */
  get judgesEvents(): boolean {
    return this.has("check_event_for_spam");
  }

  has(name: keyof SpamCheckerCallbacks): boolean {
    return this.modules.some((module) => module[name] !== undefined);
  }

  /** @throws MatrixError 403 for an event of a local user that is spam; called with the room held */
  async requireNoSpam(event: MatrixEvent): Promise<void> {
    const verdict = await this.spamIn(event);
    if (verdict === undefined) return;
    throw typeof verdict === "string" ? forbidden(verdict) : refuse(verdict, "This message has been rejected as probable spam");
  }

  /** What a module has against an event; a text is for people. */
  async spamIn(event: MatrixEvent): Promise<Refusal | string | undefined> {
    const callbacks = this.callbacks("check_event_for_spam");
    if (callbacks.length === 0) return undefined;
    const view = new ModuleEvent(event);
    for (const callback of callbacks) {
      const result: unknown = await whileRoomIsHeld(event.roomId, async () => await callback(view));
      if (result === false || result === NOT_SPAM) continue;
      if (result === true) return { errcode: "M_FORBIDDEN", fields: {} };
      if (isErrorCode(result)) return { errcode: result, fields: {} };
      if (isRefusalWithFields(result)) return { errcode: result[0], fields: result[1] };
      if (typeof result === "string") return result;
      this.log.warn("A module returned an invalid value: the message is refused as spam");
      return "This message has been rejected as probable spam";
    }
    return undefined;
  }

  /** Is an event of another server to be dropped as if it had never come? */
  async dropsFederatedEvent(event: MatrixEvent): Promise<boolean> {
    for (const callback of this.callbacks("should_drop_federated_event")) if (await callback(new ModuleEvent(event))) return true;
    return false;
  }

  async requireMayJoin(userId: string, roomId: string, isInvited: boolean): Promise<void> {
    await this.require("user_may_join_room", true, "Not allowed to join this room", (callback) => callback(userId, roomId, isInvited));
  }

  /** Undefined when the invite may be sent. */
  async inviteRefusal(inviter: string, invitee: string, roomId: string): Promise<Refusal | undefined> {
    return await this.ask("user_may_invite", true, (callback) => callback(inviter, invitee, roomId));
  }

  async requireFederatedMayInvite(event: MatrixEvent): Promise<void> {
    const refusal =
      (await this.ask("federated_user_may_invite", true, (callback) => callback(new ModuleEvent(event)))) ??
      (await this.inviteRefusal(event.sender, event.stateKey ?? "", event.roomId));
    if (refusal !== undefined) throw refuse(refusal, "This user is not permitted to send invites to this server/user");
  }

  async requireMayInviteThreepid(inviter: string, medium: string, address: string, roomId: string): Promise<void> {
    await this.require("user_may_send_3pid_invite", true, "Cannot send threepid invite", (callback) => callback(inviter, medium, address, roomId));
  }

  async requireMayCreateRoom(userId: string, roomConfig: JsonObject): Promise<void> {
    await this.require("user_may_create_room", true, "You are not permitted to create rooms", (callback) => callback(userId, cloneJson(roomConfig)));
  }

  async requireMayCreateAlias(userId: string, alias: string): Promise<void> {
    await this.require("user_may_create_room_alias", true, "This user is not permitted to create this alias", (callback) => callback(userId, alias));
  }

  async requireMayPublish(userId: string, roomId: string): Promise<void> {
    const message = "This user is not permitted to publish rooms to the room list";
    await this.require("user_may_publish_room", true, message, (callback) => callback(userId, roomId));
  }

  async requireMaySendState(userId: string, roomId: string, eventType: string, stateKey: string, content: JsonObject): Promise<void> {
    await this.require("user_may_send_state_event", undefined, "You are not permitted to send the state event", (callback) =>
      callback(userId, roomId, eventType, stateKey, cloneJson(content)),
    );
  }

  /** The users whom the directory may show. */
  async withoutSpammers<T extends UserProfile>(profiles: readonly T[], requesterId: string): Promise<T[]> {
    const callbacks = this.callbacks("check_username_for_spam");
    const shown: T[] = [];
    for (const profile of profiles) {
      let spam = false;
      for (const callback of callbacks) if ((spam = Boolean(await callback({ ...profile }, requesterId)))) break;
      if (!spam) shown.push(profile);
    }
    return shown;
  }

  async judgeRegistration(
    threepid: { readonly medium: string; readonly address: string } | undefined,
    username: string | undefined,
    requestInfo: RequestInfo,
    authProviderId: string | undefined,
  ): Promise<RegistrationBehaviour> {
    for (const callback of this.callbacks("check_registration_for_spam")) {
      const behaviour = await callback(threepid, username, requestInfo, authProviderId);
      if (behaviour !== "allow" && behaviour !== "deny" && behaviour !== "shadow_ban")
        throw new Error('check_registration_for_spam must answer "allow", "deny" or "shadow_ban"');
      if (behaviour !== "allow") return behaviour;
    }
    return "allow";
  }

  async mediaRefusal(file: MediaFileToCheck, info: MediaFileInfo): Promise<Refusal | undefined> {
    return await this.ask("check_media_file_for_spam", false, (callback) => callback(file, info));
  }

  async requireMayLogin(
    userId: string,
    deviceId: string | undefined,
    initialDisplayName: string | undefined,
    requestInfo: RequestInfo,
    authProviderId: string | undefined,
  ): Promise<void> {
    await this.require("check_login_for_spam", undefined, "Login was blocked by the server", (callback) =>
      callback(userId, deviceId, initialDisplayName, requestInfo, authProviderId),
    );
  }

  private callbacks<K extends keyof SpamCheckerCallbacks>(name: K): Callback<K>[] {
    return this.modules.flatMap((module) => {
      if (module[name] === undefined) return [];
      const call = (...args: unknown[]): unknown => callModule(() => (module[name] as (...args: unknown[]) => unknown).apply(module, args));
      return [call as Callback<K>];
    });
  }

  private async ask<K extends keyof SpamCheckerCallbacks>(
    name: K,
    passes: boolean | undefined,
    call: (callback: Callback<K>) => unknown,
  ): Promise<Refusal | undefined> {
    for (const callback of this.callbacks(name)) {
      const refusal = readVerdict(await call(callback), passes, () => this.log.warn(`A module returned an invalid value from ${name}: the request is refused`));
      if (refusal !== undefined) return refusal;
    }
    return undefined;
  }

  private async require<K extends keyof SpamCheckerCallbacks>(
    name: K,
    passes: boolean | undefined,
    message: string,
    call: (callback: Callback<K>) => unknown,
  ): Promise<void> {
    const refusal = await this.ask(name, passes, call);
    if (refusal !== undefined) throw refuse(refusal, message);
  }
}
