import type { Config } from "../../config/config.ts";
import { ConfigError } from "../../config/errors.ts";
import type { JsonObject } from "../../lib/json.ts";
import { isJsonObject } from "../../lib/json.ts";
import type { Logger } from "../../lib/log.ts";
import { invalidParam, MatrixError } from "../../protocol/errors.ts";
import { stateKeyOf } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import { actionsProblem } from "../../protocol/push-rules/rules.ts";
import { getSightingsOfUser } from "../../storage/accounts/client-ips.ts";
import { insertExternalIds } from "../../storage/accounts/external-ids.ts";
import { listMonthlyActiveByService } from "../../storage/accounts/monthly-active-users.ts";
import { getProfile } from "../../storage/accounts/profiles.ts";
import { findUsersIgnoringCase, setUserFlags } from "../../storage/accounts/users.ts";
import { addBinding } from "../../storage/threepids/bindings.ts";
import { getThreepidsOfUser } from "../../storage/threepids/user-threepids.ts";
import { createLoginToken } from "../accounts/login.ts";
import { changeProfile } from "../accounts/profile.ts";
import { registerUser } from "../accounts/register.ts";
import { logout, type Session, startSession } from "../accounts/sessions.ts";
import { checkUsername } from "../accounts/usernames.ts";
import { shutdownRoom } from "../admin/shutdown-room.ts";
import type { Context } from "../context.ts";
import { resolveAlias } from "../directory/aliases.ts";
import { sendEvent } from "../events/send.ts";
import { setRuleActions } from "../push/rules.ts";
import { type Requester, requesterFor } from "../requester.ts";
import { createRoom } from "../rooms/create.ts";
import type { MembershipAction } from "../rooms/local-membership.ts";
import { updateMembership } from "../rooms/membership.ts";
import { purgeRoom } from "../rooms/purge.ts";
import { addThreepid } from "../threepid/threepids.ts";
import { BackgroundCalls } from "./background-calls.ts";
import type { AccountDataCallbacks } from "./callbacks/account-data.ts";
import type { AccountValidityCallbacks } from "./callbacks/account-validity.ts";
import type { BackgroundUpdateCallbacks } from "./callbacks/background-updates.ts";
import type { FederationCallbacks } from "./callbacks/federation.ts";
import type { MediaRepositoryCallbacks } from "./callbacks/media-repository.ts";
import type { PasswordAuthCallbacks } from "./callbacks/password-auth.ts";
import type { PresenceRouterCallbacks } from "./callbacks/presence-router.ts";
import type { RatelimitCallbacks } from "./callbacks/ratelimit.ts";
import type { SpamCheckerCallbacks } from "./callbacks/spam-checker.ts";
import type { ThirdPartyRulesCallbacks } from "./callbacks/third-party-rules.ts";
import type { AddFieldsToUnsigned } from "./callbacks/unsigned.ts";
import type { ModuleCallbacks } from "./callbacks.ts";
import { AccountDataManager, ModuleHttpClient, PublicRoomListManager } from "./managers.ts";
import { ModuleTransaction } from "./database-calls.ts";
import { ModuleEvent, ModuleState } from "./events.ts";
import { requireRoomIsFree } from "./held-room.ts";
import { PRESENCE_ALL_USERS } from "./presence-all-users.ts";
import { NOT_SPAM } from "./refusals.ts";
import { ssoLoginResponse } from "./sso-login.ts";
import { moduleUserInfo, type ModuleUserInfo } from "./user-info.ts";
import type { ModuleRequest, ModuleResponse, WebResource } from "./web-resources.ts";

/** An event that a module sends. */
export interface EventToSend {
  readonly type: string;
  readonly room_id: string;
  /** A user of this server. */
  readonly sender: string;
  readonly content: JsonObject;
  readonly state_key?: string;
  readonly redacts?: string;
}

const QUIET = { rateLimit: false };

