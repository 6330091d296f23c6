import assert from "node:assert/strict";
import { after, before, describe, it } from "mocha";
import { query } from "../../storage/database.ts";
import { purgeHistory } from "./purge.ts";
import { startTestServer, type TestServer, type TestUser } from "../../testing/server.ts";

const C = "/_matrix/client/v3";
const id = encodeURIComponent;

interface Page {
  readonly results: readonly { result: { event_id: string } }[];
  readonly next_batch?: string;
}

describe("search beyond languages with spaces", () => {
  let server: TestServer;
  let alice: TestUser;
  let bob: TestUser;
  let roomId: string;

  before(async function () {
    this.timeout(60_000);
    server = await startTestServer({ config: { myelin: { search: { unspaced_languages: true } } } });
    [alice, bob] = [await server.register("alice"), await server.register("bob")];
    roomId = (await server.as(alice).post(`${C}/createRoom`, { preset: "public_chat" }).expect(200)).body.room_id;
  });
  after(() => server.close());

  const send = (body: string): Promise<string> => server.as(alice).send(roomId, body);
  const index = (): Promise<void> => server.server.jobs.runOnce("index_unspaced_messages");
  const find = async (term: string, more: object = {}, user = alice): Promise<{ ids: string[]; count: number; highlights: string[] }> => {
    const { body } = await server
      .as(user)
      .post(`${C}/search`, { search_categories: { room_events: { search_term: term, ...more } } })
      .expect(200);
    const found = body.search_categories.room_events;
    return { ids: found.results.map(({ result }: { result: { event_id: string } }) => result.event_id), count: found.count, highlights: found.highlights };
  };

  it("finds words within Chinese, Japanese, Korean and Thai text, what was there before the index and what comes after", async () => {
    const texts = ["我明天去北京开会", "東京都に住んでいます", "회의는 내일 아침에 시작합니다", "พรุ่งนี้มีประชุมที่กรุงเทพ"];
    const terms = ["北京", "東京", "아침", "ประชุม"];
    const old = [await send(texts[0]!), await send(texts[1]!)];
    await index();
    const later = [await send(texts[2]!), await send(texts[3]!)];
    await index();
    for (const [n, eventId] of [...old, ...later].entries()) {
      const found = await find(terms[n]!);
      assert.deepEqual(found, { ids: [eventId], count: 1, highlights: [terms[n]!] }, terms[n]);
    }
  });

  it("takes several words, phrases, exclusions, single characters, other widths and other cases", async () => {
    const [both, one] = [await send("新しいＡＢＣ計画とｶﾒﾗ"), await send("古い計画")];
    await index();
    assert.deepEqual((await find("計画", { order_by: "recent" })).ids, [one, both]);
    assert.deepEqual((await find("計画 カメラ")).ids, [both]);
    assert.deepEqual((await find('"abc計画"')).ids, [both]);
    assert.deepEqual((await find("計画 -カメラ")).ids, [one]);
    assert.deepEqual((await find("古")).ids, [one]);
    assert.deepEqual((await find("画計")).ids, []);
    assert.deepEqual((await find("計%画")).ids, []);
  });

  it("shows an event once that both indexes find, and pages through all by time", async () => {
    const whole = await send("猫が好き");
    await index();
    assert.deepEqual(await find("猫が好き"), { ids: [whole], count: 1, highlights: ["猫が好き"] });
    const cats = [whole];
    for (let n = 0; n < 5; n++) cats.push(await send(`猫の話 ${n}`));
    await index();
    const seen: string[] = [];
    let batch: string | undefined = "";
    while (batch !== undefined) {
      const answer: { body: { search_categories: { room_events: Page } } } = await server
        .as(alice)
        .post(`${C}/search${batch === "" ? "" : `?next_batch=${batch}`}`, {
          search_categories: { room_events: { search_term: "猫", order_by: "recent", filter: { limit: 2 } } },
        })
        .expect(200);
      const page: Page = answer.body.search_categories.room_events;
      seen.push(...page.results.map(({ result }) => result.event_id));
      batch = page.next_batch;
    }
    assert.deepEqual(seen, cats.toReversed());
  });

  it("shows nobody what they may not see", async () => {
    assert.deepEqual((await find("北京", {}, bob)).ids, []);
  });

  it("forgets what is redacted or purged", async () => {
    const [secret, purged] = [await send("秘密の言葉"), await send("消える言葉")];
    await index();
    assert.equal((await find("言葉")).count, 2);
    await server
      .as(alice)
      .put(`${C}/rooms/${id(roomId)}/redact/${id(secret)}/r1`, {})
      .expect(200);
    await index();
    assert.deepEqual((await find("言葉")).ids, [purged]);
    const rows = (): Promise<object[]> =>
      query(server.ctx.read, "SELECT event_id FROM myelin_search.message_search WHERE event_id = ANY($1)", [[secret, purged]]);
    assert.equal((await rows()).length, 1);
    const newest = (await server.ctx.events.one(await send("newest")))!;
    await purgeHistory(server.ctx, roomId, newest.depth, true);
    await server.server.jobs.runOnce("clean_message_index");
    assert.equal((await rows()).length, 0);
  });

  it("goes on finding words of languages with spaces, and nothing of it is in Synapse's tables", async () => {
    const eventId = await send("Reading newspapers");
    await index();
    assert.deepEqual((await find("newspaper")).ids, [eventId]);
    const ours = await query<{ s: string }>(
      server.ctx.read,
      "SELECT DISTINCT table_schema AS s FROM information_schema.tables WHERE table_name LIKE 'message_search%'",
    );
    assert.deepEqual(ours, [{ s: "myelin_search" }]);
  });

  it("makes no table where the option is off", async function () {
    this.timeout(30_000);
    const plain = await startTestServer();
    try {
      assert.deepEqual(await query(plain.ctx.read, "SELECT 1 FROM information_schema.schemata WHERE schema_name = 'myelin_search'"), []);
    } finally {
      await plain.close();
    }
  });
});
