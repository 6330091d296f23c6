import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { globalAccountDataOfType } from "../../storage/accounts/account-data.ts";
import { findRoom, setRoomPublic } from "../../storage/rooms/rooms.ts";
import { setAccountData } from "../account-data/account-data.ts";
import type { Context } from "../context.ts";

/** JSON over HTTP, to addresses that the admin configured. */
export class ModuleHttpClient {
  constructor(private readonly context: () => Context) {}

  /** The JSON object of a successful answer. @throws HttpError with `status` and `body`, HttpUnavailable */
  async get_json(url: string, args: Readonly<Record<string, string>> = {}, headers: Readonly<Record<string, string>> = {}): Promise<JsonObject> {
    return await this.context().http.trusted.object({ method: "GET", url, query: args, headers });
  }
  async get_text(url: string, args: Readonly<Record<string, string>> = {}, headers: Readonly<Record<string, string>> = {}): Promise<string> {
    return await this.context().http.trusted.text({ method: "GET", url, query: args, headers });
  }
  async post_json_get_json(url: string, json: JsonObject, headers: Readonly<Record<string, string>> = {}): Promise<JsonObject> {
    return await this.context().http.trusted.object({ method: "POST", url, json, headers });
  }
  async post_urlencoded_get_json(
    url: string,
    form: Readonly<Record<string, string>> = {},
    headers: Readonly<Record<string, string>> = {},
  ): Promise<JsonObject> {
    return await this.context().http.trusted.object({ method: "POST", url, form, headers });
  }
  async put_json(url: string, json: JsonObject, headers: Readonly<Record<string, string>> = {}): Promise<JsonObject> {
    return await this.context().http.trusted.object({ method: "PUT", url, json, headers });
  }
}

/** Rooms in the public directory. */
export class PublicRoomListManager {
  constructor(private readonly context: () => Context) {}

  async room_is_in_public_room_list(roomId: string): Promise<boolean> {
    return (await findRoom(this.context().read, roomId))?.is_public === true;
  }
  async add_room_to_public_room_list(roomId: string): Promise<void> {
    await this.context().transaction("set_room_is_public", (txn) => setRoomPublic(txn, roomId, true));
  }
  async remove_room_from_public_room_list(roomId: string): Promise<void> {
    await this.context().transaction("set_room_is_public", (txn) => setRoomPublic(txn, roomId, false));
  }
}

/** Account data of local users. */
export class AccountDataManager {
  constructor(private readonly context: () => Context) {}

  /** @throws Error for users of other servers */
  async get_global(userId: string, dataType: string): Promise<JsonObject | undefined> {
    this.requireLocal(userId);
    const text = await globalAccountDataOfType(this.context().read, userId, dataType);
    const content: unknown = text === undefined ? undefined : JSON.parse(text);
    return isJsonObject(content) ? content : undefined;
  }

  /** @throws Error for users of other servers and accounts that do not exist */
  async put_global(userId: string, dataType: string, newData: JsonObject): Promise<void> {
    this.requireLocal(userId);
    const ctx = this.context();
    if ((await ctx.accounts.user(userId)) === undefined) throw new Error(`User ${userId} does not exist on this server.`);
    await setAccountData(ctx, userId, dataType, newData);
  }

  private requireLocal(userId: string): void {
    const { serverName } = this.context().config.server;
    if (!userId.startsWith("@") || !userId.endsWith(`:${serverName}`)) throw new Error(`${userId} is not local to this homeserver; can't access account data.`);
  }
}
