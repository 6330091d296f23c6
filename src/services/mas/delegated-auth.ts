import { createHash, timingSafeEqual } from "node:crypto";
import { lruCache } from "../../lib/lru-cache.ts";
import { HttpClient } from "../../outbound/http-client.ts";
import { type Introspection, MasClient } from "../../outbound/mas.ts";
import { MatrixError } from "../../protocol/errors.ts";
import { isUserId } from "../../protocol/ids.ts";
import { getDevice } from "../../storage/devices/devices.ts";
import { unknownToken, userLocked } from "../accounts/authenticate.ts";
import type { Context } from "../context.ts";
import type { Outgoing } from "../outgoing.ts";
import { type Requester, requesterFor } from "../requester.ts";

type Needs = Pick<Context, "accounts" | "clock" | "config" | "log" | "metrics" | "read">;
type Metadata = Awaited<ReturnType<MasClient["metadata"]>>;

const API_SCOPES = ["urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*"];
const DEVICE_SCOPES = ["urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:"];
const MAX_DEVICE_ID = 255;

/** What the service said counts so long: the longest that a token may outlive its session there, as in Synapse. */
const REMEMBERED_MS = 120_000;
const MAX_REMEMBERED = 20_000;
/** The metadata is asked for anew so often, in the background; what was known last stays when that fails. */
const METADATA_LIFETIME_MS = 3_600_000;

interface Entry {
  readonly at: number;
  readonly said: Promise<Introspection>;
  /** `user device`, once the device was seen to exist. */
  device: string | undefined;
}

/** Authentication delegated to the Matrix Authentication Service (`matrix_authentication_service`; MSC3861 and those that it gathers). */
export class DelegatedAuth {
  /** By the hash of the token: what strangers send takes little room, and no token stays in memory. */
  private readonly entries = lruCache<string, Entry>(MAX_REMEMBERED);
  private readonly client: MasClient;
  private readonly direct: HttpClient;
  private readonly secret: Buffer;
  private metadata: { readonly at: number; readonly document: Metadata } | undefined;
  private loading: Promise<Metadata> | undefined;

  constructor(
    private readonly context: () => Needs,
    config: Context["config"],
    http: Outgoing["http"],
    trusted?: readonly string[],
  ) {
    const { endpoint, forceHttp2, secret = "" } = config.mas;
    const { userAgentSuffix } = config.server;
    this.direct = new HttpClient({ userAgent: `Myelin${userAgentSuffix === undefined ? "" : ` ${userAgentSuffix}`}`, http2: forceHttp2, trusted });
    this.client = new MasClient({ endpoint, secret }, this.direct, http.trusted);
    this.secret = Buffer.from(secret);
  }

  /** Whether this is the secret that the service and this server share. */
  isSharedSecret(token: string): boolean {
    const given = Buffer.from(token);
    return this.secret.length > 0 && given.length === this.secret.length && timingSafeEqual(given, this.secret);
  }

  /**
   * Who has this access token.
   * @throws MatrixError 401 M_UNKNOWN_TOKEN, M_USER_LOCKED; 500 where the service names no user; 503 when it cannot be asked
   */
  async requester(token: string): Promise<Requester> {
    const ctx = this.context();
    if (token.includes("\0")) throw notActive();
    const key = createHash("sha256").update(token).digest("base64");
    const entry = this.entry(key, token);
    let said: Introspection;
    try {
      said = await entry.said;
    } catch (error) {
      ctx.log.named("synapse.api.auth.mas").error("An access token could not be introspected", { error });
      throw new MatrixError(503, "M_UNKNOWN", "Unable to introspect the access token");
    }
    if (!said.active || (said.expiresIn !== undefined && ctx.clock.now() >= entry.at + said.expiresIn * 1000)) throw notActive();
    if (!API_SCOPES.some((scope) => said.scope.has(scope))) throw unknownToken("Token doesn't grant access to the Matrix C-S API");
    if (said.username === undefined) throw wrong("Invalid username claim in the introspection result");
    const userId = `@${said.username}:${ctx.config.server.serverName}`;
    const user = isUserId(userId) ? await ctx.accounts.user(userId) : undefined;
    if (user === undefined) throw wrong("User not found");
    // Accounts may also be closed and locked here, by the admin API.
    if (user.deactivated) throw notActive();
    if (user.locked) throw userLocked();
    const deviceId = said.deviceId ?? deviceOf(said.scope);
    if (deviceId !== undefined) await this.checkDevice(key, entry, userId, deviceId);
    return requesterFor(userId, { deviceId, shadowBanned: user.shadowBanned, scope: [...said.scope] });
  }

