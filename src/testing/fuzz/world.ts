import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Json } from "../../lib/json.ts";
import type { Logger } from "../../lib/log.ts";
import { startTestAppservice, type TestAppservice } from "../appservice.ts";
import { startFederatedServer, type FederatedTestServer } from "../federated-server.ts";
import { FederationPeer } from "../federation-peer.ts";
import { MailServer } from "../mail-server.ts";
import { TEST_PASSWORD, type TestUser } from "../server.ts";
import type { Dice } from "./dice.ts";
import { wrongValue } from "./junk.ts";
import { eventsOf, type Pool } from "./pool.ts";

/** In whose name requests go out. */
export type Role = "user" | "other" | "admin" | "guest" | "suspended" | "locked" | "deactivated" | "appservice" | "foreign" | "nobody";

/** A server with people of every kind, rooms, and another server beside it. */
export interface World {
  readonly server: FederatedTestServer;
  readonly peer: FederationPeer;
  /** Who `role` is; those who lost their rights by what was asked of the server are replaced. */
  person(role: Role): TestUser;
  /** Sees to it that everybody can still do what they are there for. */
  repair(): Promise<void>;
  readonly errors: readonly LoggedError[];
  close(): Promise<void>;
}

export interface LoggedError {
  readonly message: string;
  readonly error: unknown;
}

/** Nobody's requests take that long, unless something waits for what never comes. */
const REPAIR_MS = 60_000;

const C = "/_matrix/client/v3";
const ADMIN = "/_synapse/admin";

