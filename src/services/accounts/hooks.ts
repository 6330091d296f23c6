import type { IncomingHttpHeaders } from "node:http";
import type { JsonObject } from "../../lib/json.ts";
import type { Txn } from "../../storage/database.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import type { PasswordProvider } from "./credentials.ts";
import type { Deactivation } from "./deactivate.ts";
import type { Registration } from "./register.ts";

/** An HTML page, with its headers and whole Set-Cookie values. */
export interface AuthPage {
  readonly html: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly cookies: readonly string[];
}

/**
 * What other parts of the server do when accounts and devices come, change and go. `server.ts` fills the lists; each function is called
 * with the whole context, in order. Those that take a `Txn` run inside the transaction of the change, so that either all of it happens
 * or nothing.
 */
export interface AccountHooks {
  /** Devices are being deleted: their keys, dehydrated device, pushers and queued messages go too. Token rows are deleted already. */
  readonly devicesDeleted: readonly ((ctx: Context, txn: Txn, userId: string, deviceIds: readonly string[]) => Promise<void>)[];
  /** Devices were made, renamed or deleted: one entry each in the device-list stream. */
  readonly devicesChanged: readonly ((ctx: Context, txn: Txn, userId: string, deviceIds: readonly string[]) => Promise<void>)[];
  /** Access tokens (by id) were deleted: pushers that were made with them go. */
  readonly tokensDeleted: readonly ((ctx: Context, txn: Txn, userId: string, tokenIds: readonly number[]) => Promise<void>)[];

  /** Judges a registration before it happens (spam checks). */
  readonly judgeRegistration: readonly ((ctx: Context, registration: Registration) => Promise<"allow" | "deny" | "shadow ban">)[];
  /** An account is being made: rows that each user has (statistics). */
  readonly userInserted: readonly ((ctx: Context, txn: Txn, userId: string) => Promise<void>)[];
  /** A new account exists: auto-join rooms and whatever a newcomer gets. Failures are theirs to log: the account stands. */
  readonly registered: readonly ((ctx: Context, user: { userId: string; isGuest: boolean }) => Promise<void>)[];
  /** Judges a login whose credentials are right. @throws MatrixError to refuse it */
  readonly judgeLogin: readonly ((
    ctx: Context,
    login: {
      userId: string;
      deviceId: string | undefined;
      initialDisplayName: string | undefined;
      ip: string;
      userAgent: string;
      authProviderId: string | undefined;
    },
  ) => Promise<void>)[];
  /** A login token was exchanged: adds to the answer what the identity provider told. */
  readonly tokenLogin: readonly ((ctx: Context, answer: Record<string, unknown>) => Promise<void>)[];
  /** The user agreed to the terms. */
  readonly consented: readonly ((ctx: Context, userId: string) => Promise<void>)[];
  /** A local user is new, or the display name or avatar changed: the user directory follows. */
  readonly profileChanged: readonly ((ctx: Context, txn: Txn, userId: string) => Promise<void>)[];
  /** A new display name or avatar must appear in the rooms that the user is in: membership events, by a task written with the change. */
  readonly propagateProfile: readonly ((ctx: Context, txn: Txn, requester: Requester) => Promise<void>)[];

  /** Judges a deactivation before it happens. @throws MatrixError to forbid it */
  readonly judgeDeactivation: readonly ((ctx: Context, deactivation: Deactivation) => Promise<void>)[];
  /** An account is being deactivated: what else of it is stored goes (account data, pushers, key backups, thread subscriptions, directory). */
  readonly deactivated: readonly ((ctx: Context, txn: Txn, user: { userId: string; erase: boolean }) => Promise<void>)[];
  /** Unbinds the user's 3PIDs at their identity servers; false when one of them cannot. */
  readonly unbindThreepids: readonly ((ctx: Context, userId: string, idServer: string | undefined) => Promise<boolean>)[];
  /** Rejects the user's invites and knocks, before the account is closed. */
  readonly rejectInvites: readonly ((ctx: Context, userId: string) => Promise<void>)[];
  /** Leaves and forgets all rooms of a deactivated user; called again after a restart until it succeeds. */
  readonly partRooms: readonly ((ctx: Context, user: { userId: string; erased: boolean }) => Promise<void>)[];

