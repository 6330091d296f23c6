import { createHash } from "node:crypto";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";

/** A mailbox through which two devices of a user find each other. */
export interface RendezvousSession {
  readonly id: string;
  readonly data: string;
  /** Changes with each write. */
  readonly token: string;
  /** The token before the last write. */
  readonly previousToken: string | undefined;
  /** ms */
  readonly modifiedAt: number;
  /** ms */
  readonly expiresAt: number;
}

export interface RendezvousOptions {
  readonly lifetimeMs: number;
  /** The token tells writes of the same data apart. */
  readonly timeInToken: boolean;
}

/** How many are left when there are too many. */
const KEPT = 100;
const MOST = 200;
/** Bytes. */
export const MAX_RENDEZVOUS_BYTES = 4096;

const BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** Sessions in memory, few and short-lived: what strangers may store here is bounded. */
export class RendezvousSessions {
  /** In the order in which they were made. */
  private readonly sessions = new Map<string, RendezvousSession>();

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
    private readonly options: RendezvousOptions,
  ) {}

  create(data: string): RendezvousSession {
    if (this.sessions.size >= MOST) this.evict();
    const now = this.clock.now();
    const session = {
      id: this.newId(now),
      data,
      token: this.tokenOf(data, now),
      previousToken: undefined,
      modifiedAt: now,
      expiresAt: now + this.options.lifetimeMs,
    };
    this.sessions.set(session.id, session);
    return session;
  }

  /** undefined when there is none, or not any more. */
  get(id: string): RendezvousSession | undefined {
    const session = this.sessions.get(id.toUpperCase());
    return session === undefined || session.expiresAt <= this.clock.now() ? undefined : session;
  }

  /** Writes to a session that `get` gave. Its end stays where it is. */
  write(session: RendezvousSession, data: string): RendezvousSession {
    const now = this.clock.now();
    const written = { ...session, data, token: this.tokenOf(data, now), previousToken: session.token, modifiedAt: now };
    this.sessions.set(session.id, written);
    return written;
  }

  /** False when there is none. */
  delete(id: string): boolean {
    return this.sessions.delete(id.toUpperCase());
  }

  /** Drops what is over, then the oldest ones where there are too many. */
  evict(): void {
    const now = this.clock.now();
    for (const session of this.sessions.values()) if (session.expiresAt <= now) this.sessions.delete(session.id);
    for (const id of this.sessions.keys()) {
      if (this.sessions.size <= KEPT) return;
      this.sessions.delete(id);
    }
  }

  private tokenOf(data: string, now: number): string {
    const hash = createHash("sha256").update(data);
    if (this.options.timeInToken) hash.update(String(now));
    return hash.digest("base64url");
  }

  /** A ULID: ten characters of time, sixteen by chance. */
  private newId(now: number): string {
    let id = "";
    for (let rest = now, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) id = BASE32[rest % 32]! + id;
    for (let i = 0; i < 16; i++) id += BASE32[this.random.below(32)]!;
    return id;
  }
}

/** The sessions of both proposals. */
export interface Rendezvous {
  /** MSC4108: over HTTP headers. */
  readonly msc4108: RendezvousSessions;
  /** MSC4388: in JSON. */
  readonly msc4388: RendezvousSessions;
}

/** The sessions of both versions of the protocol (MSC4108, MSC4388), in memory. */
export function openRendezvous(clock: Clock, random: Random): Rendezvous {
  return {
    msc4108: new RendezvousSessions(clock, random, { lifetimeMs: 60_000, timeInToken: false }),
    msc4388: new RendezvousSessions(clock, random, { lifetimeMs: 120_000, timeInToken: true }),
  };
}
