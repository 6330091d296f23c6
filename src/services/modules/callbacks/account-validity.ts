import { callModule } from "../refusals.ts";
import type { ModuleRequest } from "../web-resources.ts";

type MaybePromise<T> = T | Promise<T>;

/** Synapse's account validity callbacks. Errors go to the client. */
export interface AccountValidityCallbacks {
  /** undefined or null: this module cannot tell. */
  is_user_expired?(userId: string): MaybePromise<boolean | undefined | null>;
  on_user_registration?(userId: string): MaybePromise<void>;
  on_user_login?(userId: string, authProviderType: string | undefined, authProviderId: string | undefined): MaybePromise<void>;
  /** Takes the place of `POST /_matrix/client/unstable/account_validity/send_mail`. */
  on_legacy_send_mail?(userId: string): MaybePromise<void>;
  /** Takes the place of `GET .../account_validity/renew`: is the token valid, was it used before, until when is the account valid (ms)? */
  on_legacy_renew?(token: string): MaybePromise<readonly [valid: boolean, stale: boolean, expiresAt: number]>;
  /** Takes the place of `POST /_synapse/admin/v1/account_validity/validity`: when the account expires (ms). */
  on_legacy_admin_request?(request: ModuleRequest): MaybePromise<number>;
}

const ONCE = ["on_legacy_send_mail", "on_legacy_renew", "on_legacy_admin_request"] as const;

/** What modules know about accounts that expire. */
export class AccountValidity {
  private readonly modules: AccountValidityCallbacks[] = [];

  /** @throws Error where two modules want one of the old endpoints */
  register(callbacks: AccountValidityCallbacks): void {
    for (const name of ONCE) if (callbacks[name] !== undefined && this.owner(name) !== undefined) throw new Error(`Two modules register ${name}`);
    this.modules.push(callbacks);
  }

  /** undefined: no module can tell. */
  async isExpired(userId: string): Promise<boolean | undefined> {
    for (const module of this.modules) {
      const expired = await callModule(() => module.is_user_expired?.(userId));
      if (expired !== undefined && expired !== null) return Boolean(expired);
    }
    return undefined;
  }

  async registered(userId: string): Promise<void> {
    for (const module of this.modules) await callModule(() => module.on_user_registration?.(userId));
  }

  async loggedIn(userId: string, type: string | undefined, authProviderId: string | undefined): Promise<void> {
    for (const module of this.modules) await callModule(() => module.on_user_login?.(userId, type, authProviderId));
  }

  /** The module that has taken over one of the old endpoints. */
  owner<K extends (typeof ONCE)[number]>(name: K): (AccountValidityCallbacks & Required<Pick<AccountValidityCallbacks, K>>) | undefined {
    return this.modules.find((module) => module[name] !== undefined) as ReturnType<typeof this.owner<K>>;
  }
}
