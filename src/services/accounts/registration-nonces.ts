import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";

const NONCE_LIFETIME_MS = 60_000;
const NONCE_BYTES = 64;

/** Nonces given out for registration by shared secret: each is good once, for a minute. */
export class RegistrationNonces {
  private readonly made = new Map<string, number>();

  constructor(
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  create(): string {
    this.forgetOld();
    const nonce = this.random.bytes(NONCE_BYTES).toString("hex");
    this.made.set(nonce, this.clock.now());
    return nonce;
  }

  /** True when the nonce was given out within the last minute and not used since. */
  take(nonce: string): boolean {
    this.forgetOld();
    return this.made.delete(nonce);
  }

  /** Oldest first, as a Map keeps them. */
  private forgetOld(): void {
    const now = this.clock.now();
    for (const [nonce, at] of this.made) {
      if (now - at <= NONCE_LIFETIME_MS) break;
      this.made.delete(nonce);
    }
  }
}
