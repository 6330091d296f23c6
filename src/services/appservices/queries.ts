import { lruCache } from "../../lib/lru-cache.ts";
import type { AppserviceRegistration } from "../../config/appservice-file.ts";
import { isJsonObject, type Json, type JsonObject, stringify } from "../../lib/json.ts";
import type { AppserviceAddress, AppserviceClient } from "../../outbound/appservice.ts";
import { HttpError, HttpUnavailable } from "../../outbound/http-client.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { KeyClaim } from "../../storage/devices/keys.ts";
import type { AppserviceIdentity } from "../accounts/hooks.ts";
import type { Context } from "../context.ts";
import type { AppserviceKeys } from "../remote-servers.ts";
import { appserviceIdentities } from "./identities.ts";

/** How long metadata of protocols are kept. */
const PROTOCOL_TTL_MS = 3_600_000;

interface Service {
  readonly registration: AppserviceRegistration;
  readonly identity: AppserviceIdentity;
  readonly address: AppserviceAddress;
}

/** Questions to application services: users, aliases, third-party networks, keys. A service that fails to answer knows nothing. */
export class AppserviceQueries {
  private readonly services: readonly Service[];
  private readonly protocols = lruCache<string, { until: number; info: JsonObject }>(500);

  constructor(
    private readonly ctx: Pick<Context, "clock" | "log">,
    private readonly client: AppserviceClient,
    registrations: readonly AppserviceRegistration[],
  ) {
    const identities = appserviceIdentities(registrations);
    this.services = registrations.flatMap((registration) => {
      const { id, url, hsToken } = registration;
      return url === undefined ? [] : [{ registration, identity: identities.byId(id)!, address: { id, url, hsToken } }];
    });
  }

  /** Asks the services in whose namespaces a user lies to make it; true when one of them did. */
  async provideUser(userId: string): Promise<boolean> {
    for (const { identity, address } of this.services) {
      if (identity.interestedInUser(userId) && (await this.ask(address, () => this.client.knowsUser(address, userId))) === true) return true;
    }
    return false;
  }

  /** Asks the services in whose namespaces a missing alias lies to make it; true when one of them did. */
  async provideAlias(alias: string): Promise<boolean> {
    for (const { identity, address } of this.services) {
      if (identity.interestedInAlias(alias) && (await this.ask(address, () => this.client.knowsAlias(address, alias))) === true) return true;
    }
    return false;
  }

  /** Metadata of third-party protocols by name, with the instances of all services that speak them; of one protocol where it is given. */
  async thirdPartyProtocols(only?: string): Promise<Record<string, JsonObject>> {
    const wanted = this.services.flatMap((service) =>
      [...new Set(service.registration.protocols)].filter((name) => only === undefined || name === only).map((name) => ({ service, name })),
    );
    const answers = await Promise.all(wanted.map(async ({ service, name }) => ({ name, info: await this.protocol(service, name) })));
    const result = Object.create(null) as Record<string, JsonObject>;
    for (const { name, info } of answers) {
      if (info === undefined) continue;
      const known = result[name];
      // But for the instances the answers are the same.
      result[name] = known === undefined ? info : { ...known, instances: [...(known.instances as Json[]), ...(info.instances as Json[])] };
    }
    return result;
  }

  /** Users or locations on a third-party network that fit the fields. Without a protocol nobody is asked (as Synapse). */
  async thirdParty(kind: "user" | "location", protocol: string, fields: readonly (readonly [string, string])[]): Promise<JsonObject[]> {
    const speaking = this.services.filter(({ registration }) => registration.protocols.includes(protocol));
    const answers = await Promise.all(speaking.map(({ address }) => this.ask(address, () => this.client.thirdParty(address, kind, protocol, fields))));
    const id = kind === "user" ? "userid" : "alias";
    const isValid = (entry: Json): entry is JsonObject =>
      isJsonObject(entry) && typeof entry[id] === "string" && typeof entry.protocol === "string" && isJsonObject(entry.fields);
    return answers.flatMap((answer) => (Array.isArray(answer) ? answer.filter(isValid) : []));
  }

  /**
   * Asks a service for a sign of life; how long that took, in milliseconds (Application Service API, "Pinging").
   * @throws MatrixError 400 M_URL_NOT_SET; 502 M_BAD_STATUS, M_CONNECTION_FAILED; 504 M_CONNECTION_TIMEOUT
   */
  async ping(serviceId: string, transactionId: Json): Promise<number> {
    const address = this.services.find(({ address }) => address.id === serviceId)?.address;
    if (address === undefined) throw new MatrixError(400, "M_URL_NOT_SET", "The application service does not have a URL set");
    const start = this.ctx.clock.monotonic();
    try {
      await this.client.ping(address, transactionId);
    } catch (error) {
      if (error instanceof HttpError) throw new MatrixError(502, "M_BAD_STATUS", `HTTP ${error.status}`, { status: error.status, body: stringify(error.body) });
      if (!(error instanceof HttpUnavailable)) throw error;
      if (isTimeout(error.cause)) throw new MatrixError(504, "M_CONNECTION_TIMEOUT", "Timed out");
      throw new MatrixError(502, "M_CONNECTION_FAILED", error.message);
    }
    return Math.trunc(this.ctx.clock.monotonic() - start);
  }