/**
 * What modules get in hand: Synapse's `ModuleApi` under the same names. Callbacks are registered while the module is made; the rest may
 * be called from callbacks and afterwards, but for a few properties not while it is being made. Errors that are thrown as `MatrixError`,
 * or that carry `errcode` and an HTTP `status`, reach the client as they are where Synapse lets a `SynapseError` through.
 */
export class ModuleApi {
  readonly NOT_SPAM = NOT_SPAM;
  readonly PRESENCE_ALL_USERS = PRESENCE_ALL_USERS;
  readonly errors = { MatrixError };
  readonly log: Logger;
  /** Requests to web services that the admin configured, through the forward proxy where there is one. */
  readonly http_client: ModuleHttpClient;
  readonly public_room_list_manager: PublicRoomListManager;
  readonly account_data_manager: AccountDataManager;
  private readonly background: BackgroundCalls;

  constructor(
    private readonly config: Config,
    /** Not to be called while the server is being composed. */
    private readonly context: () => Context,
    private readonly callbacks: ModuleCallbacks,
    log: Logger,
  ) {
    this.log = log.named("synapse.module_api");
    this.http_client = new ModuleHttpClient(context);
    this.public_room_list_manager = new PublicRoomListManager(context);
    this.account_data_manager = new AccountDataManager(context);
    this.background = new BackgroundCalls(context, this.log);
  }

  // Registering.

  register_spam_checker_callbacks(callbacks: SpamCheckerCallbacks): void {
    this.callbacks.spamChecker.register(callbacks);
  }
  register_third_party_rules_callbacks(callbacks: ThirdPartyRulesCallbacks): void {
    this.callbacks.thirdPartyRules.register(callbacks);
  }
  register_account_validity_callbacks(callbacks: AccountValidityCallbacks): void {
    this.callbacks.accountValidity.register(callbacks);
  }
  register_ratelimit_callbacks(callbacks: RatelimitCallbacks): void {
    this.callbacks.ratelimit.register(callbacks);
  }
  register_media_repository_callbacks(callbacks: MediaRepositoryCallbacks): void {
    this.callbacks.media.register(callbacks);
  }
  register_presence_router_callbacks(callbacks: PresenceRouterCallbacks): void {
    this.callbacks.presenceRouter.register(callbacks);
  }
  /** @throws ConfigError where accounts are delegated: nobody logs in here */
  register_password_auth_provider_callbacks(callbacks: PasswordAuthCallbacks): void {
    if (this.config.mas.enabled) throw new ConfigError("cannot be enabled together with modules that check passwords", "matrix_authentication_service");
    this.callbacks.passwordAuth.register(callbacks);
  }
  register_background_update_controller_callbacks(callbacks: BackgroundUpdateCallbacks): void {
    this.callbacks.backgroundUpdates.register(callbacks);
  }
  register_account_data_callbacks(callbacks: AccountDataCallbacks): void {
    this.callbacks.accountData.register(callbacks);
  }
  register_federation_callbacks(callbacks: FederationCallbacks): void {
    this.callbacks.federation.register(callbacks);
  }
  register_add_extra_fields_to_unsigned_client_event_callbacks(callbacks: { add_field_to_unsigned_callback?: AddFieldsToUnsigned }): void {
    if (callbacks.add_field_to_unsigned_callback !== undefined) this.callbacks.unsigned.register(callbacks.add_field_to_unsigned_callback);
  }
  /** Serves a path with all that is below it; `/_synapse/client/...` is meant for that. */
  register_web_resource(path: string, resource: WebResource): void {
    this.callbacks.webResources.register(path, resource);
  }

  // This server.

