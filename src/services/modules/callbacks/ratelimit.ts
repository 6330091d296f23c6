import { callModule } from "../refusals.ts";

type MaybePromise<T> = T | Promise<T>;

export interface ModuleRatelimit {
  /** 0: not limited. */
  readonly per_second: number;
  readonly burst_count: number;
}

export interface RatelimitCallbacks {
  /** Asked for the limits of invites: `rc_invites.per_room`, `rc_invites.per_user`, `rc_invites.per_issuer`. */
  get_ratelimit_override_for_user?(userId: string, limiterName: string): MaybePromise<ModuleRatelimit | undefined | null>;
}

/** What modules say about rate limits of users. Errors go to the client. */
export class RatelimitModules {
  private readonly modules: RatelimitCallbacks[] = [];

  register(callbacks: RatelimitCallbacks): void {
    this.modules.push(callbacks);
  }

  async overrideFor(userId: string, limiterName: string): Promise<ModuleRatelimit | undefined> {
    for (const module of this.modules) {
      const override = await callModule(() => module.get_ratelimit_override_for_user?.(userId, limiterName));
      if (override) return override;
    }
    return undefined;
  }
}
