import type { Clock } from "../../../lib/clock.ts";
import type { Purpose } from "../provider.ts";

/** A login that was sent to an identity provider. */
export interface SamlRequest {
  readonly purpose: Purpose;
  /** The entity id of the provider that was asked. */
  readonly idp: string;
}

/** So many logins are under way at once; beyond it the oldest begin again. */
const MAX_REQUESTS = 10_000;

/** Requests that no response has come to yet, by their ids, for `saml_session_lifetime`. */
export class SamlRequests {
  private readonly requests = new Map<string, SamlRequest & { readonly at: number }>();

  constructor(private readonly lifetimeMs: number) {}

  add(id: string, request: SamlRequest, clock: Pick<Clock, "now">): void {
    this.expire(clock);
    const [oldest] = this.requests.keys();
    if (this.requests.size >= MAX_REQUESTS) this.requests.delete(oldest!);
    this.requests.set(id, { ...request, at: clock.now() });
  }

  get(id: string, clock: Pick<Clock, "now">): SamlRequest | undefined {
    this.expire(clock);
    return this.requests.get(id);
  }

  /** A request is answered once: a response that comes again finds nothing. */
  delete(id: string): boolean {
    return this.requests.delete(id);
  }

  private expire(clock: Pick<Clock, "now">): void {
    const oldest = clock.now() - this.lifetimeMs;
    for (const [id, { at }] of this.requests) {
      if (at >= oldest) break;
      this.requests.delete(id);
    }
  }
}
