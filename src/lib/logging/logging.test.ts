import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Clock } from "../clock.ts";
import { runInRequest } from "../request-context.ts";
import { accessLogLine, redactUri } from "./access-log.ts";
import { LogConfigError } from "./dict-config.ts";
import { formatTime } from "./formatters.ts";
import { startLogging } from "./logging.ts";

/** A clock that stands still until it is told; its timers run when it is advanced. */
function handClock(start: number): Clock & { advance(ms: number): void } {
  let now = start;
  const timers: { fn: () => void; every: number; next: number }[] = [];
  return {
    now: () => now,
    monotonic: () => now,
    after: () => assert.fail("not used"),
    sleep: () => assert.fail("not used"),
    every(ms, fn) {
      const timer = { fn, every: ms, next: now + ms };
      timers.push(timer);
      return { cancel: () => void timers.splice(timers.indexOf(timer), 1) };
    },
    advance(ms) {
      now += ms;
      for (const timer of timers) {
        for (; timer.next <= now; timer.next += timer.every) timer.fn();
      }
    },
  };
}

const NOON = new Date(2026, 10, 21, 12, 0, 0, 45).getTime();

describe("logging", () => {
  let folder: string;
  let err: string;
  let out: string;
  let clock: ReturnType<typeof handClock>;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "myelin-log-"));
    err = out = "";
    clock = handClock(NOON);
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const start = (config: unknown) =>
    startLogging(config, "test", {
      stderr: { write: (text) => void (err += text) },
      stdout: { write: (text) => void (out += text) },
      workingDirectory: folder,
      processId: 7,
      clock,
    });
  const console_ = { class: "logging.StreamHandler", formatter: "f" };
  const withFormat = (formatter: object, extra: object = {}) => ({
    version: 1,
    formatters: { f: formatter },
    handlers: { c: console_ },
    root: { level: "INFO", handlers: ["c"] },
    ...extra,
  });

  it("without a configuration writes INFO and above to stderr in Synapse's layout", () => {
    const { log } = start(undefined);
    log.named("synapse.x").debug("hidden");
    log.named("synapse.x").info("shown");
    assert.equal(err, "2026-11-21 12:00:00,045 - synapse.x - 0 - INFO - sentinel - shown\n");
  });

  it("names the request on whose behalf code runs", async () => {
    const { log } = start(withFormat({ format: "%(request)s %(method)s %(message)s" }));
    await runInRequest({ id: "GET-5", method: "GET" }, async () => {
      await Promise.resolve();
      log.info("inside");
    });
    log.info("outside");
    assert.equal(err, "GET-5 GET inside\nsentinel None outside\n");
  });

  it("pads and cuts by the conversions of %-, {- and $-style layouts", () => {
    const layouts = [
      [{ format: "%(levelname)-8s|%(process)05d|%(name).3s|%%" }, "INFO    |00007|roo|%"],
      [{ format: "{levelname:>6}|{process:04d}|{{}}", style: "{" }, "  INFO|0007|{}"],
      [{ format: "$levelname ${name} $$", style: "$" }, "INFO root $"],
      [{ format: "%(asctime)s", datefmt: "%d/%m/%y %H:%M" }, "21/11/26 12:00"],
    ] as const;
    for (const [formatter, wanted] of layouts) {
      err = "";
      start(withFormat(formatter)).log.info("m");
      assert.equal(err, `${wanted}\n`);
    }
  });

  it("finds levels by the hierarchy of names, and hands records to all ancestors' handlers", () => {
    const { log } = start(
      withFormat(
        { format: "%(name)s %(message)s" },
        {
          handlers: { c: console_, o: { class: "logging.StreamHandler", stream: "ext://sys.stdout", formatter: "f", level: "WARNING" } },
          loggers: {
            "synapse.storage": { level: "DEBUG", handlers: ["o"] },
            "synapse.alone": { handlers: ["o"], propagate: false },
            "synapse.storage.SQL": { level: "ERROR" },
          },
        },
      ),
    );
    log.named("synapse.storage.events").debug("a");
    log.named("synapse.storage.events").warn("b");
    log.named("synapse.storage.SQL").warn("c");
    log.named("synapse.alone.x").warn("d");
    log.named("synapse.storageother").debug("e");
    assert.equal(err, "synapse.storage.events a\nsynapse.storage.events b\n");
    assert.equal(out, "synapse.storage.events b\nsynapse.alone.x d\n");
    assert.equal(log.named("synapse.storage.SQL").enabled("warn"), false);
    assert.equal(log.named("synapse.storage.other").enabled("debug"), true);
  });

  it("writes JSON in Synapse's three forms", () => {
    const line = (className: string): Record<string, unknown> => {
      err = "";
      const { log } = start(withFormat({ class: className }));
      runInRequest({ id: "PUT-1", method: "PUT", ip: "1.2.3.4", url: "/x" }, () =>
        log.named("a.b").error("broken", { error: new TypeError("why"), room: "!r" }),
      );
      return JSON.parse(err) as Record<string, unknown>;
    };
    const terse = line("synapse.logging.TerseJsonFormatter");
    assert.equal(terse["time"], Math.round(NOON / 10) / 100);
    const { time: _, ...rest } = terse;
    assert.deepEqual(rest, {
      log: "broken",
      namespace: "a.b",
      level: "ERROR",
      request: "PUT-1",
      server_name: "test",
      ip_address: "1.2.3.4",
      method: "PUT",
      url: "/x",
      room: "!r",
      exc_type: "TypeError",
      exc_value: "why",
    });
    assert.deepEqual(line("synapse.logging.JsonFormatter"), rest);
    const gcp = line("synapse.logging.GcpJsonFormatter");
    assert.equal(gcp["severity"], "ERROR");
    assert.match(String(gcp["message"]), /^broken\nTypeError: why\n/);
    assert.equal(gcp["time"], new Date(NOON).toISOString());
  });

  it("buffers until the buffer is full, a warning comes, or the period is over", () => {
    const file = join(folder, "hs.log");
    const logging = start({
      version: 1,
      handlers: {
        buffer: { class: "synapse.logging.handlers.PeriodicallyFlushingMemoryHandler", target: "file", capacity: 3, flushLevel: 30, period: 5 },
        file: { class: "logging.FileHandler", filename: "hs.log" },
      },
      root: { level: "INFO", handlers: ["buffer"] },
    });
    const content = (): string[] => (readdirSync(folder).length === 0 ? [] : readFileSync(file, "utf8").trim().split("\n"));
    logging.log.info("1");
    logging.log.info("2");
    assert.deepEqual(content(), []);
    logging.log.info("3");
    assert.deepEqual(content(), ["1", "2", "3"]);
    logging.log.info("4");
    logging.log.warn("5");
    assert.deepEqual(content().slice(3), ["4", "5"]);
    logging.log.info("6");
    clock.advance(5_000);
    assert.deepEqual(content().slice(5), ["6"]);
    logging.log.info("7");
    logging.close();
    assert.deepEqual(content().slice(6), ["7"]);
  });

  it("rotates at midnight, also when the file is of yesterday, and keeps backupCount files", () => {
    const config = {
      version: 1,
      handlers: { f: { class: "logging.handlers.TimedRotatingFileHandler", filename: "hs.log", when: "midnight", backupCount: 2 } },
      root: { level: "INFO", handlers: ["f"] },
    };
    for (const day of ["2026-11-01", "2026-11-02"]) writeFileSync(join(folder, `hs.log.${day}`), "old\n");
    writeFileSync(join(folder, "hs.log"), "yesterday\n");
    utimesSync(join(folder, "hs.log"), NOON / 1000 - 86_400, NOON / 1000 - 86_400);
    const { log } = start(config);
    log.info("today");
    assert.deepEqual(readdirSync(folder).sort(), ["hs.log", "hs.log.2026-11-02", "hs.log.2026-11-20"]);
    clock.advance(86_400_000);
    log.info("tomorrow");
    assert.deepEqual(readdirSync(folder).sort(), ["hs.log", "hs.log.2026-11-20", "hs.log.2026-11-21"]);
    assert.equal(readFileSync(join(folder, "hs.log.2026-11-21"), "utf8"), "today\n");
    assert.equal(readFileSync(join(folder, "hs.log"), "utf8"), "tomorrow\n");
  });

  it("rotates by size", () => {
    const config = {
      version: 1,
      handlers: { f: { class: "logging.handlers.RotatingFileHandler", filename: "hs.log", maxBytes: 10, backupCount: 2 } },
      root: { level: "INFO", handlers: ["f"] },
    };
    const { log } = start(config);
    for (const message of ["aaaaaa", "bbbbbb", "cccccc", "dddddd"]) log.info(message);
    const read = (name: string): string => readFileSync(join(folder, name), "utf8");
    assert.deepEqual(readdirSync(folder).sort(), ["hs.log", "hs.log.1", "hs.log.2"]);
    assert.deepEqual([read("hs.log"), read("hs.log.1"), read("hs.log.2")], ["dddddd\n", "cccccc\n", "bbbbbb\n"]);
  });

  it("takes a new configuration while running, and keeps the present one when the new one is bad", () => {
    const logging = start(withFormat({ format: "%(message)s" }));
    const log = logging.log.named("synapse.x");
    log.debug("no");
    assert.throws(
      () => logging.reconfigure({ version: 1, root: { level: "LOUD" } }),
      new LogConfigError('root.level: found "LOUD", wanted a level such as INFO'),
    );
    log.info("still");
    logging.reconfigure(withFormat({ format: "2 %(message)s" }, { root: { level: "DEBUG", handlers: ["c"] } }));
    log.debug("yes");
    assert.equal(err, "still\n2 yes\n");
  });

  it("silences existing loggers that a new configuration does not name, when told to", () => {
    const logging = start(withFormat({ format: "%(message)s" }));
    const [known, named, below] = ["a", "b", "b.c"].map((name) => logging.log.named(name)) as [typeof logging.log, typeof logging.log, typeof logging.log];
    logging.reconfigure(withFormat({ format: "%(message)s" }, { loggers: { b: {} }, disable_existing_loggers: true }));
    known.info("silent");
    named.info("b");
    below.info("b.c");
    logging.log.named("new").info("new");
    assert.equal(err, "b\nb.c\nnew\n");
  });

  it("refuses what cannot work, and names what it does not know", () => {
    assert.throws(() => start({ version: 1, structured: true }), LogConfigError);
    assert.throws(() => start({ root: {} }), /^Error: version: found undefined, wanted 1$/);
    assert.throws(() => start({ version: 1, root: { handlers: ["x"] } }), /there is no handler x/);
    assert.throws(() => start({ version: 1, handlers: { a: { class: "logging.handlers.MemoryHandler", capacity: 1, target: "a" } } }), /point at each other/);
    const logging = start({ version: 1, handlers: { j: { class: "systemd.journal.JournalHandler" } }, root: { level: "INFO", handlers: ["j"] } });
    assert.deepEqual(logging.notices, ["handlers.j: systemd.journal.JournalHandler is unknown to Myelin; its messages go to stderr"]);
    logging.log.info("seen");
    assert.equal(err, "seen\n");
  });

  it("prints an exception with what caused it", () => {
    start(withFormat({ format: "%(message)s" })).log.error("failed", { error: new Error("outer", { cause: new Error("inner") }) });
    assert.match(err, /^failed\nError: outer\n[^]*\nCaused by: Error: inner\n/);
  });
});

