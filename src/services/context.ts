import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import type { JsonObject } from "../lib/json.ts";
import type { Logger } from "../lib/log.ts";
import type { DeliveryMetrics, FinishedRequest } from "../lib/metrics.ts";
import type { Random } from "../lib/random.ts";
import type { AccountCache } from "../storage/accounts/account-cache.ts";
import type { Database, LastStatements, ReadHandle, Txn, TransactionOptions } from "../storage/database.ts";
import type { AuthGraph } from "../storage/events/auth-graph.ts";
import type { EventStore } from "../storage/events/event-store.ts";
import type { Memberships } from "../storage/rooms/memberships.ts";
import type { RoomVersions } from "../storage/rooms/room-versions.ts";
import type { LocalIdCounters } from "../storage/local-ids.ts";
import type { StateStore } from "../storage/state/state-store.ts";
import type { Streams } from "../storage/stream-ids.ts";
import type { IgnoredUsers } from "./account-data/ignored-users.ts";
import type { MonthlyActiveCache } from "./accounts/blocking.ts";
import type { ClientIps } from "./accounts/client-ips.ts";
import type { AppserviceSender } from "./appservices/sender.ts";
import type { UserParter } from "./accounts/deactivate.ts";
import type { AccountHooks, AppserviceIdentities } from "./accounts/hooks.ts";
import type { Macaroons } from "./accounts/macaroons.ts";
import type { RegistrationNonces } from "./accounts/registration-nonces.ts";
import type { FederationClient } from "../outbound/federation/client.ts";
import type { DestinationBackoff } from "./federation/backoff.ts";
import type { InboundFederation } from "./federation/inbound/inbound-federation.ts";
import type { KeyRing, ServerKey } from "./federation/key-ring.ts";
import type { RoomCompletion } from "./federation/joining/complete-rooms.ts";
import type { FederationSender } from "./federation/outbound/federation-sender.ts";
import type { PartialRooms } from "./federation/partial-rooms.ts";
import type { PolicyServers } from "./federation/policy-servers.ts";
import type { UrlPreviews } from "./media/preview/url-previews.ts";
import type { DelegatedAuth } from "./mas/delegated-auth.ts";
import type { MediaRepository, RemoteMediaFetcher } from "./media/repository.ts";
import type { DeviceInboxes } from "./devices/device-inboxes.ts";
import type { DeviceResyncs } from "./devices/device-resyncs.ts";
import type { DeviceKeyCounts } from "./devices/key-counts.ts";
import type { DeviceListPokes } from "./devices/list-pokes.ts";
import type { ModuleCallbacks } from "./modules/callbacks.ts";
import type { Presence } from "./presence/presence.ts";
import type { Audiences } from "./push/audience.ts";
import type { Crowds } from "./push/crowds.ts";
import type { PusherPool } from "./push/delivery/pusher-pool.ts";
import type { UnreadCache } from "./push/unread-cache.ts";
import type { UserPushRules } from "./push/user-push-rules.ts";
import type { RateLimits } from "./rate-limits.ts";
import type { RemoteServers } from "./remote-servers.ts";
import type { Rendezvous } from "./rendezvous/sessions.ts";
import type { Requester } from "./requester.ts";
import type { ExperimentalFeatures } from "./accounts/experimental-features.ts";
import type { ErasedUsers } from "./erased-users.ts";
import type { RemoteRooms } from "./rooms/remote-rooms.ts";
import type { RoomUpgrades } from "./rooms/upgrades.ts";
import type { Outgoing } from "./outgoing.ts";
import type { IdentityInvites } from "./rooms/threepid-invites.ts";
import type { ServerNotices } from "./server-notices/server-notices.ts";
import type { SigningKey } from "../protocol/event/sign.ts";
import type { RequestTransactions } from "./request-transactions.ts";
import type { DelayedEvents } from "./delayed-events/delayed-events.ts";
import type { EventHooks } from "./events/send.ts";
import type { SendTransactions } from "./events/transactions.ts";
import type { Persister } from "./events/persister.ts";
import type { Publisher } from "./events/publish.ts";
import type { SingleSignOn } from "./sso/single-sign-on.ts";
import type { SlidingConnections } from "./sliding-sync/connection.ts";
import type { RoomLists } from "./sliding-sync/room-list.ts";
import type { StreamChanges } from "./streams/changes.ts";
import type { Notifier } from "./streams/notifier.ts";
import type { LazyMembers } from "./sync/lazy-members.ts";
import type { ProfileFieldsSent } from "./sync/profile-updates.ts";
import type { TaskScheduler } from "./tasks/scheduler.ts";
import type { Templates } from "./templates.ts";
import type { Typing } from "./typing/typing.ts";