  get server_name(): string {
    return this.config.server.serverName;
  }
  /** With a trailing slash. */
  get public_baseurl(): string {
    return this.config.server.publicBaseurl;
  }
  get email_app_name(): string {
    return this.config.email.appName;
  }
  /** undefined in the main process. */
  get worker_name(): string | undefined {
    const { instanceName, isMain } = this.config.workers;
    return isMain ? undefined : instanceName;
  }
  /** undefined in the main process. */
  get worker_app(): string | undefined {
    return this.worker_name === undefined ? undefined : "synapse.app.generic_worker";
  }
  should_run_background_tasks(): boolean {
    return true;
  }
  is_mine(id: string): boolean {
    return getDomain(id) === this.server_name;
  }
  /** `name` or `@name:server` -> the full id. */
  get_qualified_user_id(username: string): string {
    return username.startsWith("@") ? username : `@${username}:${this.server_name}`;
  }
  get_current_time_msec(): number {
    return this.context().clock.now();
  }

  // Accounts.

  async get_userinfo_by_id(userId: string): Promise<ModuleUserInfo | undefined> {
    const user = await this.context().accounts.user(userId);
    return user === undefined ? undefined : moduleUserInfo(user);
  }

  /** Who makes a request to a path of the module. @throws MatrixError 401, 403 */
  async get_user_by_req(request: ModuleRequest, options: { allow_guest?: boolean; allow_expired?: boolean } = {}): Promise<Requester> {
    const bearer = /^Bearer ([^ ]+)$/.exec(request.headers.authorization ?? "")?.[1];
    const token = bearer ?? request.query.get("access_token");
    if (token === null) throw new MatrixError(401, "M_MISSING_TOKEN", "Missing access token");
    return await this.context().authenticate({
      token,
      asUser: request.query.get("user_id") ?? undefined,
      asDevice: request.query.get("device_id") ?? undefined,
      ip: request.ip,
      userAgent: request.user_agent,
      allowGuest: options.allow_guest ?? false,
      allowLocked: false,
      allowExpired: options.allow_expired ?? false,
    });
  }

  async is_user_admin(userId: string): Promise<boolean> {
    return (await this.context().accounts.user(userId))?.admin ?? false;
  }
  async set_user_admin(userId: string, admin: boolean): Promise<void> {
    const ctx = this.context();
    await ctx.transaction("set_server_admin", (txn) => setUserFlags(txn, ctx.accounts, userId, { admin }));
  }

  /** The id of the account, as it is written in the table; undefined when there is none. Case counts only where several ids differ by it. */
  async check_user_exists(userId: string): Promise<string | undefined> {
    const found = await findUsersIgnoringCase(this.context().read, userId);
    return (found.find(({ name }) => name === userId) ?? (found.length === 1 ? found[0] : undefined))?.name;
  }

  /** @throws MatrixError 400, where nobody may register under the name */
  async check_username(username: string): Promise<void> {
    await checkUsername(this.context(), username);
  }

  /** Makes an account without a password; returns its id. @throws MatrixError */
  async register_user(localpart: string, displayname?: string, emails: readonly string[] = [], admin = false): Promise<string> {
    const ctx = this.context();
    const userId = await registerUser(ctx, { localpart, passwordHash: null, displayName: displayname, admin });
    for (const address of emails) await addThreepid(ctx, userId, { medium: "email", address, validatedAt: ctx.clock.now() });
    return userId;
  }

  /** An account with a device that nobody else knows, as Synapse has it for old modules: its id and an access token. */
  async register(localpart: string, displayname?: string, emails: readonly string[] = []): Promise<readonly [userId: string, accessToken: string]> {
    const userId = await this.register_user(localpart, displayname, emails);
    return [userId, (await this.register_device(userId)).accessToken];
  }

  /** Makes a device and its access token. */
  async register_device(userId: string, deviceId?: string, initialDisplayName?: string): Promise<Session> {
    return await startSession(this.context(), { userId, deviceId, initialDisplayName });
  }

