import {
  ClientEvent,
  createClient,
  EventType,
  type ISendEventResponse,
  MatrixEventEvent,
  MsgType,
  Preset,
  type IStartClientOpts,
  type MatrixClient as SdkClient,
  type MatrixEvent,
  type Room,
  type TimelineEvents,
  SyncState,
  Visibility,
  type ICreateRoomOpts,
} from "matrix-js-sdk";
import { type CryptoApi, CryptoEvent, type VerificationRequest } from "matrix-js-sdk/lib/crypto-api/index.js";
import { C, MatrixClient, type Json } from "../harness/client.ts";
import { sleep } from "../harness/scratch.ts";

export const PASSWORD = "an encrypted password";
/** How long anything may take that a server has to bring about. */
const BOUND_MS = 60_000;
export const ENCRYPTION = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

/** Waits until `probe` answers with something that is neither undefined, null nor false. @throws after a minute, naming `what` */
export async function until<T>(what: string, probe: () => T | Promise<T>): Promise<Exclude<T, undefined | null | false>> {
  const end = performance.now() + BOUND_MS;
  for (let interval = 10; ; interval = Math.min(interval * 1.5, 250)) {
    const value = await probe();
    if (value !== undefined && value !== null && value !== false) return value as Exclude<T, undefined | null | false>;
    if (performance.now() > end) throw new Error(`${what}: not within ${BOUND_MS / 1000} s`);
    await sleep(interval);
  }
}

/** The status and code with which a server refused, as the SDK throws it. */
export async function refusal(call: Promise<unknown>): Promise<Json> {
  try {
    await call;
  } catch (error) {
    const { httpStatus, errcode } = error as { httpStatus?: number; errcode?: string };
    if (httpStatus === undefined) throw error;
    return [httpStatus, errcode];
  }
  return "not refused";
}

export interface PersonOptions {
  deviceId?: string;
  /** An account that is there gets one more device. Default: a new account. */
  existing?: boolean;
  /** With end-to-end encryption. */
  crypto?: boolean;
  /** Opens secret storage, as a recovery key that its owner types in. */
  recovery?: { keyId: string; key: Uint8Array };
  /** Does not sync before `start` is called. */
  idle?: boolean;
}

/** A person with a real client, which holds everything in memory. */
export class Person {
  /** Bodies of the messages of all rooms, in the order in which they came or could be read. */
  readonly heard: string[] = [];
  readonly undecrypted = new Set<string>();
  /** Messages that came without encryption. */
  readonly plain = new Set<string>();
  readonly toDevice: { type: string; content: Json; encrypted: boolean }[] = [];
  readonly requests: VerificationRequest[] = [];
  backupKey: Uint8Array | undefined;
  recovery: { keyId: string; key: Uint8Array } | undefined;
  private readonly network = { up: true, cut: new AbortController() };
  readonly sdk: SdkClient;

  private constructor(
    readonly userId: string,
    readonly deviceId: string,
    readonly http: MatrixClient,
    options: PersonOptions,
  ) {
    this.recovery = options.recovery;
    this.sdk = createClient({
      fetchFn: (input, init) =>
        this.network.up
          ? fetch(input, { ...init, signal: AbortSignal.any([this.network.cut.signal, ...(init?.signal ? [init.signal] : [])]) })
          : Promise.reject(new TypeError("fetch failed")),
      baseUrl: http.baseUrl,
      userId,
      deviceId,
      accessToken: http.accessToken!,
      timelineSupport: true,
      cryptoCallbacks: {
        getSecretStorageKey: ({ keys }) =>
          Promise.resolve(
            this.recovery !== undefined && this.recovery.keyId in keys ? [this.recovery.keyId, this.recovery.key as Uint8Array<ArrayBuffer>] : null,
          ),
        cacheSecretStorageKey: (keyId, _info, key) => {
          this.recovery = { keyId, key };
        },
      },
    });
  }

