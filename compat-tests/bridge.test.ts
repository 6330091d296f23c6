import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import type { Server } from "node:http";
import { join } from "node:path";
import { Appservice, type IAppserviceRegistration, LogService, MatrixClient as SdkClient, MatrixError, MemoryStorageProvider } from "matrix-bot-sdk";
import { stringify } from "yaml";
import { C, enc, type Json, type MatrixClient, V1 } from "./harness/client.ts";
import { makeHome, type Home } from "./harness/home.ts";
import { acquirePostgres, type PostgresServer } from "./harness/postgres.ts";
import { freePort, waitFor } from "./harness/scratch.ts";
import { type RunningServer, startServer } from "./harness/server.ts";
import { requireServers, sides } from "./sides.ts";

const PASSWORD = "a long enough password";
const WAIT_MS = 30_000;
const SERVER = "compat.test";
const PROTOCOL = {
  user_fields: ["nick"],
  location_fields: ["channel"],
  icon: "mxc://compat.test/icon",
  field_types: { nick: { regexp: "[a-z]+", placeholder: "anna" }, channel: { regexp: "#[a-z]+", placeholder: "#harbour" } },
  instances: [{ desc: "The old network", icon: "", fields: {}, network_id: "old" }],
};
const REGISTRATION: IAppserviceRegistration & Record<string, unknown> = {
  id: "harbour-bridge",
  as_token: "as_token_of_the_bridge",
  hs_token: "hs_token_of_the_bridge",
  sender_localpart: "_bridge_bot",
  rate_limited: false,
  protocols: ["old"],
  namespaces: { users: [{ exclusive: true, regex: "@_bridge_.*" }], aliases: [{ exclusive: true, regex: "#_bridge_.*" }], rooms: [] },
  "de.sorunome.msc2409.push_ephemeral": true,
  "org.matrix.msc3202": true,
};

/** What a homeserver told the bridge, in its order. */
interface Heard {
  readonly what: string;
  readonly data: Json;
}

/** A bridge as matrix-bot-sdk makes them, which notes what it hears. What it has stored outlives it. */
class Bridge {
  readonly heard: Heard[] = [];
  readonly sdk: Appservice;
  private constructor(home: Home, port: number, storage: MemoryStorageProvider) {
    this.sdk = new Appservice({ port, bindAddress: "127.0.0.1", homeserverName: SERVER, homeserverUrl: home.baseUrl, registration: REGISTRATION, storage });
    const note = (what: string, data: Json): void => void this.heard.push({ what, data });
    // The library answers no pings, yet lets its users add routes.
    this.sdk.expressAppInstance.post("/_matrix/app/v1/ping", (req, res) => {
      note("ping", [req.headers.authorization, req.body]);
      res.json({});
    });
    this.sdk.on("room.event", (_roomId, event) => note("event", event));
    this.sdk.on("room.join", (_roomId, event) => note("room.join", event.state_key));
    this.sdk.on("room.leave", (_roomId, event) => note("room.leave", event.state_key));
    this.sdk.on("room.invite", (roomId, event) => {
      note("room.invite", event.state_key);
      void this.sdk.getIntentForUserId(event.state_key).joinRoom(roomId);
    });
    this.sdk.on("ephemeral.event", (event) => note("ephemeral", event));
    this.sdk.on("device_lists", (lists) => note("device lists", lists));
    this.sdk.on("otk.counts", (counts) => note("one-time keys", counts));
    this.sdk.on("otk.unused_fallback_keys", (types) => note("fallback keys", types));
    this.sdk.on("query.user", (userId: string, answer) => {
      note("query.user", userId);
      answer(userId.includes("nobody") ? false : { display_name: "Asked for" });
    });
    this.sdk.on("query.room", (alias: string, answer) => {
      note("query.room", alias);
      answer(alias.includes("nowhere") ? false : { preset: "public_chat", name: "Made when asked for" });
    });
    this.sdk.on("thirdparty.protocol", (_protocol, answer) => answer(PROTOCOL));
    this.sdk.on("thirdparty.user.remote", (protocol, fields, answer) => answer([{ userid: `@_bridge_${fields.nick}:${SERVER}`, protocol, fields }]));
    this.sdk.on("thirdparty.user.matrix", (userid, answer) => answer([{ userid, protocol: "old", fields: { nick: "anna" } }]));
    this.sdk.on("thirdparty.location.remote", (protocol, fields, answer) =>
      answer(fields.channel === "#none" ? [] : [{ alias: `#_bridge_harbour:${SERVER}`, protocol, fields }]),
    );
    this.sdk.on("thirdparty.location.matrix", (alias, answer) => answer([{ alias, protocol: "old", fields: { channel: "#harbour" } }]));
  }

