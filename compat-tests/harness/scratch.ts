import { mkdirSync, mkdtempSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The folder for everything these tests make: the Synapse installation, homes of servers, logs, dumps. Never inside the repository. */
export function scratchRoot(): string {
  const root = process.env["MYELIN_COMPAT_DIR"] ?? join(tmpdir(), "myelin-compat");
  mkdirSync(root, { recursive: true, mode: 0o755 });
  return root;
}

/** A new folder of its own below the scratch root. */
export function scratchFolder(name: string): string {
  return mkdtempSync(join(scratchRoot(), `${name}-`));
}

/** A TCP port of 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (address !== null && typeof address === "object" ? resolve(address.port) : reject(new Error("no address"))));
    });
  });
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Calls `probe` until it returns something other than undefined. @throws when `ms` milliseconds have passed */
export async function waitFor<T>(what: string, ms: number, probe: () => Promise<T | undefined> | T | undefined, interval = 100): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await probe();
    if (value !== undefined) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${ms / 1000} s`);
    await sleep(interval);
  }
}

/** Runs `fn` over `items` with at most `width` under way; results in the order of the items. */
export async function inParallel<T, R>(items: readonly T[], width: number, fn: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results = Array.from<R>({ length: items.length });
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await fn(items[i]!, i);
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}