  /** Logs in, with a new account where the options do not say otherwise, and has synced once unless idle. */
  static async login(baseUrl: string, name: string, options: PersonOptions = {}): Promise<Person> {
    const http = new MatrixClient(baseUrl);
    const deviceId = options.deviceId ?? `${name.toUpperCase()}1`;
    if (options.existing) await http.login(name, PASSWORD, { device_id: deviceId });
    else await http.register(name, PASSWORD, { device_id: deviceId });
    const person = new Person(http.userId, deviceId, http, options);
    const { sdk } = person;
    if (options.crypto) await sdk.initRustCrypto({ useIndexedDB: false });
    sdk.on(MatrixEventEvent.Decrypted, (event) => person.notice(event));
    sdk.on(ClientEvent.Event, (event) => person.notice(event));
    sdk.on(ClientEvent.ToDeviceEvent, (event) =>
      person.toDevice.push({
        type: event.getType(),
        content: event.getContent(),
        encrypted: event.isEncrypted() || event.getWireType() === "m.room.encrypted",
      }),
    );
    sdk.on(CryptoEvent.VerificationRequestReceived, (request) => person.requests.push(request));
    if (!options.idle) await person.start();
    return person;
  }

  async start(options: IStartClientOpts = {}): Promise<void> {
    await this.sdk.startClient({ initialSyncLimit: 30, threadSupport: true, ...options });
    await until(`${this.userId} has synced`, () => [SyncState.Prepared, SyncState.Syncing].includes(this.sdk.getSyncState()!));
  }

  stop(): void {
    // What its Rust crypto still has under way would throw, from nowhere, when that is freed: it is left to the end of the process.
    (this.sdk as unknown as { cryptoBackend: undefined }).cryptoBackend = undefined;
    this.sdk.stopClient();
    this.network.up = false;
    this.network.cut.abort();
  }

  get crypto(): CryptoApi {
    return this.sdk.getCrypto()!;
  }

  private notice(event: MatrixEvent): void {
    const id = event.getId() ?? "?";
    if (event.isDecryptionFailure()) this.undecrypted.add(id);
    if (event.isDecryptionFailure() || event.getType() !== "m.room.message") return;
    this.undecrypted.delete(id);
    if (!event.isEncrypted()) this.plain.add(id);
    this.heard.push(String(event.getContent()["body"]));
  }

