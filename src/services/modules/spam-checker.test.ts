import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "mocha";
import { testModule } from "../../testing/modules.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";
import type { SpamCheckerCallbacks } from "./callbacks/spam-checker.ts";

const V3 = "/_matrix/client/v3";
type Names = keyof SpamCheckerCallbacks;

describe("spam checker modules", () => {
  let server: TestServer;
  let alice: TestUser;
  let admin: TestUser;
  let roomId: string;
  /** What the module answers now; nothing: it lets pass. */
  let answers: Partial<Record<Names, unknown>> = {};
  let asked: [Names, unknown[]][] = [];

  before(async function () {
    this.timeout(20_000);
    const module = testModule((_config, api) => {
      const answer =
        (name: Names, fallback: unknown) =>
        (...args: unknown[]) => {
          asked.push([name, args]);
          const value = answers[name] ?? fallback;
          if (value instanceof Error) throw value;
          return Promise.resolve(value);
        };
      api.register_spam_checker_callbacks({
        check_event_for_spam: answer("check_event_for_spam", api.NOT_SPAM),
        user_may_join_room: answer("user_may_join_room", api.NOT_SPAM),
        user_may_invite: answer("user_may_invite", api.NOT_SPAM),
        user_may_create_room: answer("user_may_create_room", api.NOT_SPAM),
        user_may_create_room_alias: answer("user_may_create_room_alias", api.NOT_SPAM),
        user_may_publish_room: answer("user_may_publish_room", api.NOT_SPAM),
        user_may_send_state_event: answer("user_may_send_state_event", api.NOT_SPAM),
        check_username_for_spam: answer("check_username_for_spam", false),
        check_registration_for_spam: answer("check_registration_for_spam", "allow"),
        check_media_file_for_spam: answer("check_media_file_for_spam", api.NOT_SPAM),
        check_login_for_spam: answer("check_login_for_spam", api.NOT_SPAM),
      } as SpamCheckerCallbacks);
    });
    server = await startTestServer({
      config: { modules: [{ module, config: {} }], user_directory: { search_all_users: true }, room_list_publication_rules: [{ action: "allow" }] },
    });
    [alice, admin] = await Promise.all([server.register("alice"), server.register("admin", { admin: true })]);
    await server.register("bob");
    roomId = (await server.as(alice).post(`${V3}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id as string;
  });
  after(() => server?.close());
  beforeEach(() => {
    answers = {};
    asked = [];
  });

  let txn = 0;
  const send = (content: object) => server.as(alice).put(`${V3}/rooms/${roomId}/send/m.room.message/${txn++}`, content);
  const message = { msgtype: "m.text", body: "hello" };

  describe("judge events", () => {
    for (const [what, answer, body] of [
      ["an error code", "M_FORBIDDEN", { errcode: "M_FORBIDDEN", error: "This message has been rejected as probable spam" }],
      ["another code", "M_LIMIT_EXCEEDED", { errcode: "M_LIMIT_EXCEEDED", error: "This message has been rejected as probable spam" }],
      [
        "a code with fields",
        ["M_FORBIDDEN", { "org.test": 1 }],
        { errcode: "M_FORBIDDEN", error: "This message has been rejected as probable spam", "org.test": 1 },
      ],
      ["true, the old form", true, { errcode: "M_FORBIDDEN", error: "This message has been rejected as probable spam" }],
      ["a text, the old form", "no such words here", { errcode: "M_FORBIDDEN", error: "no such words here" }],
      ["nonsense", 7, { errcode: "M_FORBIDDEN", error: "This message has been rejected as probable spam" }],
    ] as const) {
      it(`by ${what}`, async () => {
        answers = { check_event_for_spam: answer };
        assert.deepEqual((await send(message).expect(403)).body, body);
      });
    }

    it("and let pass with NOT_SPAM and with false", async () => {
      for (const answer of ["NOT_SPAM", false]) {
        answers = { check_event_for_spam: answer };
        await send(message).expect(200);
      }
      const [event] = asked[0]![1] as [{ type: string; content: unknown; room_id: string; sender: string }];
      assert.deepEqual([event.type, event.content, event.room_id, event.sender], ["m.room.message", message, roomId, alice.userId]);
    });

    it("and refuse what they fail at", async () => {
      answers = { check_event_for_spam: new Error("broken") };
      await send(message).expect(500);
      answers = { check_event_for_spam: Object.assign(new Error("not so fast"), { status: 429, errcode: "M_LIMIT_EXCEEDED" }) };
      assert.equal((await send(message).expect(429)).body.error, "not so fast");
    });

    it("but not memberships, nor the first events of a room", async () => {
      answers = { check_event_for_spam: "M_FORBIDDEN" };
      await server.as(alice).post(`${V3}/createRoom`, { name: "Room" }).expect(200);
      await server.as(alice).put(`${V3}/rooms/${roomId}/state/m.room.topic/`, { topic: "spam" }).expect(403);
    });
  });

  const refusals: readonly [Names, string, () => Promise<{ status: number; body: unknown }>][] = [
    ["user_may_create_room", "You are not permitted to create rooms", async () => await server.as(alice).post(`${V3}/createRoom`, { name: "Spam" })],
    ["user_may_join_room", "Not allowed to join this room", async () => await server.as(await server.register(`joiner${txn++}`)).post(`${V3}/join/${roomId}`)],
    [
      "user_may_invite",
      "Invites have been disabled on this server",
      async () => await server.as(alice).post(`${V3}/rooms/${roomId}/invite`, { user_id: "@bob:test" }),
    ],
    [
      "user_may_create_room_alias",
      "This user is not permitted to create this alias",
      async () => await server.as(alice).put(`${V3}/directory/room/%23spam%3Atest`, { room_id: roomId }),
    ],
    [
      "user_may_publish_room",
      "This user is not permitted to publish rooms to the room list",
      async () => await server.as(alice).put(`${V3}/directory/list/room/${roomId}`, { visibility: "public" }),
    ],
    [
      "user_may_send_state_event",
      "You are not permitted to send the state event",
      async () => await server.as(alice).put(`${V3}/rooms/${roomId}/state/m.room.topic/`, { topic: "spam" }),
    ],
    [
      "check_login_for_spam",
      "Login was blocked by the server",
      async () =>
        await server.anonymous.post(`${V3}/login`, {
          type: "m.login.password",
          identifier: { type: "m.id.user", user: "alice" },
          password: "correct horse battery staple",
        }),
    ],
  ];
  for (const [name, error, request] of refusals) {
    it(`${name} refuses with the code and fields that it chose, and lets pass otherwise`, async () => {
      answers = { [name]: ["M_CONSENT_NOT_GIVEN", { consent_uri: "https://test/" }] };
      const refused = await request();
      assert.deepEqual([refused.status, refused.body], [403, { errcode: "M_CONSENT_NOT_GIVEN", error, consent_uri: "https://test/" }]);
      answers = { [name]: { nonsense: true } };
      assert.deepEqual((await request()).body, { errcode: "M_FORBIDDEN", error });
      answers = {};
      assert.equal((await request()).status, 200);
    });
  }

  it("do not ask about what server admins do", async () => {
    answers = {
      user_may_create_room: "M_FORBIDDEN",
      user_may_join_room: "M_FORBIDDEN",
      user_may_invite: "M_FORBIDDEN",
      user_may_send_state_event: "M_FORBIDDEN",
    };
    const made = (
      await server
        .as(admin)
        .post(`${V3}/createRoom`, { invite: ["@bob:test"] })
        .expect(200)
    ).body.room_id as string;
    await server.as(admin).put(`${V3}/rooms/${made}/state/m.room.topic/`, { topic: "fine" }).expect(200);
    await server.as(admin).post(`${V3}/join/${roomId}`).expect(200);
  });

  it("refuse upgrades of rooms with what the new room would be", async () => {
    answers = { user_may_create_room: "M_FORBIDDEN" };
    await server.as(alice).post(`${V3}/rooms/${roomId}/upgrade`, { new_version: "10" }).expect(403);
    const [, [userId, config]] = asked.find(([name]) => name === "user_may_create_room")!;
    assert.equal(userId, alice.userId);
    assert.equal(((config as Record<string, Record<string, unknown>>)["creation_content"]!["predecessor"] as Record<string, unknown>)["room_id"], roomId);
  });

  it("hide users from searches", async () => {
    const search = async (): Promise<string[]> =>
      (
        (await server.as(alice).post(`${V3}/user_directory/search`, { search_term: "bob" }).expect(200)).body.results as {
          user_id: string;
        }[]
      ).map(({ user_id: userId }) => userId);
    assert.deepEqual(await search(), ["@bob:test"]);
    answers = { check_username_for_spam: true };
    assert.deepEqual(await search(), []);
    assert.deepEqual(asked.at(-1), ["check_username_for_spam", [{ user_id: "@bob:test", display_name: "bob", avatar_url: null }, alice.userId]]);
  });

  it("deny registrations, and shadow-ban them", async () => {
    const register = (username: string) => server.anonymous.post(`${V3}/register`, { username, password: "a good password", auth: { type: "m.login.dummy" } });
    answers = { check_registration_for_spam: "deny" };
    assert.equal((await register("carol").expect(429)).body.error, "Rate limited");
    answers = { check_registration_for_spam: "shadow_ban" };
    await register("carol").expect(200);
    assert.equal((await server.ctx.accounts.user("@carol:test"))?.shadowBanned, true);
    const [, [threepid, username, requests]] = asked.at(-1)!;
    assert.deepEqual([threepid, username], [undefined, "carol"]);
    assert.equal((requests as unknown[]).length, 1);
  });

  it("refuse media before it is stored", async () => {
    const upload = () => server.as(alice).request("post", "/_matrix/media/v3/upload").set("Content-Type", "text/plain").send("Hello World");
    answers = { check_media_file_for_spam: "M_BAD_MEDIA" };
    assert.deepEqual((await upload().expect(400)).body, { errcode: "M_UNKNOWN", error: "Bad content" });
    answers = { check_media_file_for_spam: true };
    await upload().expect(400);
    answers = { check_media_file_for_spam: false };
    await upload().expect(200);
  });
});
