import { lruCache } from "../../lib/lru-cache.ts";
import type { AppserviceNamespace, AppserviceRegistration } from "../../config/appservice-file.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { getDomain } from "../../protocol/ids.ts";
import { joinedRoomsOf } from "../../storage/presence/presence.ts";
import { aliasesOfRoom } from "../../storage/rooms/aliases.ts";
import type { Context } from "../context.ts";
import { matcher } from "./identities.ts";

type Needs = Pick<Context, "config" | "members" | "read">;

/** Ids of appservices. */
export type ServiceIds = ReadonlySet<string>;

interface RoomEntry {
  readonly version: number;
  readonly services: ServiceIds;
}

const NOBODY: ServiceIds = new Set();

/**
 * Which application services want to hear of what: by the namespaces of senders and subjects, of rooms, of the rooms' aliases, and of their
 * local members (Application Service API, "Registration"). Kept by user and by room; with warm caches it asks the database nothing.
 */
export class AppserviceInterest {
  private readonly services: readonly { id: string; user: (userId: string) => boolean; alias: (alias: string) => boolean; room: (roomId: string) => boolean }[];
  private readonly hasAliases: boolean;
  private readonly users = lruCache<string, ServiceIds>(50_000);
  private readonly rooms = lruCache<string, RoomEntry>(20_000);
  private readonly aliases = lruCache<string, ServiceIds>(20_000);

  /** Services without a URL want nothing. */
  constructor(
    private readonly ctx: Needs,
    registrations: readonly AppserviceRegistration[],
  ) {
    this.services = registrations
      .filter(({ url }) => url !== undefined)
      .map(({ id, sender, namespaces }) => {
        const inUsers = anyOf(namespaces.users);
        return { id, user: (userId: string) => userId === sender || inUsers(userId), alias: anyOf(namespaces.aliases), room: anyOf(namespaces.rooms) };
      });
    this.hasAliases = registrations.some(({ url, namespaces }) => url !== undefined && namespaces.aliases.length > 0);
  }

  /** Services in whose namespace a user lies, or whose sender it is. */
  inUser(userId: string): ServiceIds {
    let found = this.users.get(userId);
    if (found === undefined) this.users.set(userId, (found = this.matching("user", userId)));
    return found;
  }

  async inRoom(roomId: string): Promise<ServiceIds> {
    const members = await this.ctx.members.inRoom(roomId);
    const known = this.rooms.get(roomId);
    if (known?.version === members.version) return known.services;
    const { version } = members;
    const found = new Set([...this.matching("room", roomId), ...(await this.inAliases(roomId))]);
    for (const userId of members.local) {
      if (found.size === this.services.length) break;
      for (const id of this.inUser(userId)) found.add(id);
    }
    const services = found.size === 0 ? NOBODY : found;
    this.rooms.set(roomId, { version, services });
    return services;
  }

  async inEvent(event: MatrixEvent): Promise<ServiceIds> {
    if (this.services.length === 0) return NOBODY;
    const ofRoom = await this.inRoom(event.roomId);
    const ofSender = this.inUser(event.sender);
    const ofSubject = event.type === "m.room.member" && event.stateKey !== undefined ? this.inUser(event.stateKey) : NOBODY;
    return ofSender.size === 0 && ofSubject.size === 0 ? ofRoom : new Set([...ofRoom, ...ofSender, ...ofSubject]);
  }

  /** Of these users those whose presence or devices a service wants to hear of: its own, and who is in a room with something of its. */
  async usersFor(serviceId: string, userIds: Iterable<string>): Promise<string[]> {
    const wanted: string[] = [];
    const others: string[] = [];
    for (const userId of userIds) (this.inUser(userId).has(serviceId) ? wanted : others).push(userId);
    const isLocal = (userId: string): boolean => getDomain(userId) === this.ctx.config.server.serverName;
    const remote = others.filter((userId) => !isLocal(userId));
    const roomsOfRemote = remote.length === 0 ? new Map<string, Set<string>>() : await joinedRoomsOf(this.ctx.read, remote);
    for (const userId of others) {
      const rooms = isLocal(userId)
        ? [...(await this.ctx.members.roomsOf(userId))].filter(([, { membership }]) => membership === "join").map(([roomId]) => roomId)
        : (roomsOfRemote.get(userId) ?? []);
      for (const roomId of rooms) {
        if (!(await this.inRoom(roomId)).has(serviceId)) continue;
        wanted.push(userId);
        break;
      }
    }
    return wanted;
  }

  /** The aliases of a room changed; without a room: of any. */
  forgetAliases(roomId?: string): void {
    if (roomId === undefined) {
      this.aliases.clear();
      this.rooms.clear();
    } else {
      this.aliases.delete(roomId);
      this.rooms.delete(roomId);
    }
  }

  private async inAliases(roomId: string): Promise<ServiceIds> {
    if (!this.hasAliases) return NOBODY;
    let found = this.aliases.get(roomId);
    if (found !== undefined) return found;
    found = new Set((await aliasesOfRoom(this.ctx.read, roomId)).flatMap((alias) => [...this.matching("alias", alias)]));
    this.aliases.set(roomId, found);
    return found;
  }

  private matching(kind: "user" | "alias" | "room", text: string): ServiceIds {
    const ids = this.services.filter((service) => service[kind](text)).map(({ id }) => id);
    return ids.length === 0 ? NOBODY : new Set(ids);
  }
}

function anyOf(namespaces: readonly AppserviceNamespace[]): (text: string) => boolean {
  const matchers = namespaces.map((namespace) => matcher(namespace));
  return (text) => matchers.some((matches) => matches(text));
}