  /** Devices of users whom services have for themselves (MSC3984): user id to device id to keys, below `device_keys`. */
  async queryKeys(query: Readonly<Record<string, readonly string[]>>): Promise<JsonObject> {
    const groups = this.byOwner(Object.entries(query), ([userId]) => userId);
    const answers = await Promise.all(
      [...groups].map(async ([{ address }, entries]) => {
        const asked = Object.fromEntries(entries.map(([userId, deviceIds]) => [userId, [...deviceIds]]));
        const devices = (await this.ask(address, () => this.client.queryKeys(address, asked)))?.device_keys;
        return isJsonObject(devices) ? Object.entries(devices).filter(([userId]) => Object.hasOwn(asked, userId)) : [];
      }),
    );
    return { device_keys: Object.fromEntries(answers.flat()) };
  }

  /** One-time keys of users whom services have for themselves (MSC3983), and the claims that remain. */
  async claimKeys(claims: readonly KeyClaim[]): Promise<AppserviceKeys> {
    const groups = this.byOwner(claims, ({ userId }) => userId);
    const keys: AppserviceKeys["keys"][number][] = [];
    await Promise.all(
      [...groups].map(async ([{ address }, own]) => {
        const asked: Record<string, Record<string, string[]>> = {};
        for (const { userId, deviceId, algorithm, count } of own)
          ((asked[userId] ??= {})[deviceId] ??= []).push(...Array.from({ length: count }, () => algorithm));
        const answer = (await this.ask(address, () => this.client.claimKeys(address, asked))) ?? {};
        for (const [userId, devices] of Object.entries(answer)) {
          for (const [deviceId, named] of isJsonObject(devices) ? Object.entries(devices) : []) {
            if (asked[userId]?.[deviceId] === undefined || !isJsonObject(named)) continue;
            for (const [keyName, key] of Object.entries(named)) keys.push({ userId, deviceId, keyName, key: key! });
          }
        }
      }),
    );
    const missing = claims.flatMap((claim) => {
      const found = keys.filter(
        ({ userId, deviceId, keyName }) => userId === claim.userId && deviceId === claim.deviceId && keyName.startsWith(`${claim.algorithm}:`),
      ).length;
      return found >= claim.count ? [] : [{ ...claim, count: claim.count - found }];
    });
    return { keys, missing };
  }

  private byOwner<T>(items: readonly T[], userOf: (item: T) => string): Map<Service, T[]> {
    const groups = new Map<Service, T[]>();
    for (const item of items) {
      const owner = this.services.find(({ identity }) => identity.ownsUser(userOf(item)));
      if (owner === undefined) continue;
      const group = groups.get(owner);
      if (group === undefined) groups.set(owner, [item]);
      else group.push(item);
    }
    return groups;
  }

  private async protocol({ address }: Service, name: string): Promise<JsonObject | undefined> {
    const key = JSON.stringify([address.id, name]);
    const now = this.ctx.clock.now();
    const known = this.protocols.get(key);
    if (known !== undefined && known.until > now) return known.info;
    const answer = await this.ask(address, () => this.client.protocol(address, name));
    if (!isJsonObject(answer) || !Array.isArray(answer.instances)) return undefined;
    const instances = answer.instances.map((instance) =>
      isJsonObject(instance) && typeof instance.network_id === "string" ? { ...instance, instance_id: `${address.id}|${instance.network_id}` } : instance,
    );
    const info = { ...answer, instances };
    this.protocols.set(key, { until: now + PROTOCOL_TTL_MS, info });
    return info;
  }

  private async ask<T>(address: AppserviceAddress, question: () => Promise<T>): Promise<T | undefined> {
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof HttpError) && !(error instanceof HttpUnavailable) && !(error instanceof SyntaxError)) throw error;
      this.ctx.log.named("synapse.appservice.api").warn(`${address.id} could not be asked: ${error.message}`);
      return undefined;
    }
  }
}

function isTimeout(cause: unknown): boolean {
  const { name, code } = (cause ?? {}) as { name?: unknown; code?: unknown };
  return name === "TimeoutError" || (typeof code === "string" && /TIMEOUT|ETIMEDOUT/.test(code));
}