  static async start(home: Home, port: number, storage: MemoryStorageProvider): Promise<Bridge> {
    const bridge = new Bridge(home, port, storage);
    await bridge.sdk.begin();
    // Synapse sends a transaction on a connection that is just being closed only again without its ephemeral events.
    (bridge.sdk as unknown as { appServer: Server }).appServer.keepAliveTimeout = 10 * 60_000;
    return bridge;
  }

  /** Waits until something is heard that has not been waited for yet. */
  async hears(what: string, where: (data: Json) => boolean = () => true): Promise<Json> {
    return (await waitFor(`the bridge hears ${what}`, WAIT_MS, () => this.heard.find((each) => each.what === what && where(each.data)))).data;
  }

  message(body: string): Promise<Json> {
    return this.hears("event", (event) => event.content.body === body);
  }

  /** The bodies of messages, as often as they came. */
  bodies(): string[] {
    return this.heard.filter(({ what, data }) => what === "event" && data.type === "m.room.message").map(({ data }) => data.content.body);
  }

  stop(): void {
    this.sdk.stop();
  }
}

/** A real bridge library with either server, and with one that has taken the other's place. */
describe("bridge: matrix-bot-sdk's application service does not notice which server it has", function () {
  this.timeout(5 * 60_000);
  const { a, b } = sides();
  let postgres: PostgresServer;
  let home: Home;
  let port: number;
  let server: RunningServer | undefined;
  let bridge: Bridge | undefined;
  let storage = new MemoryStorageProvider();
  let harbour = "";
  let aliceToken = "";
  const told: { steps: Map<string, Json>; heard: Json[][] }[] = [];

  before(async function () {
    requireServers(this, a, b);
    LogService.setLogger({ info: () => {}, warn: () => {}, error: () => {}, debug: () => {}, trace: () => {} });
    postgres = await acquirePostgres();
    port = await freePort();
    const features = { msc2409_to_device_messages_enabled: true, msc3202_transaction_extensions: true };
    home = await makeHome({ name: "bridge", postgres, features, extra: { user_consent: undefined } });
    writeFileSync(join(home.folder, "as.yaml"), stringify({ ...REGISTRATION, url: `http://127.0.0.1:${port}` }));
  });
  after(async () => {
    bridge?.stop();
    await server?.kill();
    if (home !== undefined && process.env["COMPAT_KEEP"] === undefined) await postgres.dropDatabase(home.database);
    await postgres?.stop();
  });

  /** The status and code of what is refused. */
  async function refusal(call: Promise<unknown>): Promise<Json> {
    try {
      await call;
    } catch (error) {
      if (error instanceof MatrixError) return [error.statusCode, error.errcode];
      const { status, errcode } = error as { status: number; errcode: string };
      return [status, errcode];
    }
    return "not refused";
  }

  async function script(alice: MatrixClient, bridged: Bridge): Promise<Map<string, Json>> {
    const { sdk } = bridged;
    const steps = new Map<string, Json>();
    const anna = sdk.getIntentForSuffix("anna");
    await alice.register("alice", PASSWORD);
    aliceToken = alice.accessToken!;

    const { device_id: botDevice, ...bot } = await sdk.botClient.getWhoAmI();
    steps.set("the bot is", [bot, typeof botDevice]);
    await anna.ensureRegistered();
    await anna.underlyingClient.setDisplayName("Anna over there");
    steps.set("a ghost is", await anna.underlyingClient.getUserProfile(anna.userId));
    await sdk.bridge.setRemoteUserInfo(anna, { id: "remote-anna" });
    steps.set("a ghost's remote self", [await sdk.bridge.getRemoteUserInfo(anna), (await sdk.bridge.getIntentForRemote("remote-anna")).userId]);
    steps.set("people do not take ghosts' names", await refusal(alice.post(`${C}/register`, { username: "_bridge_me", password: PASSWORD })));
    steps.set("bridges do not take people's", await refusal(sdk.getIntentForUserId(`@alice:${SERVER}`).underlyingClient.getJoinedRooms()));
    steps.set("nor register them", await refusal(sdk.getIntent("mallory").ensureRegistered()));
    const stranger = new SdkClient(home.baseUrl, "as_token_of_another");
    steps.set("a wrong token", await refusal(stranger.getWhoAmI()));

    harbour = await alice.createRoom({ preset: "public_chat", name: "Harbour" });
    await anna.ensureJoined(harbour);
    const said = await anna.sendText(harbour, "says the ghost");
    const old = await anna.unstableApis.sendEventWithTimestamp(harbour, "m.room.message", { msgtype: "m.notice", body: "of old" }, 1_500_000_000_000);
    const event = await alice.get(`${C}/rooms/${harbour}/event/${enc(said)}`);
    steps.set("a ghost's message", [event.sender, event.content]);
    steps.set("a message of old", (await alice.get(`${C}/rooms/${harbour}/event/${enc(typeof old === "string" ? old : old.event_id)}`)).origin_server_ts);
    await alice.text(harbour, "says alice");
    await bridged.message("says alice");

    await alice.invite(harbour, `@_bridge_carl:${SERVER}`);
    steps.set("an unknown user is asked for", await bridged.hears("query.user", (id) => id.includes("carl")));
    await bridged.hears("room.join", (id) => id.includes("carl"));
    steps.set("and comes", (await alice.get(`${C}/rooms/${harbour}/state/m.room.member/${enc(`@_bridge_carl:${SERVER}`)}`)).membership);
    const { room_id } = await alice.join(`#_bridge_quay:${SERVER}`);
    steps.set("an alias is asked for", [await bridged.hears("query.room"), (await alice.get(`${C}/rooms/${room_id}/state/m.room.name`)).name]);
    steps.set("one that the bridge does not know", await refusal(alice.join(`#_bridge_nowhere:${SERVER}`)));
    steps.set("people do not take its aliases", await refusal(alice.put(`${C}/directory/room/${enc(`#_bridge_mine:${SERVER}`)}`, { room_id: harbour })));

    steps.set("protocols", await alice.get(`${C}/thirdparty/protocols`));
    steps.set("a protocol", await alice.get(`${C}/thirdparty/protocol/old`));
    // Synapse's answer has no code.
    steps.set("no protocol", (await alice.request("GET", `${C}/thirdparty/protocol/new`)).status);
    steps.set("a user there", await alice.get(`${C}/thirdparty/user/old`, { nick: "anna" }));
    steps.set("a user here", await alice.get(`${C}/thirdparty/user`, { userid: anna.userId }));
    steps.set("a place there", await alice.get(`${C}/thirdparty/location/old`, { channel: "#harbour" }));
    steps.set("no place there", await alice.get(`${C}/thirdparty/location/old`, { channel: "#none" }));
    steps.set("a place here", await alice.get(`${C}/thirdparty/location`, { alias: `#_bridge_harbour:${SERVER}` }));

    const ping = await sdk.botClient.doRequest("POST", `${V1}/appservice/${REGISTRATION.id}/ping`, null, { transaction_id: "mine" });
    steps.set("a ping", [typeof ping.duration_ms, await bridged.hears("ping")]);
    steps.set("another's ping", await refusal(sdk.botClient.doRequest("POST", `${V1}/appservice/other/ping`, null, {})));

    await sdk.setRoomDirectoryVisibility("old", harbour, "public");
    const listed = await alice.post(`${C}/publicRooms`, { third_party_instance_id: `${REGISTRATION.id}|old` });
    const unlisted = await alice.post(`${C}/publicRooms`, {});
    steps.set("a list for the network", [listed.chunk.map((room: Json) => room.name), unlisted.chunk.map((room: Json) => room.name)]);

    await alice.put(`${C}/rooms/${harbour}/typing/${enc(alice.userId)}`, { typing: true, timeout: 20_000 });
    const typing = await bridged.hears("ephemeral", ({ type }) => type === "m.typing");
    steps.set("typing", [Object.keys(typing).sort(), typing.room_id === harbour, typing.content]);
    await alice.post(`${C}/rooms/${harbour}/receipt/m.read/${enc(said)}`);
    const receipt = await bridged.hears("ephemeral", ({ type }) => type === "m.receipt");
    steps.set("a receipt", [Object.keys(receipt).sort(), receipt.room_id === harbour, Object.keys(receipt.content[said]["m.read"])]);

    // Encryption: the ghost's device, its keys, and what is sent to it.
    const identifier = { type: "m.id.user", user: anna.userId };
    const login = { type: "m.login.application_service", identifier, device_id: "GHOSTLY", initial_device_display_name: "Anna" };
    const loggedIn = await anna.underlyingClient.doRequest("POST", `${C}/login`, {}, login);
    anna.underlyingClient.impersonateUserId(anna.userId, "GHOSTLY");
    steps.set("a ghost's device", [loggedIn.user_id, loggedIn.device_id, await anna.underlyingClient.getWhoAmI()]);
    const signed = (keyId: string) => ({ key: `key of ${keyId}`, signatures: { [anna.userId]: { "ed25519:GHOSTLY": "signature" } } });
    const keys = {
      device_keys: {
        user_id: anna.userId,
        device_id: "GHOSTLY",
        algorithms: ["m.olm.v1.curve25519-aes-sha2"],
        keys: { "curve25519:GHOSTLY": "curve", "ed25519:GHOSTLY": "ed" },
        signatures: { [anna.userId]: { "ed25519:GHOSTLY": "signature" } },
      },
      one_time_keys: { "signed_curve25519:AAAAAA": signed("AAAAAA"), "signed_curve25519:AAAAAB": signed("AAAAAB") },
      fallback_keys: { "signed_curve25519:AAAAAF": { ...signed("AAAAAF"), fallback: true } },
    };
    steps.set("its keys", await anna.underlyingClient.doRequest("POST", `${C}/keys/upload`, null, keys));
    await bridged.hears("device lists", ({ changed }) => changed.includes(anna.userId));
    const message = { messages: { [anna.userId]: { GHOSTLY: { hello: "ghost" } } } };
    await alice.put(`${C}/sendToDevice/org.example.knock/one`, message);
    steps.set("to a device", await bridged.hears("ephemeral", ({ type }) => type === "org.example.knock"));
    const counts = await bridged.hears("one-time keys", (data) => data[anna.userId]?.GHOSTLY?.signed_curve25519 === 2);
    steps.set("one-time keys", counts[anna.userId].GHOSTLY);
    steps.set("fallback keys", (await bridged.hears("fallback keys", (data) => data[anna.userId]?.GHOSTLY !== undefined))[anna.userId].GHOSTLY);

    await alice.kick(harbour, `@_bridge_carl:${SERVER}`, "enough");
    steps.set("a ghost is kicked", await bridged.hears("room.leave"));
    return steps;
  }

  /** The events that came, room by room, with nothing in them that is another each time. */
  function events(heard: readonly Heard[]): Json[][] {
    const rooms = new Map<string, Json[]>();
    for (const { what, data } of heard) {
      if (what !== "event") continue;
      const { room_id: roomId, type, sender, state_key: stateKey, content, unsigned } = data;
      const keys = [Object.keys(data).sort(), Object.keys(unsigned).sort()];
      rooms.set(roomId, [...(rooms.get(roomId) ?? []), { type, sender, stateKey, content, keys }]);
    }
    return [...rooms.values()];
  }

  for (const kind of [a, b]) {
    it(`works on ${kind}, from an empty database`, async () => {
      bridge?.stop();
      await server?.kill();
      storage = new MemoryStorageProvider();
      await postgres.createDatabase(home.database);
      server = await startServer(kind, home);
      bridge = await Bridge.start(home, port, storage);
      const alice = server.client();
      const steps = await script(alice, bridge);
      told.push({ steps, heard: events(bridge.heard) });
      assert.deepEqual(bridge.bodies(), ["says the ghost", "of old", "says alice"], "each message once");
      await server.stop();
      server = undefined;
      bridge.stop();
    });
  }

  it("either server answers, refuses and tells the same", () => {
    const [one, two] = told;
    assert.ok(one !== undefined && two !== undefined, "both were asked");
    for (const [step, answer] of one.steps) assert.deepEqual(two.steps.get(step), answer, step);
    assert.deepEqual(two.heard, one.heard);
  });

  for (const [leg, before, after] of [
    [1, b, a],
    [2, a, b],
  ] as const) {
    it(`is told by ${after} what it missed while it was away and ${before} ran, each thing once, and goes on`, async () => {
      const alice = (running: RunningServer): MatrixClient => running.client(aliceToken);
      const [missed, present] = [`missed while ${before} ran in leg ${leg}`, `said to ${after} in leg ${leg}`];
      server = await startServer(before, home);
      await alice(server).send(harbour, "m.room.message", { msgtype: "m.text", body: missed }, missed);
      // Synapse sends again what it knows that it could not send.
      await waitFor("the bridge is known to be away", WAIT_MS, async () => {
        const sql = "SELECT 1 FROM application_services_txns JOIN application_services_state USING (as_id) WHERE as_id = $1 AND state = 'down'";
        return (await postgres.query(home.database, sql, [REGISTRATION.id])).length > 0 ? true : undefined;
      });
      await server.stop();
      server = await startServer(after, home);
      bridge = await Bridge.start(home, port, storage);
      // Synapse thinks of its bridges when the first event comes.
      await bridge.sdk.getIntentForSuffix("anna").sendText(harbour, `the ghost to ${after}`);
      await alice(server).send(harbour, "m.room.message", { msgtype: "m.text", body: present }, present);
      await bridge.message(present);
      assert.deepEqual(bridge.bodies(), [missed, `the ghost to ${after}`, present]);
      await server.stop();
      server = undefined;
      bridge.stop();
    });
  }
});
