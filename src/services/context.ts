import type { Config } from "../config/config.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import type { Database, ReadHandle, Txn, TransactionOptions } from "../storage/database.ts";
import type { Streams } from "../storage/stream-ids.ts";
import type { Requester } from "./requester.ts";
import type { Notifier } from "./streams/notifier.ts";

/**
 * What a running server consists of. Built in `server.ts`, never mutated. Services ask for the part that they use:
 * `(ctx: Pick<Context, "read" | "clock">, ...)`.
 */
export interface Context {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: ServerMetrics;
  readonly db: Database;
  /** For readers: each statement by itself. */
  readonly read: ReadHandle;
  /** For writers: see `Database.transaction`. */
  transaction<T>(name: string, fn: (txn: Txn) => Promise<T>, options?: TransactionOptions): Promise<T>;
  readonly streams: Streams;
  readonly notifier: Notifier;

  /** The requester of an access token. @throws MatrixError 401 M_UNKNOWN_TOKEN and others */
  authenticate(request: AuthenticationRequest): Promise<Requester>;
  isServerAdmin(requester: Requester): Promise<boolean>;
  /** The name of the server that signed a federation request. @throws MatrixError 401 */
  authenticateServer(request: FederationRequest): Promise<string>;
}

export interface AuthenticationRequest {
  readonly token: string;
  /** `user_id` of an appservice that masquerades. */
  readonly asUser: string | undefined;
  readonly asDevice: string | undefined;
  readonly ip: string;
  readonly userAgent: string;
  readonly allowGuest: boolean;
  readonly allowLocked: boolean;
  readonly allowExpired: boolean;
}

export interface FederationRequest {
  readonly method: string;
  /** Path and query as received. */
  readonly uri: string;
  readonly authorization: string | undefined;
  /** The parsed body; undefined for requests without one. */
  readonly content: unknown;
}

/** Counters of the HTTP edge. */
export interface ServerMetrics {
  requestStarted(method: string, servlet: string): void;
  requestFinished(method: string, servlet: string, status: number, seconds: number): void;
}
