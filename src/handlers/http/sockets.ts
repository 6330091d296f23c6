import { chmodSync, existsSync, readFileSync, unlinkSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import type { Listener } from "../../config/listeners.ts";
import type { Clock } from "../../lib/clock.ts";

/** How long a request under way may take after the stop of the server began. */
const DRAIN_MS = 4_000;
/** Slow senders of headers and bodies are cut off. */
const HEADERS_TIMEOUT_MS = 60_000;
const REQUEST_TIMEOUT_MS = 600_000;

export interface TlsFiles {
  readonly certificatePath: string;
  readonly privateKeyPath: string;
}

/** The open sockets of the server. */
export interface OpenListeners {
  /** What was bound, for messages: "http://127.0.0.1:8008". */
  readonly addresses: readonly string[];
  /** Reads the TLS certificates anew. */
  reloadTls(): void;
  /** Answers long polls, waits for requests under way (at most some seconds), closes the sockets. */
  close(): Promise<void>;
}

/** Binds the listeners and hands what comes to their handlers. @throws Error with the address that could not be bound */
export async function openSockets(
  listeners: readonly (readonly [Listener, http.RequestListener])[],
  options: {
    readonly clock: Clock;
    readonly tls: TlsFiles | undefined;
    /** Aborted when the sockets are about to close. */
    readonly stopping: AbortController;
  },
): Promise<OpenListeners> {
  const { clock, tls, stopping } = options;
  const servers: (http.Server | https.Server)[] = [];
  const addresses: string[] = [];
  for (const [listener, handler] of listeners) {
    const failures: Error[] = [];
    const places = listener.path !== undefined ? [{ path: listener.path }] : listener.bindAddresses.map((host) => ({ host, port: listener.port! }));
    let bound = 0;
    for (const place of places) {
      const server = listener.tls ? https.createServer(readTls(tls), handler) : http.createServer(handler);
      server.headersTimeout = HEADERS_TIMEOUT_MS;
      server.requestTimeout = REQUEST_TIMEOUT_MS;
      server.keepAliveTimeout = 75_000;
      try {
        await bind(server, place, listener.mode);
        servers.push(server);
        addresses.push(describe(listener, place, server));
        bound++;
      } catch (error) {
        failures.push(error as Error);
      }
    }
    // Where an IPv6 socket takes IPv4 too (or there is no IPv6), one of the two binds may fail.
    if (bound === 0) throw new Error(`Cannot listen on ${listener.path ?? `port ${listener.port}`}: ${failures[0]?.message ?? "no address"}`);
  }
  return {
    addresses,
    reloadTls() {
      if (!servers.some((server) => server instanceof https.Server)) return;
      const files = readTls(tls);
      for (const server of servers) if (server instanceof https.Server) server.setSecureContext(files);
    },
    async close() {
      stopping.abort();
      await Promise.all(servers.map((server) => drain(clock, server)));
    },
  };
}

function readTls(files: TlsFiles | undefined): { cert: Buffer; key: Buffer } {
  if (files === undefined) throw new Error("A listener has tls: true, but tls_certificate_path and tls_private_key_path are not set");
  return { cert: readFileSync(files.certificatePath), key: readFileSync(files.privateKeyPath) };
}

async function bind(server: http.Server, place: { path: string } | { host: string; port: number }, mode: number): Promise<void> {
  if ("path" in place && existsSync(place.path)) unlinkSync(place.path);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(place, () => {
      server.off("error", reject);
      resolve();
    });
  });
  if ("path" in place) chmodSync(place.path, mode);
}

function describe(listener: Listener, place: { path: string } | { host: string; port: number }, server: http.Server): string {
  if ("path" in place) return place.path;
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : place.port;
  const host = place.host.includes(":") ? `[${place.host}]` : place.host;
  return `${listener.tls ? "https" : "http"}://${host}:${port}`;
}

async function drain(clock: Clock, server: http.Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const sweep = clock.every(50, () => server.closeIdleConnections());
  const timer = clock.after(DRAIN_MS, () => server.closeAllConnections());
  await closed;
  sweep.cancel();
  timer.cancel();
}
