import assert from "node:assert/strict";
import { Agent } from "node:http";
import { after, before, describe, it } from "mocha";
import { isJsonObject, type Json, type JsonObject } from "../lib/json.ts";
import { BODIES, type Material } from "../testing/fuzz/bodies.ts";
import { Dice } from "../testing/fuzz/dice.ts";
import { type Answer, send, watchQueries } from "../testing/fuzz/fuzz.ts";
import { Pool } from "../testing/fuzz/pool.ts";
import { fillPath } from "../testing/fuzz/requests.ts";
import { makeWorld, type Role, TEST_PASSWORD, type World } from "../testing/fuzz/world.ts";
import type { Endpoint } from "./http/endpoint.ts";
import { routes } from "./routes.ts";

const LANES = 8;
const PATIENCE_MS = 60_000;
/** They would end the sessions of those who ask, take rights from them, or wait for something to happen. */
const HARMFUL =
  /^(?:Logout|LogoutAll|DeactivateAccount|DeleteDevices|Device|Password|UserAdmin|ResetPassword|UserRestServletV2|SuspendAccount|ShadowBan|RoomRest|UserReplaceMaster|UserTokenRest|Sync|Events|EventStream|SlidingSync|MSC4108|MSC4388)\w*/;
const METHODS = ["GET", "POST", "PUT", "DELETE"];