export async function makeWorld(dice: Dice, pool: Pool): Promise<World> {
  const errors: LoggedError[] = [];
  const peer = await FederationPeer.start();
  const bridge = await startTestAppservice();
  const mails = await MailServer.start();
  const folder = mkdtempSync(path.join(tmpdir(), "myelin-fuzz-"));
  const server = await startFederatedServer({ log: errorLogger(errors), config: fuzzConfig(bridge, folder, peer.name, mails.port) });
  // The other server says anything.
  peer.answers.push(() => ({
    status: dice.pick([200, 200, 403, 404, 500, 401]),
    body: dice.chance(0.5) ? wrongValue(dice) : { errcode: "M_UNKNOWN_TOKEN", error: "x", pdus: wrongValue(dice), chunk: wrongValue(dice) },
  }));

  const people = new Map<Role, TestUser>();
  let made = 0;
  let repairs = 0;
  /** What is being repaired, for those who wait for it in vain. */
  let step = "";
  const admin = (): TestUser => people.get("admin")!;
  const makers: Partial<Record<Role, () => Promise<TestUser>>> = {
    admin: () => server.register(`admin${++made}`, { admin: true }),
    user: () => newUser("user"),
    other: () => newUser("other"),
    guest: async () => {
      const { body } = await server.anonymous.post(`${C}/register?kind=guest`, {});
      return { userId: body.user_id as string, accessToken: body.access_token as string, deviceId: body.device_id as string };
    },
    suspended: async () => {
      const user = await newUser("suspended");
      await server.as(admin()).put(`${ADMIN}/v1/suspend/${user.userId}`, { suspend: true }).expect(200);
      return user;
    },
    locked: async () => {
      const user = await newUser("locked");
      await server.as(admin()).put(`${ADMIN}/v2/users/${user.userId}`, { locked: true }).expect(200);
      return user;
    },
    deactivated: async () => {
      const user = await newUser("gone");
      await server.as(admin()).post(`${ADMIN}/v1/deactivate/${user.userId}`, {}).expect(200);
      return user;
    },
  };

  async function newUser(name: string): Promise<TestUser> {
    step = `registering ${name}`;
    const user = await server.register(`${name}${++made}`);
    step = `joining as ${name}`;
    const room = pool.all("room_id")[0];
    if (room !== undefined) await server.as(user).post(`${C}/rooms/${encodeURIComponent(room)}/join`, {});
    return user;
  }

  async function learnRefreshToken({ userId }: TestUser): Promise<void> {
    step = "logging in for a refresh token";
    const identifier = { type: "m.id.user", user: userId };
    const { body } = await server.anonymous.post(`${C}/login`, { type: "m.login.password", identifier, password: TEST_PASSWORD, refresh_token: true });
    if (typeof body.refresh_token === "string") pool.add("refresh_token", body.refresh_token);
  }

  async function furnish(owner: TestUser): Promise<void> {
    const as = server.as(owner);
    pool.clear("room_id");
    pool.clear("event_id");
    for (const body of [
      { preset: "public_chat", room_alias_name: `main${++made}`, visibility: "public" },
      { preset: "private_chat", room_version: "6" },
      { preset: "public_chat", creation_content: { type: "m.space" }, room_version: "12" },
    ]) {
      step = `making a room: ${body.preset} ${body.room_version ?? ""}`;
      const created = await as.post(`${C}/createRoom`, body);
      if (created.status !== 200) continue;
      const roomId = created.body.room_id as string;
      pool.add("room_id", roomId);
      if (body.preset === "public_chat") await server.as(people.get("other")!).post(`${C}/rooms/${encodeURIComponent(roomId)}/join`, {});
      for (let n = 0; n < 4; n++) {
        const sent = await as.put(`${C}/rooms/${encodeURIComponent(roomId)}/send/m.room.message/f${++made}`, { msgtype: "m.text", body: `hello ${n}` });
        if (sent.status === 200) pool.add(eventsOf(roomId), sent.body.event_id as string);
      }
    }
    const upload = await as.request("post", "/_matrix/media/v3/upload?filename=a.png").set("Content-Type", "image/png").send(PNG);
    if (upload.status === 200) pool.add("media_id", (upload.body.content_uri as string).split("/").at(-1)!);
    const announced = await as.post("/_matrix/media/v1/create", {});
    if (announced.status === 200) pool.add("announced_media", (announced.body.content_uri as string).split("/").at(-1)!);
    pool.add("alias", `#main${made}:${server.name}`);
  }

  for (const role of ["admin", "user", "other", "guest", "suspended", "locked", "deactivated"] as const) people.set(role, await makers[role]!());
  people.set("appservice", { userId: `@bridge:${server.name}`, accessToken: bridge.asToken, deviceId: "AS" });
  people.set("foreign", { userId: `@foreign:${server.name}`, accessToken: "syt_Zm9yZWlnbg_aaaaaaaaaaaaaaaaaaaa_0abcde", deviceId: "X" });
  people.set("nobody", { userId: `@nobody:${server.name}`, accessToken: "", deviceId: "X" });
  await furnish(people.get("user")!);
  const { ctx, server: running } = server;
  running.followers.start();
  await ctx.delayedEvents.start(ctx.publisher);
  await ctx.appserviceSender.start(ctx.publisher);
  await ctx.pushers.start(ctx.publisher);

  const works = async (role: Role): Promise<boolean> => {
    step = `what the ${role} may do`;
    const user = people.get(role)!;
    const { status, body } = await server.as(user).get(`${C}/account/whoami`);
    if (role === "locked") return status === 401 && body.errcode === "M_USER_LOCKED";
    if (role === "deactivated") return status === 401;
    if (status !== 200) return false;
    // Shadow-banned users wait for everything, and nothing comes of it.
    if ((await server.ctx.accounts.user(user.userId))?.shadowBanned === true) return false;
    if (role === "suspended") return (await server.as(user).put(`${C}/profile/${user.userId}/displayname`, { displayname: "x" })).status === 403;
    if (role === "admin")
      return (await server.as(user).get(`${ADMIN}/v1/server_version`)).status === 200 && (await server.as(user).get(`${ADMIN}/v2/users`)).status === 200;
    if (role === "guest") return body.is_guest === true;
    return (await server.as(user).put(`${C}/profile/${user.userId}/displayname`, { displayname: "x" })).status === 200;
  };

  return {
    server,
    peer,
    errors,
    person: (role) => people.get(role)!,
    async repair() {
      const timer = setTimeout(() => {
        throw new Error(`The server hangs: ${step}`);
      }, REPAIR_MS);
      for (const role of Object.keys(makers) as Role[]) if (!(await works(role))) people.set(role, await makers[role]!());
      const user = people.get("user")!;
      if (pool.all("refresh_token").length < 3) await learnRefreshToken(user);
      const { body } = await server.as(user).get(`${C}/joined_rooms`);
      // Rooms are worn out by what is done to them.
      if (++repairs % 5 === 0 || ((body as { joined_rooms?: Json[] }).joined_rooms ?? []).length < 3) await furnish(user);
      // What the last mail says is all that is known of its kind, so that its parts belong together.
      const link = /submit_token\?token=(\w+)&client_secret=secret&sid=(\w+)/.exec(mails.mails.at(-1)?.text ?? "");
      mails.mails.length = 0;
      if (link !== null) {
        for (const name of ["mail_token", "sid"]) pool.clear(name);
        pool.add("mail_token", link[1]!);
        pool.add("sid", link[2]!);
      }
      // Nobody else is named in requests, so that they stay what they are.
      pool.add("user_id", people.get("user")!.userId, people.get("other")!.userId, `@bridge_1:${server.name}`, peer.user("mallory"));
      clearTimeout(timer);
    },
    async close() {
      await server.close();
      await bridge.close();
      await mails.close();
      await peer.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function fuzzConfig(bridge: TestAppservice, folder: string, peerName: string, mailPort: number): Record<string, unknown> {
  return {
    media_store_path: folder,
    allow_guest_access: true,
    url_preview_enabled: true,
    url_preview_ip_range_blacklist: ["0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "::1/128"],
    app_service_config_files: [bridge.registration({ protocols: ["irc"], "io.element.msc4190": true })],
    federation_domain_whitelist: [peerName],
    allow_public_rooms_over_federation: true,
    allow_public_rooms_without_auth: true,
    server_notices: { system_mxid_localpart: "notices", room_name: "Notices" },
    retention: { enabled: true },
    user_directory: { enabled: true, search_all_users: true },
    max_event_delay_duration: "1h",
    enable_room_list_search: true,
    login_via_existing_session: { enabled: true, require_ui_auth: false, token_timeout: "5m" },
    account_validity: { enabled: false },
    experimental_features: {
      msc3266_enabled: true,
      msc3720_enabled: true,
      msc3814_enabled: true,
      msc3881_enabled: true,
      msc3912_enabled: true,
      msc3983_appservice_otk_claims: true,
      msc4133_enabled: true,
      msc4155_enabled: true,
      msc4186_enabled: true,
      msc4222_enabled: true,
      msc4306_enabled: true,
      msc4354_enabled: true,
    },
    password_config: { policy: { enabled: false } },
    email: { smtp_host: "127.0.0.1", smtp_port: mailPort, enable_tls: false, notif_from: "noreply@test" },
    rc_3pid_validation: { per_second: 1000, burst_count: 1000 },
  };
}

/** The smallest picture. */
const PNG = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");

function errorLogger(errors: LoggedError[]): Logger {
  const logger: Logger = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (message, fields) => void errors.push({ message, error: fields?.error }),
    named: () => logger,
    enabled: () => false,
  };
  return logger;
}

export { TEST_PASSWORD };