  /** Cross-signing, secret storage (opened by a recovery key or passphrase) and a key backup, as a client sets them up for a new account. */
  async bootstrap(passphrase?: string): Promise<void> {
    await this.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (request) => this.withPassword(request) });
    await this.crypto.bootstrapSecretStorage({
      createSecretStorageKey: () => this.crypto.createRecoveryKeyFromPassphrase(passphrase),
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
    });
    this.backupKey = (await this.crypto.getSessionBackupPrivateKey()) ?? undefined;
    await this.crypto.checkKeyBackupAndEnable();
  }

  /** Waits until so many keys are in the backup that is in use. The SDK takes up to ten seconds to begin. */
  async backedUp(keys: number): Promise<void> {
    await until(`${keys} keys are backed up`, async () => (await this.http.get(`${C}/room_keys/version`)).count >= keys);
  }

  /** Knows the account's own cross-signing keys, without which what is in secret storage cannot be used. */
  async knowsItself(): Promise<void> {
    await until(`${this.deviceId} knows the account's keys`, () => this.crypto.userHasCrossSigningKeys(this.userId, true));
  }

  /** Answers interactive authentication with the password: asks for a session first, as clients do. */
  async withPassword<T>(request: (auth: Json) => Promise<T>): Promise<T> {
    try {
      return await request(null);
    } catch (error) {
      const { httpStatus, data } = error as { httpStatus?: number; data?: Json };
      if (httpStatus !== 401 || data?.session === undefined) throw error;
      return await request({ type: "m.login.password", identifier: { type: "m.id.user", user: this.userId }, password: PASSWORD, session: data.session });
    }
  }

  async createRoom(options: ICreateRoomOpts = {}): Promise<string> {
    const { room_id } = await this.sdk.createRoom({ preset: Preset.PrivateChat, visibility: Visibility.Private, ...options });
    await this.room(room_id);
    return room_id;
  }

  /** A room with others, who have joined. */
  async roomWith(others: readonly Person[], options: ICreateRoomOpts = {}): Promise<string> {
    const roomId = await this.createRoom({ preset: Preset.TrustedPrivateChat, invite: others.map(({ userId }) => userId), ...options });
    for (const other of others) {
      await other.room(roomId);
      await other.sdk.joinRoom(roomId);
    }
    for (const one of [this, ...others]) for (const other of [this, ...others]) await one.sees(roomId, other, "join");
    return roomId;
  }

  /** The room, once the client has it. */
  room(roomId: string): Promise<Room> {
    return until(`${this.userId} has the room`, () => this.sdk.getRoom(roomId));
  }

  /** Waits until this client knows of the membership of another. */
  async sees(roomId: string, other: Person, membership: string): Promise<void> {
    await until(`${this.userId} sees ${membership} of ${other.userId}`, () => this.sdk.getRoom(roomId)?.getMember(other.userId)?.membership === membership);
  }

  /** The event, once the client has it (and has decrypted it, where it has encryption). */
  async event(roomId: string, eventId: string): Promise<MatrixEvent> {
    const room = await this.room(roomId);
    return until(`${this.userId} has ${eventId}`, () => {
      const event = room.findEventById(eventId);
      return event !== undefined && event.getType() !== "m.room.encrypted" && !event.isDecryptionFailure() ? event : undefined;
    });
  }

  /** Sends a text; its event id. */
  async says(roomId: string, body: string, more: Record<string, unknown> = {}): Promise<string> {
    await this.room(roomId);
    return (await this.sends(roomId, { msgtype: MsgType.Text, body, ...more })).event_id;
  }

  sends(roomId: string, content: Json): Promise<ISendEventResponse> {
    return this.sdk.sendEvent(roomId, EventType.RoomMessage, content as TimelineEvents[EventType.RoomMessage]);
  }

  /** Sends a text into a thread; its event id. */
  async replies(roomId: string, root: string, body: string): Promise<string> {
    return (await this.sdk.sendMessage(roomId, root, { msgtype: MsgType.Text, body })).event_id;
  }

  async hears(body: string): Promise<void> {
    await until(`${this.deviceId} reads "${body}"`, () => this.heard.includes(body));
  }

  /** The next message takes a new session, whose key has to reach everybody. */
  async rotate(roomId: string): Promise<void> {
    await this.crypto.forceDiscardSession(roomId);
  }

  /** Takes the client off the network, as in a tunnel. */
  pause(): void {
    this.network.up = false;
    this.network.cut.abort();
  }

  resume(): void {
    this.network.up = true;
    this.network.cut = new AbortController();
    this.sdk.retryImmediately();
  }
}

/** Where a scenario plays: one server, and the people who came so far. */
export class Stage {
  private readonly everybody: Person[] = [];
  constructor(readonly baseUrl: string) {}

  async person(name: string, options?: PersonOptions): Promise<Person> {
    const person = await Person.login(this.baseUrl, name, options);
    this.everybody.push(person);
    return person;
  }

  people(names: readonly string[], options?: PersonOptions): Promise<Person[]> {
    return Promise.all(names.map((name) => this.person(name, options)));
  }

  /** Everybody goes home. */
  empty(): void {
    for (const person of this.everybody.splice(0)) person.stop();
  }
}

/** What people do with their clients; what comes of it must be the same with either server. */
export interface Scenario {
  name: string;
  run(stage: Stage): Promise<Json>;
}