/** What everybody may send to every route, made from the list of routes: each test asks all of them. */
describe("every route", function () {
  this.timeout(300_000);
  let world: World;
  let endpoints: readonly Endpoint[];
  let base: URL;
  let queries: ReturnType<typeof watchQueries>;
  const agent = new Agent({ keepAlive: true, maxSockets: LANES });
  const dice = new Dice(1);
  const pool = new Pool(dice);

  before(async () => {
    queries = watchQueries();
    world = await makeWorld(dice, pool);
    await world.repair();
    base = new URL(world.server.url);
    endpoints = routes.filter(({ when }) => when?.(world.server.ctx.config) ?? true);
  });
  after(async () => {
    agent.destroy();
    queries?.stop();
    await world?.close();
  });

  const material = (role: Role): Material => {
    const { userId, deviceId } = world.person(role);
    return { dice, pool, password: TEST_PASSWORD, peer: world.peer.name, userId, deviceId };
  };
  const pathOf = (endpoint: Endpoint, role: Role): string => fillPath(endpoint.paths[0]!, material(role), false);

  async function ask(method: string, url: string, role: Role, body?: Json | Buffer): Promise<Answer> {
    const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
    const headers: Record<string, string> = bytes === undefined ? {} : { "Content-Type": "application/json" };
    if (role !== "nobody") headers["Authorization"] = `Bearer ${world.person(role).accessToken}`;
    const request = { method, url, headers, body: bytes, role, endpoint: endpoints[0]!, spoilt: undefined, roomId: undefined };
    const answer = await send(agent, base, request, PATIENCE_MS);
    assert.ok(answer !== undefined, `${method} ${url}: no answer`);
    return answer;
  }

  /** Asks them all, a few at a time. @throws AssertionError with the wrong answers, one line each */
  async function noneWrong<T>(items: readonly T[], wrong: (item: T) => Promise<string | undefined>): Promise<void> {
    const found: string[] = [];
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < items.length) {
        const fault = await wrong(items[next++]!);
        if (fault !== undefined) found.push(fault);
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    assert.equal(found.sort().slice(0, 30).join("\n"), "");
  }

  const told = (answer: Answer): string => {
    try {
      const body = JSON.parse(answer.text) as Json;
      return `${answer.status} ${isJsonObject(body) ? String(body["errcode"]) : typeof body}`;
    } catch {
      return String(answer.status);
    }
  };
  /** The line about an answer that is not the one that is expected. */
  const unless = (expected: string, { servlet }: Endpoint, method: string, url: string, answer: Answer): string | undefined =>
    told(answer) === expected ? undefined : `${servlet} ${method} ${url}: ${told(answer)}`;

  it("is unknown under a path with anything before, behind or within it (advisories 10 and 11)", async () => {
    const known = routes.flatMap(({ paths }) => paths).map(patternOf);
    const spoilt = endpoints.flatMap((endpoint) => {
      const path = pathOf(endpoint, "user");
      const slashes = [...path.matchAll(/\//g)].map(({ index }) => index);
      const within = slashes.flatMap((at) =>
        (at === 0 ? ["/", "/.", "/.."] : ["/", "/.", "/..", "/%2e", "%2f"]).map((junk) => `${path.slice(0, at)}${junk}${path.slice(at)}`),
      );
      return [`${path}/junk`, `${path}junk`, `${path}/`, `${path};a=b`, `/junk${path}`, path.toUpperCase(), ...within]
        .filter((each) => !known.some((pattern) => pattern.test(each)))
        .map((url) => ({ endpoint, url }));
    });
    assert.ok(spoilt.length > endpoints.length * 10);
    // What is asked of the router in all forms is asked over the network in a few.
    const sample = spoilt.filter((_, index) => index % 13 === 0);
    await noneWrong(sample, async ({ endpoint, url }) => {
      const method = endpoint.methods[0]!;
      return unless("404 M_UNRECOGNIZED", endpoint, method, url, await ask(method, url, "admin"));
    });
  });

  it("refuses other methods than its own", async () => {
    const methodsAt = (path: string): Set<string> =>
      new Set(routes.filter(({ paths }) => paths.some((each) => patternOf(each).test(path))).flatMap(({ methods }) => methods));
    const wrong = endpoints.flatMap((endpoint) => {
      const url = pathOf(endpoint, "user");
      const right = methodsAt(url);
      return [...METHODS, "PATCH"].filter((method) => !right.has(method)).map((method) => ({ endpoint, url, method }));
    });
    await noneWrong(wrong, async ({ endpoint, url, method }) => unless("405 M_UNRECOGNIZED", endpoint, method, url, await ask(method, url, "admin")));
  });

  const REFUSED: readonly { role: Role; who: string; auth: readonly Endpoint["auth"][]; answer: string }[] = [
    { role: "nobody", who: "those without a token", auth: ["user", "guest", "admin", "mas"], answer: "401 M_MISSING_TOKEN" },
    { role: "foreign", who: "tokens of nobody", auth: ["user", "guest", "admin", "optional"], answer: "401 M_UNKNOWN_TOKEN" },
    { role: "deactivated", who: "the tokens of a closed account", auth: ["user", "guest", "admin", "optional"], answer: "401 M_UNKNOWN_TOKEN" },
    { role: "locked", who: "locked users", auth: ["user", "guest", "admin", "optional"], answer: "401 M_USER_LOCKED" },
    { role: "guest", who: "guests", auth: ["user", "admin"], answer: "403 M_GUEST_ACCESS_FORBIDDEN" },
    { role: "user", who: "users who are no admins", auth: ["admin"], answer: "403 M_FORBIDDEN" },
    { role: "appservice", who: "application services that are no admins", auth: ["admin"], answer: "403 M_FORBIDDEN" },
  ];
  for (const { role, who, auth, answer } of REFUSED) {
    it(`refuses ${who}, where it is not for them`, async () => {
      const asked = endpoints.filter((endpoint) => auth.includes(endpoint.auth) && !(role === "locked" && endpoint.allowLocked));
      assert.ok(asked.length > 20);
      await noneWrong(asked, async (endpoint) => {
        const url = pathOf(endpoint, role);
        // Those who are refused are refused before anything of what they sent is looked at.
        const body = endpoint.bodyType === "none" ? undefined : Buffer.from("{nope");
        return unless(answer, endpoint, endpoint.methods[0]!, url, await ask(endpoint.methods[0]!, url, role, body));
      });
    });
  }

  it("lets suspended users read, and show nothing new to others", async () => {
    const room = encodeURIComponent(pool.all("room_id")[0]!);
    const own = encodeURIComponent(world.person("suspended").userId);
    const [C, refused] = ["/_matrix/client/v3", "403 M_USER_SUSPENDED"];
    const expected: readonly (readonly [method: string, path: string, body: Json | undefined, answer: string])[] = [
      ["PUT", `${C}/profile/${own}/displayname`, { displayname: "x" }, refused],
      ["DELETE", `${C}/profile/${own}/displayname`, undefined, refused],
      ["POST", `${C}/createRoom`, {}, refused],
      ["POST", `${C}/join/${room}`, {}, refused],
      ["POST", `${C}/rooms/${room}/join`, {}, refused],
      ["POST", `${C}/knock/${room}`, {}, refused],
      ["POST", `${C}/rooms/${room}/invite`, { user_id: world.person("user").userId }, refused],
      ["PUT", `${C}/rooms/${room}/send/m.room.message/a`, { msgtype: "m.text", body: "x" }, refused],
      ["PUT", `${C}/rooms/${room}/state/m.room.topic`, { topic: "x" }, refused],
      ["GET", `${C}/account/whoami`, undefined, "200 undefined"],
      ["GET", `${C}/sync?timeout=0`, undefined, "200 undefined"],
      ["PUT", `${C}/user/${own}/account_data/org.example.x`, {}, "200 undefined"],
    ];
    for (const [method, path, body, answer] of expected) assert.equal(told(await ask(method, path, "suspended", body)), answer, `${method} ${path}`);
  });

  it("refuses application services in the name of users who are not theirs", async () => {
    const theirs = endpoints.filter(({ auth }) => auth === "user" || auth === "guest" || auth === "optional");
    await noneWrong(theirs, async (endpoint) => {
      const url = `${pathOf(endpoint, "appservice")}?user_id=${encodeURIComponent(world.person("user").userId)}`;
      return unless("403 M_FORBIDDEN", endpoint, endpoint.methods[0]!, url, await ask(endpoint.methods[0]!, url, "appservice", {}));
    });
  });

  it("refuses what other servers ask, without their signature", async () => {
    const federation = endpoints.filter(({ auth }) => auth === "federation");
    assert.ok(federation.length > 20);
    await noneWrong(federation, async (endpoint) => {
      const url = pathOf(endpoint, "user");
      return unless("401 M_UNAUTHORIZED", endpoint, endpoint.methods[0]!, url, await ask(endpoint.methods[0]!, url, "nobody", {}));
    });
  });

  const takingJson = (): Endpoint[] =>
    endpoints.filter(({ bodyType, auth, servlet }) => bodyType === "json" && auth !== "federation" && auth !== "mas" && !HARMFUL.test(servlet));
  const whoFor = (endpoint: Endpoint): Role => (endpoint.auth === "admin" ? "admin" : "user");

  it("takes no bodies but JSON objects, where it takes any", async () => {
    const bodies = ["{nope", "[]", "null", '"text"', "1", '{"a":NaN}', "\ufeff{}", "[".repeat(3000) + "]".repeat(3000)];
    const asked = takingJson().flatMap((endpoint) => bodies.map((body) => ({ endpoint, body })));
    await noneWrong(asked, async ({ endpoint, body }) => {
      const method = endpoint.methods[0]!;
      const url = pathOf(endpoint, whoFor(endpoint));
      const answer = await ask(method, url, whoFor(endpoint), Buffer.from(body));
      return /^400 M_(?:NOT_JSON|BAD_JSON)$/.test(told(answer)) ? undefined : `${endpoint.servlet} ${method} ${url} ${body.slice(0, 20)}: ${told(answer)}`;
    });
  });

  it("survives values of the wrong type in each field of its body", async () => {
    const wrong: readonly Json[] = [null, true, -1, 1.5, "", "\u0000", [], [[]], {}, { a: null }];
    const asked = takingJson().flatMap((endpoint) => {
      const sample: JsonObject = BODIES[endpoint.servlet]?.(material(whoFor(endpoint))) ?? {};
      return Object.keys(sample).flatMap((name, field) =>
        // Every field gets half of them, its neighbour the other half.
        wrong.filter((_, index) => index % 2 === field % 2).map((value) => ({ endpoint, body: { ...sample, [name]: value } })),
      );
    });
    assert.ok(asked.length > 500);
    await noneWrong(asked, async ({ endpoint, body }) => {
      const method = endpoint.methods[0]!;
      const url = pathOf(endpoint, whoFor(endpoint));
      const answer = await ask(method, url, whoFor(endpoint), body);
      const others = answer.status === 502 || answer.status === 504;
      return answer.status < 500 || others ? undefined : `${endpoint.servlet} ${method} ${url} ${JSON.stringify(body)}: ${told(answer)}`;
    });
  });

  it("survives absurd paging, and other parameters of no sense", async () => {
    const wrong = ["", "-1", "99999999999999999999", "9223372036854775807", "\u0000", "s-1_-1_-1", "t99999999999999999999-1_0"];
    const reading = endpoints.filter(({ methods, auth, servlet }) => methods.includes("GET") && auth !== "federation" && !HARMFUL.test(servlet));
    // Asked once, each tells which parameters it looks at.
    await noneWrong(reading, async (endpoint) => void (await ask("GET", pathOf(endpoint, whoFor(endpoint)), whoFor(endpoint))));
    const asked = reading.flatMap((endpoint) =>
      [...(queries.names.get(endpoint.servlet) ?? [])]
        .filter((name) => !/user_id|device_id/.test(name))
        .flatMap((name) => wrong.map((value) => ({ endpoint, query: `${name}=${encodeURIComponent(value)}` }))),
    );
    assert.ok(asked.length > 500);
    await noneWrong(asked, async ({ endpoint, query }) => {
      const url = `${pathOf(endpoint, whoFor(endpoint))}?${query}`;
      const answer = await ask("GET", url, whoFor(endpoint));
      const others = answer.status === 502 || answer.status === 504;
      return answer.status < 500 || others ? undefined : `${endpoint.servlet} ${url}: ${told(answer)}`;
    });
  });

  it("fails at none of all that", () =>
    assert.deepEqual(
      world.errors.filter(({ message }) => message === "Failed handle request"),
      [],
    ));

  it("says what is wrong by Synapse's codes", async () => {
    const other = encodeURIComponent(world.person("other").userId);
    const room = encodeURIComponent(pool.all("room_id")[0]!);
    const C = "/_matrix/client/v3";
    const expected: readonly (readonly [method: string, path: string, body: Json | undefined, answer: string])[] = [
      ["PUT", `${C}/presence/nobody/status`, { presence: "online" }, "400 M_INVALID_PARAM"],
      ["PUT", `${C}/presence/${other}/status`, { presence: "online" }, "403 M_FORBIDDEN"],
      ["POST", `${C}/user/nobody/filter`, {}, "400 M_INVALID_PARAM"],
      ["POST", `${C}/user/${other}/filter`, {}, "403 M_FORBIDDEN"],
      ["GET", `${C}/user/nobody/filter/0`, undefined, "400 M_INVALID_PARAM"],
      ["PUT", `${C}/rooms/${room}/typing/nobody`, { typing: true }, "400 M_INVALID_PARAM"],
      ["PUT", `${C}/rooms/${room}/typing/${other}`, { typing: true }, "400 M_FORBIDDEN"],
      ["POST", `${C}/account/3pid/unbind`, { address: "a@example.org" }, "400 M_MISSING_PARAM"],
      ["POST", `${C}/account/3pid/unbind`, { address: "a@example.org", medium: "pigeon" }, "400 M_BAD_JSON"],
      [
        "PUT",
        "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device",
        { device_data: { algorithm: "x" }, initial_device_display_name: null },
        "400 M_MISSING_PARAM",
      ],
      ["POST", "/_matrix/key/v2/query", {}, "400 M_MISSING_PARAM"],
      ["POST", "/_matrix/key/v2/query", { server_keys: { "a.example": { "ed25519:a": { minimum_valid_until_ts: "soon" } } } }, "400 M_BAD_JSON"],
      // Requests that need to say nothing may say anything.
      ["DELETE", `${C}/user/${encodeURIComponent(world.person("user").userId)}/rooms/${room}/tags/u.none`, "{nope", "200 undefined"],
      ["POST", `${C}/logout`, "text", "200 undefined"],
    ];
    for (const [method, path, body, answer] of expected)
      assert.equal(told(await ask(method, path, path.endsWith("/logout") ? "other" : "user", body)), answer, `${method} ${path}`);
  });
});

/** What a path of the list matches, said in another way than the router does. */
function patternOf(path: string): RegExp {
  const pattern = path
    .replace(/:\w+=([^/|]+)\/\*$/, "$1/*rest")
    .split("/")
    .map((segment) => {
      if (segment.startsWith("*")) return ".*";
      const fixed = /^:\w+=(.*)$/.exec(segment)?.[1];
      if (fixed !== undefined) return `(?:${fixed})`;
      return segment.startsWith(":") ? "(?!\\.\\.?(?:/|$))[^/]+" : segment.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
    })
    .join("/");
  return new RegExp(`^${pattern}$`);
}