/**
 * What a running server consists of. Built in `server.ts`, never mutated. Services ask for the part that they use:
 * `(ctx: Pick<Context, "read" | "clock">, ...)`.
 */
export interface Context {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: ServerMetrics;
  readonly db: Database;
  /** For readers: each statement by itself. */
  readonly read: ReadHandle;
  /** For writers: see `Database.transaction`. */
  transaction<T>(name: string, fn: (txn: Txn) => Promise<T | LastStatements<T>>, options?: TransactionOptions): Promise<T>;
  readonly streams: Streams;
  readonly backgroundUpdates: BackgroundUpdateControl;
  /** Ids of tables without a sequence. */
  readonly localIds: LocalIdCounters;
  /** Accounts and access tokens, cached. */
  readonly accounts: AccountCache;
  readonly accountHooks: AccountHooks;
  /** undefined: this server authenticates its users itself. */
  readonly delegatedAuth: DelegatedAuth | undefined;
  readonly appservices: AppserviceIdentities;
  /** Tells application services what they are interested in. */
  readonly appserviceSender: AppserviceSender;
  readonly clientIps: ClientIps;
  readonly limits: RateLimits;
  readonly macaroons: Macaroons;
  /** Identity providers, and logins through them. */
  readonly sso: SingleSignOn;
  readonly monthlyActive: MonthlyActiveCache;
  readonly registrationNonces: RegistrationNonces;
  /** Where devices find each other to sign in. */
  readonly rendezvous: Rendezvous;
  /** Takes deactivated users out of their rooms. */
  readonly userParter: UserParter;
  /** Work that outlives a restart. */
  readonly tasks: TaskScheduler;
  /** HTML pages and mails. */
  readonly templates: Templates;
  readonly notifier: Notifier;
  /** Events by id, cached. */
  readonly events: EventStore;
  /** Room state, now and at events, cached. */
  readonly state: StateStore;
  /** Who is in which room, cached. */
  readonly members: Memberships;
  readonly roomVersions: RoomVersions;
  /** Auth events of events, cached. */
  readonly authGraph: AuthGraph;
  /** This server's keys; the first one signs events. */
  readonly signingKeys: readonly SigningKey[];
  /** Answers of requests with a transaction id. */
  readonly requestTransactions: RequestTransactions;
  /** What modules registered. */
  readonly modules: ModuleCallbacks;
  /** What the server itself has a say in before events are sent. */
  readonly eventHooks: EventHooks;
  /** Events to be sent later. */
  readonly delayedEvents: DelayedEvents;
  /** Transactions of clients' sends. */
  readonly sendTransactions: SendTransactions;
  /** The way of all events into the database. */
  readonly persister: Persister;
  /** Members of large rooms by their push rules. */
  readonly audiences: Audiences;
  /** What large rooms notify of without rows. */
  readonly crowds: Crowds;
  /** Unread counts at hand; whoever removes events tells it. */
  readonly unreadCache: UnreadCache;
  /** Tells what was stored. */
  readonly publisher: Publisher;
  /** What changed last in the per-user streams, from memory. */
  readonly changes: StreamChanges;
  readonly ignoredUsers: IgnoredUsers;
  readonly erasedUsers: ErasedUsers;
  readonly features: ExperimentalFeatures;
  readonly pushRules: UserPushRules;
  /** Tells push gateways, or by mail, what notifies users. */
  readonly pushers: PusherPool;
  readonly slidingConnections: SlidingConnections;
  readonly slidingRoomLists: RoomLists;
  /** Members that sync clients were sent. */
  readonly lazyMembers: LazyMembers;
  readonly profileFieldsSent: ProfileFieldsSent;
  readonly typing: Typing;
  readonly presence: Presence;
  /** One-time and fallback keys left, by device. */
  readonly keyCounts: DeviceKeyCounts;
  readonly deviceInboxes: DeviceInboxes;
  readonly deviceListPokes: DeviceListPokes;
  readonly deviceResyncs: DeviceResyncs;
  readonly federationClient: FederationClient;
  /** What other servers send and ask. */
  readonly inbound: InboundFederation;
  /** Sends events and EDUs to other servers. */
  readonly federationSender: FederationSender;
  readonly policyServers: PolicyServers;
  /** Rooms whose state is not wholly known yet. */
  readonly partialRooms: PartialRooms;
  /** Completes them. */
  readonly roomCompletion: RoomCompletion;
  /** Which servers do not answer at present. */
  readonly backoff: DestinationBackoff;
  readonly keyRing: KeyRing;
  /** Requests to web services. */
  readonly http: Outgoing["http"];
  readonly identityServers: Outgoing["identityServers"];
  /** undefined: the config has no `email`. */
  readonly mail: Outgoing["mail"];
  /** undefined: this server sends no messages to phones. */
  readonly sms: Outgoing["sms"];
  /** Public halves of this server's keys, old ones too. */
  readonly ownKeys: ReadonlyMap<string, ServerKey>;
  /** The media store and what belongs to it. */
  readonly media: MediaRepository;
  readonly remoteMedia: RemoteMediaFetcher;
  /** undefined: URL previews are off. */
  readonly urlPreviews: UrlPreviews | undefined;
  /** What other servers are told and asked on behalf of users. */
  readonly remote: RemoteServers;
  /** Rooms, aliases and directories of other servers. */
  readonly remoteRooms: RemoteRooms;
  /** Identity servers, as far as inviting by address needs them. */
  readonly identityInvites: IdentityInvites;
  /** The server speaks to its users. */
  readonly serverNotices: ServerNotices;
  /** Room upgrades of the last minutes. */
  readonly roomUpgrades: RoomUpgrades;