  /** @throws Error when somebody else has that external id */
  async record_user_external_id(authProvider: string, externalId: string, userId: string): Promise<void> {
    const ctx = this.context();
    const stored = await ctx.transaction("record_user_external_id", (txn) =>
      insertExternalIds(txn, userId, [{ auth_provider: authProvider, external_id: externalId }]),
    );
    if (!stored) throw new Error(`The external id of ${userId} at ${authProvider} is taken`);
  }

  async create_login_token(userId: string, durationInMs = 120_000, authProviderId?: string, authProviderSessionId?: string): Promise<string> {
    return await createLoginToken(this.context(), userId, { lifetimeMs: durationInMs, authProviderId, authProviderSessionId });
  }

  /** Ends the session of the token, with its device. @throws MatrixError 401 */
  async invalidate_access_token(accessToken: string): Promise<void> {
    const ctx = this.context();
    const token = await ctx.accounts.token(accessToken);
    if (token === undefined) throw new MatrixError(401, "M_UNKNOWN_TOKEN", "Unrecognised access token");
    const requester = requesterFor(token.userId, { authenticatedEntity: token.owner });
    await logout(ctx, { ...requester, deviceId: token.deviceId ?? undefined, accessTokenId: token.id }, accessToken);
  }

  /** @throws MatrixError 404 */
  async get_profile_for_user(localpart: string): Promise<{ display_name: string | null; avatar_url: string | null }> {
    const profile = await getProfile(this.context().read, `@${localpart}:${this.server_name}`);
    if (profile === undefined) throw new MatrixError(404, "M_NOT_FOUND", "Profile was not found");
    return { display_name: profile.displayname, avatar_url: profile.avatarUrl };
  }

  async set_displayname(userId: string, newDisplayname: string): Promise<void> {
    const requester = requesterFor(userId);
    await changeProfile(this.context(), requester, { userId, field: "displayname", value: newDisplayname, byAdmin: true, propagate: true });
  }

  async get_threepids_for_user(userId: string): Promise<{ medium: string; address: string; validated_at: number; added_at: number }[]> {
    return await getThreepidsOfUser(this.context().read, userId);
  }

  /** Notes that an identity server binds the address to the user. */
  async store_remote_3pid_association(userId: string, medium: string, address: string, idServer: string): Promise<void> {
    await this.context().transaction("add_user_bound_threepid", (txn) => addBinding(txn, userId, medium, address, idServer));
  }

  /** Where the user was seen since `sinceTs` (ms). */
  async get_user_ip_and_agents(userId: string, sinceTs = 0): Promise<{ ip: string; user_agent: string; last_seen: number }[]> {
    if (!this.is_mine(userId)) return [];
    const sightings = await getSightingsOfUser(this.context().read, userId, sinceTs);
    return sightings.map(({ ip, userAgent, lastSeen }) => ({ ip, user_agent: userAgent, last_seen: lastSeen }));
  }

  /** Who counts as active this month, with their application service (`native`: none). Bounds in milliseconds. */
  async get_monthly_active_users_by_service(startTimestamp?: number, endTimestamp?: number): Promise<(readonly [service: string, userId: string])[]> {
    const users = await listMonthlyActiveByService(this.context().read, startTimestamp, endTimestamp);
    return users.map(({ service, userId }) => [service, userId]);
  }

  /** @throws Error for actions that are none */
  check_push_rule_actions(actions: readonly (string | JsonObject)[]): void {
    const problem = actionsProblem([...actions]);
    if (problem !== undefined) throw new MatrixError(400, "M_UNKNOWN", `Invalid actions: ${problem}`);
  }

  /** Only the scope `global` exists. @throws MatrixError 400, 404 */
  async set_push_rule_action(userId: string, scope: string, kind: string, ruleId: string, actions: readonly (string | JsonObject)[]): Promise<void> {
    if (scope !== "global") throw invalidParam("The only scope is global");
    await setRuleActions(this.context(), userId, kind, ruleId, [...actions]);
  }