  /** Devices were deleted: their tokens are asked about anew. */
  forgetDevices(userId: string, deviceIds: readonly string[]): void {
    const gone = new Set(deviceIds.map((deviceId) => `${userId} ${deviceId}`));
    for (const [key, { device }] of this.entries.entries()) if (device !== undefined && gone.has(device)) this.entries.delete(key);
  }

  /** The service's metadata, as clients are told it. @throws MatrixError 503 when it cannot be asked and never was */
  async serverMetadata(): Promise<Metadata> {
    const { clock, log } = this.context();
    const known = this.metadata;
    if (known !== undefined && clock.now() < known.at + METADATA_LIFETIME_MS) return known.document;
    const loading = this.loadMetadata().catch((error: unknown) => {
      log.named("synapse.api.auth.mas").warn("The metadata of the authentication service could not be fetched", { error });
      return undefined;
    });
    const document = known?.document ?? (await loading);
    if (document === undefined) throw new MatrixError(503, "M_UNKNOWN", "The authentication service cannot be reached");
    return document;
  }

  /** Where a user allows new cross-signing keys (MSC4312). @throws MatrixError 503 */
  async crossSigningResetUrl(): Promise<string> {
    return `${(await this.serverMetadata()).account_management_uri}?action=org.matrix.cross_signing_reset`;
  }

  async close(): Promise<void> {
    await this.direct.close();
  }

  private async loadMetadata(): Promise<Metadata> {
    this.loading ??= this.client
      .metadata()
      .then((document) => {
        this.metadata = { at: this.context().clock.now(), document };
        return document;
      })
      .finally(() => (this.loading = undefined));
    return await this.loading;
  }

  /** What the service said about the token, asked once for all who wait. Failures are not remembered. */
  private entry(key: string, token: string): Entry {
    const { clock, metrics } = this.context();
    const known = this.entries.get(key);
    if (known !== undefined && clock.now() < known.at + REMEMBERED_MS) return known;
    const started = clock.monotonic();
    const said = this.client.introspect(token, (code) => metrics.introspected(code, (clock.monotonic() - started) / 1000));
    const entry: Entry = { at: clock.now(), said, device: undefined };
    this.entries.set(key, entry);
    said.catch(() => {
      if (this.entries.peek(key) === entry) this.entries.delete(key);
    });
    return entry;
  }

  /** The service deletes the device of a session that ended: the token is worth nothing then, whatever was said before. */
  private async checkDevice(key: string, entry: Entry, userId: string, deviceId: string): Promise<void> {
    if (deviceId.length > MAX_DEVICE_ID || deviceId === "" || deviceId.includes("\0")) throw wrong("Invalid device ID in introspection result");
    const device = `${userId} ${deviceId}`;
    if (entry.device === device) return;
    if ((await getDevice(this.context().read, userId, deviceId)) === undefined) {
      this.entries.delete(key);
      throw notActive();
    }
    entry.device = device;
  }
}

/** The device that a scope names. @throws MatrixError 500 for more than one */
function deviceOf(scope: ReadonlySet<string>): string | undefined {
  const devices = new Set([...scope].flatMap((part) => DEVICE_SCOPES.filter((prefix) => part.startsWith(prefix)).map((prefix) => part.slice(prefix.length))));
  if (devices.size > 1) throw wrong("Multiple device IDs in scope");
  return [...devices][0];
}

const notActive = (): MatrixError => unknownToken("Token is not active");

/** The service says what it must not say. */
const wrong = (message: string): MatrixError => new MatrixError(500, "M_FORBIDDEN", message);
