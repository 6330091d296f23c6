import type { Config } from "./config/config.ts";
import { cacheSizes } from "./config/sections/cache.ts";
import { openListeners } from "./handlers/http/listen.ts";
import type { OpenListeners } from "./handlers/http/sockets.ts";
import { routes } from "./handlers/routes.ts";
import { type Clock, systemClock } from "./lib/clock.ts";
import type { Logger } from "./lib/log.ts";
import {
  accountMetrics,
  delegationMetrics,
  deliveryMetrics,
  federationMetrics,
  inBackgroundProcess,
  Metrics,
  requestMetrics,
  threepidMetrics,
} from "./lib/metrics.ts";
import { type Random, systemRandom } from "./lib/random.ts";
import { accountHooks } from "./services/account-hooks.ts";
import { IgnoredUsers } from "./services/account-data/ignored-users.ts";
import { authenticate, isServerAdmin } from "./services/accounts/authenticate.ts";
import { MonthlyActiveCache, seedReservedUsers } from "./services/accounts/blocking.ts";
import { ClientIps } from "./services/accounts/client-ips.ts";
import { giveExpiries } from "./services/accounts/validity.ts";
import { UserParter } from "./services/accounts/deactivate.ts";
import { Macaroons } from "./services/accounts/macaroons.ts";
import { RegistrationNonces } from "./services/accounts/registration-nonces.ts";
import { appserviceIdentities } from "./services/appservices/identities.ts";
import { AppserviceSender } from "./services/appservices/sender.ts";
import type { Context } from "./services/context.ts";
import { followMemberships } from "./services/membership-effects.ts";
import { signingKeyFromSeed } from "./protocol/event/sign.ts";
import { DelayedEvents } from "./services/delayed-events/delayed-events.ts";
import { openPersister } from "./services/events/open-persister.ts";
import { Audiences } from "./services/push/audience.ts";
import { Crowds } from "./services/push/crowds.ts";
import { PusherPool } from "./services/push/delivery/pusher-pool.ts";
import { kickGuestsWhenClosed } from "./services/rooms/kick-guests.ts";
import { recoverCrowds } from "./services/events/recover-crowds.ts";
import { rotateNotifications } from "./services/push/rotate.ts";
import { UnreadCache } from "./services/push/unread-cache.ts";
import { unreadCounts } from "./services/push/unread.ts";
import { RequestTransactions } from "./services/request-transactions.ts";
import { checkCanonicalAlias } from "./services/directory/canonical-alias.ts";
import { SendTransactions } from "./services/events/transactions.ts";
import { authenticateServer } from "./services/federation/authenticate-server.ts";
import { InboundFederation } from "./services/federation/inbound/inbound-federation.ts";
import { openFederation } from "./services/federation/open-federation.ts";
import { RoomCompletion } from "./services/federation/joining/complete-rooms.ts";
import { FederationSender } from "./services/federation/outbound/federation-sender.ts";
import { remoteServers } from "./services/federation/outbound/remote-servers.ts";
import { RemoteMediaFetcher } from "./services/federation/media/remote-media-fetcher.ts";
import { PartialRooms } from "./services/federation/partial-rooms.ts";
import { PolicyServers } from "./services/federation/policy-servers.ts";
import { remoteRooms } from "./services/federation/remote-rooms.ts";
import { ownKeysOf } from "./services/federation/own-keys.ts";
import { DelegatedAuth } from "./services/mas/delegated-auth.ts";
import { judgeMediaBy } from "./services/media/judge-media.ts";
import { MediaStore } from "./services/media/media-store.ts";
import { openUrlPreviews } from "./services/media/preview/open-previews.ts";
import { MediaRepository } from "./services/media/repository.ts";
import { openStorageProviders } from "./services/media/open-storage.ts";
import { Thumbnailer } from "./services/media/thumbnailer.ts";
import { DeviceInboxes } from "./services/devices/device-inboxes.ts";
import { DeviceResyncs } from "./services/devices/device-resyncs.ts";
import { DeviceKeyCounts } from "./services/devices/key-counts.ts";
import { DeviceListPokes } from "./services/devices/list-pokes.ts";
import { ModuleApi } from "./services/modules/api.ts";
import { ModuleCallbacks } from "./services/modules/callbacks.ts";
import { loadModules, loadStorageProvider, requireModules } from "./services/modules/load.ts";
import { NewEvents } from "./services/modules/new-events.ts";
import { announceNewcomers } from "./services/presence/newcomers.ts";
import { Presence } from "./services/presence/presence.ts";
import { UserPushRules } from "./services/push/user-push-rules.ts";
import { RateLimits } from "./services/rate-limits.ts";
import { openRendezvous } from "./services/rendezvous/sessions.ts";
import { StateFollowers } from "./services/directory/followers.ts";
import { openOutgoing } from "./services/outgoing.ts";
import { ExperimentalFeatures } from "./services/accounts/experimental-features.ts";
import { ErasedUsers } from "./services/erased-users.ts";
import { RoomUpgrades } from "./services/rooms/upgrades.ts";
import { identityInvites } from "./services/threepid/identity-invites.ts";
import { ServerNotices } from "./services/server-notices/server-notices.ts";
import { SlidingConnections } from "./services/sliding-sync/connection.ts";
import { RoomLists } from "./services/sliding-sync/room-list.ts";
import { preloadProviders } from "./services/sso/preload.ts";
import { SingleSignOn } from "./services/sso/single-sign-on.ts";
import { openStreamChanges } from "./services/streams/changes.ts";
import { Notifier } from "./services/streams/notifier.ts";
import { LazyMembers } from "./services/sync/lazy-members.ts";
import { ProfileFieldsSent } from "./services/sync/profile-updates.ts";
import { taskActions } from "./services/tasks/actions.ts";
import { TaskScheduler } from "./services/tasks/scheduler.ts";
import { Templates } from "./services/templates.ts";
import { Typing } from "./services/typing/typing.ts";
import { AccountCache } from "./storage/accounts/account-cache.ts";
import { Database } from "./storage/database.ts";
import { AuthGraph } from "./storage/events/auth-graph.ts";
import { EventStore } from "./storage/events/event-store.ts";
import { openLocalIds } from "./storage/local-ids.ts";
import { Memberships } from "./storage/rooms/memberships.ts";
import { RoomVersions } from "./storage/rooms/room-versions.ts";
import { clearLeftovers, handOver } from "./storage/schema/hand-over.ts";
import { openDatabase } from "./storage/schema/open.ts";
import { APPLICATION_NAME, ServerLock } from "./storage/schema/server-lock.ts";
import { createMessageSearch } from "./storage/search/message-search.ts";
import { StateStore } from "./storage/state/state-store.ts";
import { openStreams, saveStreamPositions } from "./storage/stream-ids.ts";
import { BackgroundUpdates } from "./workers/background-updates/runner.ts";
import { jobs } from "./workers/jobs.ts";
import { PeriodicJobs } from "./workers/periodic.ts";
import { countUsage, watchServer } from "./workers/server-metrics.ts";