  /**
   * Sends `content` as the `notification` to the push gateways of a user, or of one device, with `tweaks` and what is to be added to the pusher's
   * `default_payload`. By device id, whether it arrived.
   */
  async send_http_push_notification(
    userId: string,
    deviceId: string | undefined,
    content: JsonObject,
    tweaks: JsonObject = {},
    defaultPayload: JsonObject = {},
  ): Promise<Record<string, boolean>> {
    return await this.context().pushers.dispatch(userId, deviceId, { content, tweaks, defaultPayload });
  }

  /**
   * The end of a login by a way of the module's own, for an account that exists: return what this returns from your web resource. The browser is sent
   * back to the client with a login token, after a word of confirmation unless `sso.client_whitelist` names the client.
   */
  async complete_sso_login_async(
    registeredUserId: string,
    _request: ModuleRequest,
    clientRedirectUrl: string,
    newUser = false,
    authProviderId = "<unknown>",
  ): Promise<ModuleResponse> {
    return await ssoLoginResponse(this.context(), { userId: registeredUserId, clientRedirectUrl, isNew: newUser, providerId: authProviderId });
  }

  // Rooms.

  /** The current state, or what of it the filter names: `[type, state key]`, undefined for any. */
  async get_room_state(roomId: string, eventFilter?: Iterable<readonly [type: string, stateKey: string | undefined]>): Promise<ModuleState> {
    const state = await this.context().state.current(roomId);
    if (eventFilter === undefined) return new ModuleState(state);
    const wanted = [...eventFilter];
    return new ModuleState(
      [...state].filter(([, event]) => wanted.some(([type, key]) => event.type === type && (key === undefined || event.stateKey === key))),
    );
  }

  async get_state_events_in_room(roomId: string, types: Iterable<readonly [type: string, stateKey: string | undefined]>): Promise<ModuleEvent[]> {
    return [...(await this.get_room_state(roomId, types)).values()];
  }

  /** Sends an event of any kind but a membership, without rate limits. @throws MatrixError 403 and others */
  async create_and_send_event_into_room(event: EventToSend): Promise<ModuleEvent> {
    const ctx = this.context();
    requireRoomIsFree(event.room_id);
    if (!this.is_mine(event.sender)) throw new Error("Tried to send an event as a user that isn't local to this homeserver");
    const { room_id: roomId, type, state_key: stateKey, content, redacts } = event;
    const input = { roomId, type, stateKey, content, redacts };
    const { eventId } = await sendEvent(ctx, requesterFor(event.sender), input, { ...QUIET, ignoreShadowBan: true });
    return await this.event(eventId);
  }

  /** Changes a membership: `newMembership` is an action as in the client API (`join`, `invite`, `leave`, `ban`, `kick`, `unban`, `knock`). */
  async update_room_membership(
    sender: string,
    target: string,
    roomId: string,
    newMembership: string,
    content: JsonObject = {},
    remoteRoomHosts: readonly string[] = [],
  ): Promise<ModuleEvent> {
    const ctx = this.context();
    requireRoomIsFree(roomId);
    if (!this.is_mine(sender)) throw new Error("Tried to send an event as a user that isn't local to this homeserver");
    const change = { roomId, target, action: newMembership as MembershipAction, content, remoteServers: remoteRoomHosts };
    return await this.event((await updateMembership(ctx, requesterFor(sender), change)).eventId);
  }

  /** @returns the id of the room and its alias */
  async create_room(
    userId: string,
    config: JsonObject,
    ratelimit = true,
    creatorJoinProfile?: JsonObject,
  ): Promise<readonly [roomId: string, alias: string | undefined]> {
    const options = { rateLimit: ratelimit, creatorProfile: creatorJoinProfile };
    const { roomId, alias } = await createRoom(this.context(), requesterFor(userId), config, options);
    return [roomId, alias];
  }

