import type { Clock } from "../../lib/clock.ts";

/** As long as a login token. */
const LIFETIME_MS = 120_000;

/** What a provider said of a user for the client, by user, until the login is complete (`extra_attributes` of a mapping). */
export class ExtraAttributes {
  private readonly byUser = new Map<string, { readonly at: number; readonly attributes: Readonly<Record<string, string>> }>();

  constructor(private readonly clock: Clock) {}

  set(userId: string, attributes: Readonly<Record<string, string>>): void {
    this.expire();
    this.byUser.delete(userId);
    this.byUser.set(userId, { at: this.clock.now(), attributes });
  }

  get(userId: string): Readonly<Record<string, string>> | undefined {
    this.expire();
    return this.byUser.get(userId)?.attributes;
  }

  private expire(): void {
    const oldest = this.clock.now() - LIFETIME_MS;
    for (const [userId, { at }] of this.byUser) {
      if (at >= oldest) break;
      this.byUser.delete(userId);
    }
  }
}