  /** Other sources of passwords than the table, in the order of the config. */
  readonly passwordProviders: readonly PasswordProvider[];
  /** The profile of a user of another server, as that server answers; `field` asks for one field. @throws MatrixError */
  readonly remoteProfile: ((ctx: Context, userId: string, field: string | undefined) => Promise<JsonObject>) | undefined;
  /** Account statuses of users of another server (MSC3720). */
  readonly remoteAccountStatuses:
    ((ctx: Context, server: string, userIds: readonly string[]) => Promise<{ statuses: JsonObject; failures: string[] }>) | undefined;
  /** Ids of the identity providers through which the user can prove who they are (`m.login.sso` stages). */
  readonly identityProvidersOf: ((ctx: Context, userId: string) => Promise<readonly string[]>) | undefined;
  /** The page that sends a user to their identity provider to prove who they are. */
  readonly startSsoAuth:
    ((ctx: Context, request: { session: string; idpId: string | undefined; headers: IncomingHttpHeaders; ip: string }) => Promise<AuthPage>) | undefined;
  /** Identity providers shown in the login flows, in the order of the config; empty: no SSO. */
  readonly identityProviders: ((ctx: Context) => readonly JsonObject[]) | undefined;
  /** Judges whether users may have a 3PID. */
  readonly judgeThreepid: readonly ((ctx: Context, threepid: { medium: string; address: string; registration: boolean }) => Promise<boolean>)[];
  /** A user has verified a 3PID. */
  readonly threepidAdded: readonly ((ctx: Context, userId: string, medium: string, address: string) => Promise<void>)[];
  /** A user has a 3PID no longer. */
  readonly threepidRemoved: readonly ((ctx: Context, userId: string, medium: string, address: string) => Promise<void>)[];
  /** Confirms the 3PID of a validation session: its medium, address and time, once (the session ends). */
  readonly takeValidatedThreepid: ((ctx: Context, medium: "email" | "msisdn", credentials: JsonObject) => Promise<JsonObject | undefined>) | undefined;
  /** Adds a verified 3PID to an account. */
  readonly addThreepid: ((ctx: Context, userId: string, threepid: JsonObject, accessToken: string | undefined) => Promise<void>) | undefined;
  /** Asks reCAPTCHA about a response. */
  readonly verifyCaptcha: ((ctx: Context, response: string, ip: string) => Promise<boolean>) | undefined;
}

/** A server without any of it. */
export const noHooks: AccountHooks = {
  devicesDeleted: [],
  devicesChanged: [],
  tokensDeleted: [],
  judgeRegistration: [],
  userInserted: [],
  registered: [],
  judgeLogin: [],
  tokenLogin: [],
  consented: [],
  profileChanged: [],
  propagateProfile: [],
  judgeDeactivation: [],
  deactivated: [],
  unbindThreepids: [],
  rejectInvites: [],
  partRooms: [],
  passwordProviders: [],
  remoteProfile: undefined,

  remoteAccountStatuses: undefined,
  identityProvidersOf: undefined,
  startSsoAuth: undefined,
  identityProviders: undefined,
  judgeThreepid: [],
  threepidAdded: [],
  threepidRemoved: [],
  takeValidatedThreepid: undefined,
  addThreepid: undefined,
  verifyCaptcha: undefined,
};

/** An application service, as far as accounts are concerned. */
export interface AppserviceIdentity {
  readonly id: string;
  /** Full id of its own user. */
  readonly sender: string;
  readonly rateLimited: boolean;
  /** MSC4190: makes and deletes devices of its users without logging in. */
  readonly deviceManagement: boolean;
  /** MSC4502: what the registration allows beside the usual. */
  readonly scopes: readonly string[];
  /** The user is its sender or in one of its namespaces. */
  interestedInUser(userId: string): boolean;
  /** The user is its sender or in one of its exclusive namespaces. */
  ownsUser(userId: string): boolean;
  /** The alias is in one of its namespaces. */
  interestedInAlias(alias: string): boolean;
  /** The alias is in one of its exclusive namespaces. */
  ownsAlias(alias: string): boolean;
  /** Whether requests from this address may use its token. */
  acceptsAddress(ip: string): boolean;
}

/** The registered application services. */
export interface AppserviceIdentities {
  byToken(token: string): AppserviceIdentity | undefined;
  byId(id: string): AppserviceIdentity | undefined;
  all(): readonly AppserviceIdentity[];
  /** Asks the services in whose namespaces a missing local alias lies to make it; true when one of them did. */
  provideAlias(alias: string): Promise<boolean>;
}

export const noAppservices: AppserviceIdentities = {
  byToken: () => undefined,
  byId: () => undefined,
  all: () => [],
  provideAlias: () => Promise.resolve(false),
};
