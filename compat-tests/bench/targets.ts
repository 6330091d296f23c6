import { MatrixClient, MatrixFailure } from "../harness/client.ts";
import type { Home } from "../harness/home.ts";
import { PostgresCpu } from "../harness/postgres.ts";
import { processOfPort, treeCpuSeconds, treeRssBytes } from "../harness/processes.ts";
import { inParallel, sleep } from "../harness/scratch.ts";
import type { RunningServer } from "../harness/server.ts";

/** A server under measurement. */
export interface Target {
  readonly label: string;
  readonly baseUrl: string;
  /** Process of the server when it is on this machine; undefined otherwise, and then there are no CPU columns. */
  readonly pid: number | undefined;
  readonly postgres: PostgresCpu | undefined;
  readonly sharedSecret: string | undefined;
  /** Where other servers can reach it. */
  readonly serverName: string | undefined;
  users: MatrixClient[];
}

export function targetOfServer(server: RunningServer, users: MatrixClient[] = []): Target {
  return {
    label: server.kind,
    baseUrl: server.baseUrl,
    pid: server.pid,
    postgres: postgresOf(server.home),
    sharedSecret: server.home.sharedSecret,
    serverName: server.home.serverName,
    users,
  };
}

function postgresOf(home: Home): PostgresCpu {
  return new PostgresCpu(home.postgres, home.database);
}

export function targetOfUrl(url: string, sharedSecret: string | undefined): Target {
  const { hostname, port, protocol } = new URL(url);
  const local = ["127.0.0.1", "localhost", "[::1]"].includes(hostname);
  const pid = local ? processOfPort(Number(port || (protocol === "https:" ? 443 : 80))) : undefined;
  return { label: url, baseUrl: url.replace(/\/$/, ""), pid, postgres: undefined, sharedSecret, serverName: undefined, users: [] };
}

/** Makes `count` users, by open registration or by the shared secret. */
export async function makeUsers(target: Target, count: number): Promise<void> {
  const run = Math.floor(performance.timeOrigin).toString(36);
  let open = true;
  target.users = await inParallel(Array.from({ length: count }), 6, async (_, index) => {
    const client = new MatrixClient(target.baseUrl);
    const name = `bench_${run}_${index}`;
    if (open) {
      try {
        await client.register(name, "bench password");
        return client;
      } catch (error) {
        if (!(error instanceof MatrixFailure) || target.sharedSecret === undefined) throw error;
        open = false;
      }
    }
    await client.registerAdmin(target.sharedSecret!, name, "bench password", false);
    return client;
  });
}

/** What one round of a scenario gave. */
export interface Round {
  operations: number;
  seconds: number;
  latencies: number[];
  /** CPU seconds of the server's processes, of its Postgres connections, of Postgres's shared processes. */
  cpu: { server: number; postgres: number; shared: number } | undefined;
}

/** Looks at whether a server is at rest, so far apart; it is when it used so much CPU at most between each of so many. */
const LOOK_MS = 100;
const QUIET_SECONDS = 0.01;
const QUIET_LOOKS = 2;
const REST_WITHIN_MS = 10_000;

/** Resolves when the server is done with what it was asked for and what followed from that; after 10 seconds at the latest. */
export async function atRest({ pid, postgres }: Target): Promise<void> {
  if (pid === undefined) return sleep(LOOK_MS * QUIET_LOOKS);
  const end = performance.now() + REST_WITHIN_MS;
  let cpu = treeCpuSeconds(pid);
  for (let quiet = 0; quiet < QUIET_LOOKS && performance.now() < end;) {
    await sleep(LOOK_MS);
    const now = treeCpuSeconds(pid);
    quiet = now - cpu <= QUIET_SECONDS + Number.EPSILON && (await postgres?.isIdle()) !== false ? quiet + 1 : 0;
    cpu = now;
  }
}

/**
 * Runs `fn`, which calls its argument with each operation's milliseconds, and notes what it cost: CPU until the server is at rest again, so that
 * what it puts off is counted.
 */
export async function measure(target: Target, fn: (done: (ms: number) => void) => Promise<void>): Promise<Round> {
  const latencies: number[] = [];
  await target.postgres?.reset();
  const cpu = target.pid === undefined ? 0 : treeCpuSeconds(target.pid);
  const begun = performance.now();
  await fn((ms) => latencies.push(ms));
  const seconds = (performance.now() - begun) / 1000;
  await atRest(target);
  const postgres = await target.postgres?.take();
  return {
    operations: latencies.length,
    seconds,
    latencies,
    cpu: target.pid === undefined ? undefined : { server: treeCpuSeconds(target.pid) - cpu, postgres: postgres?.backends ?? 0, shared: postgres?.shared ?? 0 },
  };
}

export async function timed<T>(done: (ms: number) => void, fn: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  const result = await fn();
  done(performance.now() - begun);
  return result;
}

export function rss(target: Target): number | undefined {
  return target.pid === undefined ? undefined : treeRssBytes(target.pid);
}