describe("the access log", () => {
  const entry = {
    ip: "127.0.0.1",
    siteTag: "8008",
    requester: "@a:test",
    authenticatedEntity: undefined,
    processingSeconds: 0.0016,
    sendingSeconds: -0.001,
    cpuUserSeconds: 0.002,
    cpuSystemSeconds: 0,
    dbSchedulingSeconds: 0.0004,
    dbTransactionSeconds: 0.0012,
    dbTransactionCount: 3,
    bytesSent: 22,
    status: 200,
    finished: true,
    method: "GET",
    uri: "/x?access_token=secret&since=1",
    protocol: "HTTP/1.1",
    userAgent: undefined,
    dbEventCount: 4,
  };

  it("has Synapse's layout", () => {
    assert.equal(
      accessLogLine(entry),
      '127.0.0.1 - 8008 - {@a:test} Processed request: 0.002sec/-0.001sec ru=(0.002sec, 0.000sec) db=(0.000sec/0.001sec/3) 22B 200 "GET /x?access_token=<redacted>&since=1 HTTP/1.1" "-" [4 dbevts]',
    );
  });

  it("tells who was authenticated when that is another one, and that the client went away", () => {
    const line = accessLogLine({ ...entry, authenticatedEntity: "@admin:test", finished: false });
    assert.match(line, /\{@admin:test\|@a:test\}/);
    assert.match(line, / 200! "GET/);
  });

  it("hides secrets however they are spelt", () => {
    assert.equal(redactUri("/a?x=1&access%5Ftoken=s&y=2"), "/a?x=1&access%5Ftoken=<redacted>&y=2");
    assert.equal(redactUri("/a?client_secret=s"), "/a?client_secret=<redacted>");
    assert.equal(redactUri("/a?loginToken=s&token=t&from=t"), "/a?loginToken=<redacted>&token=<redacted>&from=t");
  });
});

describe("times", () => {
  it("have milliseconds after a comma", () => assert.equal(formatTime(NOON, undefined), "2026-11-21 12:00:00,045"));
});