  /** Unread counts of a user by room. */
  unreadCounts(userId: string, roomIds: readonly string[]): Promise<ReadonlyMap<string, UnreadCounts>>;

  /** The requester of an access token. @throws MatrixError 401 M_UNKNOWN_TOKEN and others */
  authenticate(request: AuthenticationRequest): Promise<Requester>;
  isServerAdmin(requester: Requester): Promise<boolean>;
  /** The name of the server that signed a federation request. @throws MatrixError 401 */
  authenticateServer(request: FederationRequest): Promise<string>;
}

export interface AuthenticationRequest {
  readonly token: string;
  /** `user_id` of an appservice that masquerades. */
  readonly asUser: string | undefined;
  readonly asDevice: string | undefined;
  readonly ip: string;
  readonly userAgent: string;
  readonly allowGuest: boolean;
  readonly allowLocked: boolean;
  readonly allowExpired: boolean;
}

export interface FederationRequest {
  readonly method: string;
  /** Path and query as received. */
  readonly uri: string;
  readonly authorization: string | undefined;
  /**
   * Reads and parses the body, once the key of the server is at hand: nobody makes this server hold bodies while it looks for keys. undefined
   * for requests without one.
   */
  readonly content: (() => Promise<unknown>) | undefined;
}

/** The work that schema changes and admins queue, as the admin API sees it (`workers/background-updates/`). */
export interface BackgroundUpdateControl {
  isEnabled(): boolean;
  /** Pauses after the batch under way, or goes on; until the next start of the server. */
  setEnabled(enabled: boolean): void;
  /** Until every update that can be done is done, or they are paused. */
  whenIdle(): Promise<void>;
  /** Undefined between updates. `averageItemsPerMs` is undefined until the first batch is done. */
  currentUpdate():
    { readonly name: string; readonly totalItemCount: number; readonly totalDurationMs: number; readonly averageItemsPerMs: number | undefined } | undefined;
  /** Queues `populate_stats_process_rooms`, `regenerate_directory` or `event_resign`, with what its progress begins with, and starts on it. */
  startJob(name: string, progress?: JsonObject): Promise<"started" | "queued before" | "unknown">;
  /** Of these updates, those that are still in the queue: what they make cannot be relied on yet. */
  pending(names: readonly string[]): Promise<string[]>;
}

/** Counters of the HTTP edge, and the answer to a scrape. */
export interface ServerMetrics extends DeliveryMetrics {
  requestStarted(method: string, servlet: string): void;
  requestFinished(request: FinishedRequest): void;
  /** Runs something beside the requests under the metrics of background processes. */
  inBackground<T>(name: string, run: () => Promise<T>): Promise<T>;
  /** Somebody logged in, by this provider of identities (Synapse: `auth_provider`). */
  loggedIn(provider: string, isGuest: boolean): void;
  /** An account was made. */
  registered(provider: string, isGuest: boolean, shadowBanned: boolean): void;
  transactionSent(destination: string, pdus: number, eduTypes: readonly string[]): void;
  transactionReceived(origin: string, pdus: number, edus: number): void;
  queryReceived(type: string): void;
  /** The authentication service answered with this status (`ERR`: not at all). */
  introspected(code: string, seconds: number): void;
  /** A mail of that kind was sent. */
  mailSent(type: string): void;
  /** Somebody asked to verify an address for the `tries`-th time. */
  threepidRequested(medium: string, reason: string, tries: number): void;
  scrape(): Promise<{ readonly contentType: string; readonly body: string }>;
}

/** What a user has not read in a thread, or in the main timeline. */
export interface ThreadCounts {
  readonly notifications: number;
  readonly highlights: number;
  /** Events that count as unread without notifying (MSC2654). */
  readonly unread: number;
}

/** Unread counts of a room: of its main timeline, and of its threads by the id of their root. */
export interface UnreadCounts {
  readonly main: ThreadCounts;
  readonly threads: ReadonlyMap<string, ThreadCounts>;
}
