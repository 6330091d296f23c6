import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";

const LIFETIME_MS = 15 * 60_000;
const ID_LENGTH = 16;
/** So many people choose their names at once; beyond it the oldest begin again. */
const MAX_SESSIONS = 10_000;

/** Somebody whom a provider has vouched for, and who is not a user yet. */
export interface MappingSession {
  readonly providerId: string;
  readonly providerSessionId: string | undefined;
  /** Their id at the provider. */
  readonly remoteUserId: string;
  readonly displayName: string | undefined;
  readonly emails: readonly string[];
  readonly avatarUrl: string | undefined;
  readonly extraAttributes: Readonly<Record<string, string>> | undefined;
  readonly clientRedirectUrl: string;
  readonly choices: Choices;
}

/** What the user has chosen so far. */
export interface Choices {
  /** undefined: not chosen yet. */
  readonly localpart: string | undefined;
  readonly useDisplayName: boolean;
  readonly useAvatar: boolean;
  readonly emails: readonly string[];
  /** The version of the terms that was agreed to. */
  readonly termsVersion: string | undefined;
}

/** Sessions by the id in the browser's cookie, for a quarter of an hour each. In memory, as in Synapse: a restart begins anew. */
export class MappingSessions {
  private readonly sessions = new Map<string, { session: MappingSession; readonly expires: number }>();

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  /** Returns the new session's id. */
  add(session: MappingSession): string {
    this.expire();
    const [oldest] = this.sessions.keys();
    if (this.sessions.size >= MAX_SESSIONS) this.sessions.delete(oldest!);
    const id = this.random.letters(ID_LENGTH);
    this.sessions.set(id, { session, expires: this.clock.now() + LIFETIME_MS });
    return id;
  }

  get(id: string): MappingSession | undefined {
    this.expire();
    return this.sessions.get(id)?.session;
  }

  /** Notes choices; returns the session as it is then, undefined when there is none. */
  choose(id: string, choices: Partial<Choices>): MappingSession | undefined {
    this.expire();
    const entry = this.sessions.get(id);
    if (entry === undefined) return undefined;
    entry.session = { ...entry.session, choices: { ...entry.session.choices, ...choices } };
    return entry.session;
  }

  /** Ends a session, and returns it: only one of two who ask at once gets it. */
  take(id: string): MappingSession | undefined {
    const session = this.get(id);
    this.sessions.delete(id);
    return session;
  }

  /** Ends the sessions of a login that has ended at the provider. */
  revoke(providerId: string, providerSessionId: string): void {
    for (const [id, { session }] of this.sessions)
      if (session.providerId === providerId && session.providerSessionId === providerSessionId) this.sessions.delete(id);
  }

  private expire(): void {
    const now = this.clock.now();
    for (const [id, { expires }] of this.sessions) {
      if (expires > now) break; // in the order of their ends
      this.sessions.delete(id);
    }
  }
}