  /** Takes all local users out of the room and deletes all that is stored of it. @throws MatrixError 403 where a module forbids it */
  async delete_room(roomId: string): Promise<void> {
    const ctx = this.context();
    await ctx.modules.thirdPartyRules.requireMayShutDown(undefined, roomId);
    const options = { new_room_user_id: null, new_room_name: null, message: null, requester_user_id: null, block: false, purge: true, force_purge: false };
    await shutdownRoom(ctx, roomId, options);
    await purgeRoom(ctx, roomId, false);
  }

  /** @throws MatrixError 404, 502 */
  async lookup_room_alias(alias: string): Promise<readonly [roomId: string, servers: readonly string[]]> {
    const { roomId, servers } = await resolveAlias(this.context(), alias);
    return [roomId, servers];
  }

  async get_canonical_room_alias(roomId: string): Promise<string | undefined> {
    const event = (await this.context().state.current(roomId, [stateKeyOf("m.room.canonical_alias", "")])).values().next().value;
    const alias = isJsonObject(event?.content) ? event.content.alias : undefined;
    return typeof alias === "string" && alias !== "" ? alias : undefined;
  }

  // Presence.

  /** These users get the presence of all local users who are online. */
  async send_local_online_presence_to(users: Iterable<string>): Promise<void> {
    await this.context().presence.sendOnlineTo([...users]);
  }

  /** By user id, state and status message. */
  async set_presence_for_users(users: Readonly<Record<string, readonly [state: string, statusMsg?: string | null]>>): Promise<void> {
    await this.context().presence.setByModule(
      Object.entries(users).map(([userId, [state, statusMsg]]) => ({ userId, state, statusMsg: statusMsg ?? undefined })),
    );
  }

  // Time and background work.

  /** Calls `fn` each `msec` milliseconds while the server runs. Failures are logged. */
  looping_background_call(fn: () => unknown, msec: number, options: { desc?: string; run_on_all_instances?: boolean } = {}): void {
    this.background.loop(fn, msec, options.desc);
  }
  delayed_background_call(msec: number, fn: () => unknown, options: { desc?: string } = {}): void {
    this.background.later(fn, msec, options.desc);
  }
  /** Runs `fn` without anybody waiting; a failure is logged. Also the way out of a callback that judges an event. */
  run_as_background_process(desc: string, fn: () => unknown): void {
    this.background.now(fn, desc);
  }
  async sleep(seconds: number): Promise<void> {
    await this.context().clock.sleep(seconds * 1_000);
  }

  /**
   * Runs `fn` in a transaction of the server's database: for tables of the module's own. It is run again where the database asks for that, and what it
   * returns is returned.
   */
  async run_db_interaction<T, A extends readonly unknown[]>(desc: string, fn: (txn: ModuleTransaction, ...args: A) => Promise<T>, ...args: A): Promise<T> {
    return await this.context().transaction(desc, (txn) => fn(new ModuleTransaction(txn), ...args));
  }

  // Mails and pages.

  /** @throws Error where the config has no `email`, or the mail server refuses */
  async send_mail(recipient: string, subject: string, html: string, text: string): Promise<void> {
    const { mail } = this.context();
    if (mail === undefined) throw new Error("This server sends no mails: the config has no `email`");
    await mail.send({ to: recipient, subject, html, text });
  }
  /** By name, functions that render the templates: those of `customTemplateDirectory` before the server's own. */
  read_templates(filenames: readonly string[], customTemplateDirectory?: string): ((values: Readonly<Record<string, unknown>>) => string)[] {
    return filenames.map((name) => (values) => this.context().templates.render(name, values, customTemplateDirectory));
  }

  /** The server is composed: background calls that were asked for begin. */
  start(): void {
    this.background.start();
  }
  /** Stops what runs in the background. */
  close(): void {
    this.background.close();
  }

  private async event(eventId: string): Promise<ModuleEvent> {
    const event = await this.context().events.one(eventId);
    if (event === undefined) throw new Error(`The event ${eventId} was not stored`);
    return new ModuleEvent(event);
  }
}