/** What tests replace. */
export interface Overrides {
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Logger;
  /** The database connection, where the caller has one. */
  readonly database?: Database;
  /** Start although clients that look like a Synapse are connected. */
  readonly allowOtherClients?: boolean;
  /** PEM texts of authorities that outgoing requests trust beside the usual ones. */
  readonly trustedAuthorities?: readonly string[];
  /** Called when the server must not go on: another process took its place. */
  readonly onFatal?: (reason: string) => void;
  /** Start without modules of the configuration that there are none of. */
  readonly allowMissingModules?: boolean;
}

/** A running server. */
export interface Server {
  readonly ctx: Context;
  readonly jobs: PeriodicJobs;
  /** Statistics and the user directory; they follow by themselves once the server listens. */
  readonly followers: StateFollowers;
  /** Binds the configured listeners and starts the periodic work; returns the addresses. */
  listen(): Promise<readonly string[]>;
  /** Reads logs and certificates anew (SIGHUP). */
  reload(): void;
  /** Finishes requests, hands the database over, closes everything; within five seconds. */
  close(): Promise<void>;
}

/**
 * Composes a server from its configuration: opens the database (making or upgrading the schema), builds caches and services.
 * @throws StartupRefusal when the database is not one to serve
 */
export async function createServer(config: Config, log: Logger, overrides: Overrides = {}): Promise<Server> {
  const clock = overrides.clock ?? systemClock;
  const random = overrides.random ?? systemRandom;
  const serverName = config.server.serverName;
  const instanceName = config.workers.instanceName;
  // Refuses settings that cannot be used, before anything is opened.
  const sso = new SingleSignOn(config, clock, random);
  const closers: (() => void | Promise<void>)[] = [];
  const onClose = (fn: () => void | Promise<void>): void => void closers.unshift(fn);
  const closeAll = async (): Promise<void> => {
    for (const close of closers.splice(0)) await close();
  };

  try {
    const loading = { config, log, allowMissing: overrides.allowMissingModules ?? false };
    requireModules(loading);

    // The database.
    const db = new Database({ ...config.database.connection, applicationName: `${APPLICATION_NAME} ${instanceName}` }, clock, log.named("synapse.storage"));
    onClose(() => db.close());
    const lock = await ServerLock.acquire(db, {
      instanceName,
      clock,
      log,
      allowOtherClients: overrides.allowOtherClients ?? config.myelin.allowOtherClients,
      onTaken: () => overrides.onFatal?.("Another server took over this database"),
    });
    onClose(() => lock.release());
    const writers = config.workers.streamWriters;
    const worker = !config.workers.isMain;
    await openDatabase(db, {
      serverName,
      worker,
      allowUnsafeLocale: config.database.allowUnsafeLocale,
      writers,
      log: log.named("synapse.storage.prepare_database"),
    });
    if (config.myelin.search.unspacedLanguages && !worker) await db.transaction("create_message_search", createMessageSearch);
    await db.transaction("clear_leftovers", (txn) => clearLeftovers(txn, instanceName));
    const read = db.read;
    const transaction: Context["transaction"] = (name, fn, options) => db.transaction(name, fn, options);
    const [streams, localIds] = await Promise.all([openStreams(db, instanceName), openLocalIds(db)]);
    onClose(async () => {
      await saveStreamPositions(db, streams);
      const lastProcess = (await lock.others()) === 0;
      await db.transaction("hand_over", (txn) => handOver(txn, { instanceName, lastProcess, writers }));
    });

    const modules = new ModuleCallbacks(log);
    const moduleApi = new ModuleApi(config, () => ctx, modules, log);
    onClose(() => moduleApi.close());
    const storage = await openStorageProviders(config.media.storageProviders, (settings, path) => loadStorageProvider(loading, moduleApi, settings, path));
    onClose(() => storage.forEach((provider) => provider.close?.()));

    // What is kept in memory.
    const sizeOf = cacheSizes(config.caches);
    const changes = openStreamChanges(streams);
    const notifier = new Notifier(clock);
    const events = new EventStore(read, log.named("synapse.storage.databases.main.events_worker"), config.caches.eventCacheSize, sizeOf);
    const state = new StateStore(read, events, sizeOf);
    const members = new Memberships(read, serverName, sizeOf);
    const roomVersions = new RoomVersions(read, sizeOf);
    const authGraph = new AuthGraph(read);
    const crowds = new Crowds(() => clock.now());
    const accounts = new AccountCache(read, sizeOf);
    const ignoredUsers = new IgnoredUsers(read, sizeOf);
    const erasedUsers = new ErasedUsers(read, sizeOf);
    const pushRules = new UserPushRules(read, config, sizeOf);
    const signingKeys = config.key.signingKeys.map(({ version, seed }) => signingKeyFromSeed(version, seed));
    const outgoing = openOutgoing(config, signingKeys[0]!, overrides.trustedAuthorities);
    onClose(() => outgoing.close());
    const delegatedAuth = config.mas.enabled ? new DelegatedAuth(() => ctx, config, outgoing.http, overrides.trustedAuthorities) : undefined;
    onClose(() => delegatedAuth?.close());
    const urlPreviews = openUrlPreviews(config, () => ctx, overrides.trustedAuthorities);
    onClose(() => urlPreviews?.close());
    const federation = openFederation({ config, clock, log, random, read, transaction }, signingKeys, ownKeysOf(config, signingKeys));
    onClose(() => federation.federationClient.close());
    const partialRooms = new PartialRooms(read);
    const federationSender = new FederationSender(
      { config, clock, log, read, transaction, streams, events, state, members, erasedUsers, modules, partialRooms, ...federation },
      () => ctx,
    );
    const appserviceSender = new AppserviceSender(
      () => ctx,
      { clock, config, log, members, read },
      config.server.userAgentSuffix,
      overrides.trustedAuthorities,
    );
    const { queries } = appserviceSender;
    const remote = {
      ...remoteServers(federation, federationSender),
      queryAppserviceKeys: queries.queryKeys.bind(queries),
      claimAppserviceKeys: queries.claimKeys.bind(queries),
    };
    const appservices = { ...appserviceIdentities(config.appservice.registrations, config.mas.enabled), provideAlias: queries.provideAlias.bind(queries) };
    const basis = {
      modules,
      config,
      clock,
      random,
      log,
      db,
      read,
      transaction,
      streams,
      localIds,
      changes,
      notifier,
      events,
      state,
      members,
      roomVersions,
      authGraph,
      crowds,
      accounts,
      ignoredUsers,
      erasedUsers,
      features: new ExperimentalFeatures(config, read, sizeOf),
      pushRules,
      remote,
      remoteRooms: remoteRooms(() => ctx),
      roomUpgrades: new RoomUpgrades(clock),
      identityInvites: identityInvites({ config, log, identityServers: outgoing.identityServers }),
    };

    const metrics = new Metrics(serverName);
    const serverMetrics = {
      ...requestMetrics(metrics),
      ...threepidMetrics(metrics),
      ...delegationMetrics(metrics),
      ...deliveryMetrics(metrics),
      ...accountMetrics(metrics),
      ...federationMetrics(metrics, config.federation.metricsDomains, () => clock.now()),
      inBackground: <T>(name: string, run: () => Promise<T>) => inBackgroundProcess(metrics, name, run),
      scrape: () => metrics.scrape(),
    };
    onClose(countUsage(db));

    const { persister, publisher } = openPersister({ ...basis, isPartial: async (roomId) => (await partialRooms.serversOf(roomId)) !== undefined });
    const unreadCache = new UnreadCache((userId, roomIds) => unreadCounts(ctx, userId, roomIds));
    onClose(publisher.onStored((stored) => unreadCache.stored(stored)));
    // What is not in the summaries yet is known to nobody else.
    onClose(() => rotateNotifications(basis));
    onClose(() => federationSender.close());
    onClose(() => appserviceSender.close());
    const pushers = new PusherPool(() => ctx, config, overrides.trustedAuthorities);
    onClose(() => pushers.close());
    onClose(() => persister.whenIdle());

    const inbound = new InboundFederation(basis, () => ctx);
    const typing = new Typing(clock, basis);
    onClose(() => typing.close());
    const presence = new Presence(basis, config.server.presence);
    await presence.open();
    onClose(() => presence.close());
    const deviceListPokes = new DeviceListPokes(basis);
    onClose(() => deviceListPokes.close());
    deviceListPokes.poke();
    const deviceResyncs = new DeviceResyncs(log.named("synapse.handlers.device"));
    onClose(() => deviceResyncs.settled());
    const clientIps = new ClientIps(basis);
    onClose(() => clientIps.close());
    const limits = new RateLimits(config.ratelimiting, read, clock, appservices, modules.ratelimit, sizeOf);
    onClose(() => limits.close());

    const backgroundUpdates = new BackgroundUpdates({ ...basis, appservices });
    onClose(() => backgroundUpdates.stop());

    const tasks = new TaskScheduler(basis, () => ctx, taskActions);
    onClose(() => tasks.close());
    const userParter = new UserParter(() => ctx);
    onClose(() => userParter.close());

    onClose(() => inbound.close());
    const delayedEvents = new DelayedEvents(() => ctx);
    onClose(() => delayedEvents.close());

    const serverNotices = new ServerNotices(() => ctx);
    onClose(() => serverNotices.settled());

    const ctx: Context = {
      ...basis,
      backgroundUpdates,
      persister,
      publisher,
      audiences: new Audiences(),
      eventHooks: { beforeSend: [(built) => checkCanonicalAlias(ctx, built)] },
      requestTransactions: new RequestTransactions(clock),
      sendTransactions: new SendTransactions(read),
      delayedEvents,
      signingKeys,
      ...federation,
      federationSender,
      policyServers: new PolicyServers({ ...basis, ...federation }),
      partialRooms,
      roomCompletion: new RoomCompletion(),
      inbound,
      media: new MediaRepository(
        new MediaStore(
          config.media.mediaStorePath,
          storage,
          random,
          log.named("synapse.media"),
          config.media.enableLocalMediaStorage,
          judgeMediaBy(modules.spamChecker, log.named("synapse.media")),
        ),
        new Thumbnailer(config.media.maxImagePixels),
      ),
      remoteMedia: new RemoteMediaFetcher(() => ctx),
      urlPreviews: urlPreviews?.previews,
      slidingConnections: new SlidingConnections(basis),
      slidingRoomLists: new RoomLists(),
      lazyMembers: new LazyMembers(),
      profileFieldsSent: new ProfileFieldsSent(),
      typing,
      presence,
      clientIps,
      limits,
      keyCounts: new DeviceKeyCounts(read, sizeOf),
      deviceInboxes: new DeviceInboxes(changes.toDevice),
      deviceListPokes,
      deviceResyncs,
      accountHooks: { ...accountHooks, passwordProviders: [modules.passwordAuth] },
      delegatedAuth,
      appservices,
      appserviceSender,
      pushers,
      macaroons: new Macaroons(config.key.macaroonSecretKey, serverName, clock, random),
      monthlyActive: new MonthlyActiveCache(sizeOf),
      sso,
      registrationNonces: new RegistrationNonces(clock, random),
      rendezvous: openRendezvous(clock, random),
      tasks,
      userParter,
      serverNotices,
      templates: new Templates(config.server.customTemplateDirectory, config.server),
      http: outgoing.http,
      identityServers: outgoing.identityServers,
      mail: outgoing.mail,
      sms: outgoing.sms,
      metrics: serverMetrics,
      unreadCache,
      unreadCounts: (userId, roomIds) => unreadCache.counts(userId, roomIds),
      authenticate: (request) => authenticate(ctx, request),
      isServerAdmin: (requester) => isServerAdmin(ctx, requester),
      authenticateServer: (request) => authenticateServer(ctx, request),
    };

    onClose(() => ctx.media.later.settled());

    await loadModules(loading, moduleApi, () => ctx);
    const newEvents = new NewEvents(ctx);
    newEvents.start(publisher);
    onClose(() => newEvents.close());
    moduleApi.start();

    if (config.metrics.enableMetrics) onClose(watchServer(metrics, ctx, { federationSender, backgroundUpdates }));
    const followers = new StateFollowers(ctx);
    onClose(() => followers.close());
    publisher.onStored((stored) => kickGuestsWhenClosed(ctx, stored));
    publisher.onStored((stored) => followMemberships(ctx, stored));
    publisher.onStored((stored) => announceNewcomers(ctx, stored));
    await recoverCrowds(ctx);

    const periodic = new PeriodicJobs(ctx, jobs(config));
    onClose(() => periodic.stop());
    let listeners: OpenListeners | undefined;
    return {
      ctx,
      jobs: periodic,
      followers,
      async listen() {
        await seedReservedUsers(ctx);
        await giveExpiries(ctx);
        listeners = await openListeners(ctx, config.server.listeners, routes, config.tls.files);
        onClose(() => listeners!.close());
        periodic.start();
        followers.start();
        backgroundUpdates.start();
        clientIps.start();
        federationSender.start(publisher);
        await delayedEvents.start(publisher);
        await appserviceSender.start(publisher);
        await pushers.start(publisher);
        await ctx.roomCompletion.holdRooms(ctx);
        await inbound.rooms.resume();
        preloadProviders(ctx);
        return listeners.addresses;
      },
      reload: () => listeners?.reloadTls(),
      close: closeAll,
    };
  } catch (error) {
    await closeAll();
    throw error;
  }
}
