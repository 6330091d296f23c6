import type { JsonObject } from "../../../lib/json.ts";
import type { Logger } from "../../../lib/log.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import type { CheckedLogin, PasswordProvider } from "../../accounts/credentials.ts";

type MaybePromise<T> = T | Promise<T>;

/** Called with the answer of the login, which it may extend. */
export type LoginCallback = (answer: Record<string, unknown>) => MaybePromise<void>;

/** The full id of the user, with what to do when the login is complete; undefined or null: not authenticated by this module. */
export type AuthResult = readonly [userId: string, callback?: LoginCallback | undefined | null] | undefined | null;

/** Checks a login: `username` is a localpart or a full id, `fields` what the client sent of the fields that the type has. */
export type CheckAuth = (username: string, loginType: string, fields: JsonObject) => MaybePromise<AuthResult>;

/** Synapse's password auth provider callbacks. What fails counts as "not authenticated". */
export interface PasswordAuthCallbacks {
  /** By login type, the fields that the client must send, and the check: in place of Python's dictionary by type and fields. */
  auth_checkers?: readonly { readonly login_type: string; readonly fields: readonly string[]; readonly check_auth: CheckAuth }[];
  check_3pid_auth?(medium: string, address: string, password: string): MaybePromise<AuthResult>;
  on_logged_out?(userId: string, deviceId: string | undefined, accessToken: string): MaybePromise<void>;
  /** The localpart of a new account, from what the stages of its registration proved and what the client sent. */
  get_username_for_registration?(uiaResults: JsonObject, params: JsonObject): MaybePromise<string | undefined | null>;
  get_displayname_for_registration?(uiaResults: JsonObject, params: JsonObject): MaybePromise<string | undefined | null>;
  is_3pid_allowed?(medium: string, address: string, registration: boolean): MaybePromise<boolean>;
}

/** The password auth providers of all modules, in the order of the config. */
export class PasswordAuth implements PasswordProvider {
  private readonly modules: PasswordAuthCallbacks[] = [];
  private readonly types = new Map<string, { readonly fields: readonly string[]; readonly checks: CheckAuth[] }>();

  constructor(private readonly log: Logger) {}

  /** @throws Error where two modules take the same login type with different fields */
  register(callbacks: PasswordAuthCallbacks): void {
    for (const { login_type: type, fields, check_auth: check } of callbacks.auth_checkers ?? []) {
      const known = this.types.get(type);
      if (known === undefined) this.types.set(type, { fields: [...fields], checks: [check] });
      else if (known.fields.join("\0") === fields.join("\0")) known.checks.push(check);
      else throw new Error(`Two modules take the login type ${type} with different fields: ${known.fields.join(", ")} and ${fields.join(", ")}`);
    }
    this.modules.push(callbacks);
  }

  get loginTypes(): Readonly<Record<string, readonly string[]>> {
    return Object.fromEntries([...this.types].map(([type, { fields }]) => [type, fields]));
  }

  async check(username: string, type: string, fields: JsonObject): Promise<CheckedLogin | undefined> {
    for (const check of this.types.get(type)?.checks ?? []) {
      const login = await this.attempt("check_auth", () => check(username, type, fields));
      if (login !== undefined) return login;
    }
    return undefined;
  }

  async checkThreepid(medium: string, address: string, password: string): Promise<CheckedLogin | undefined> {
    for (const module of this.modules) {
      if (module.check_3pid_auth === undefined) continue;
      const login = await this.attempt("check_3pid_auth", () => module.check_3pid_auth!(medium, address, password));
      if (login !== undefined) return login;
    }
    return undefined;
  }

  /** Tells the modules, which nobody waits for. */
  sessionsEnded(userId: string, tokens: readonly { readonly token: string; readonly deviceId: string | null }[]): void {
    if (!this.modules.some((module) => module.on_logged_out !== undefined)) return;
    void (async () => {
      for (const { token, deviceId } of tokens) await this.loggedOut(userId, deviceId ?? undefined, token);
    })();
  }

  private async loggedOut(userId: string, deviceId: string | undefined, accessToken: string): Promise<void> {
    for (const module of this.modules) {
      try {
        await module.on_logged_out?.(userId, deviceId, accessToken);
      } catch (error) {
        this.log.warn("The module callback on_logged_out failed", { error });
      }
    }
  }

  /** @throws MatrixError 500 where a module fails */
  async usernameFor(results: JsonObject, params: JsonObject): Promise<string | undefined> {
    return await this.firstText("get_username_for_registration", (module) => module.get_username_for_registration?.(results, params));
  }

  /** @throws MatrixError 500 where a module fails */
  async displayNameFor(results: JsonObject, params: JsonObject): Promise<string | undefined> {
    return await this.firstText("get_displayname_for_registration", (module) => module.get_displayname_for_registration?.(results, params));
  }

  /** @throws MatrixError 500 where a module fails */
  async isThreepidAllowed(medium: string, address: string, registration: boolean): Promise<boolean> {
    for (const module of this.modules) {
      if (module.is_3pid_allowed === undefined) continue;
      const result = await this.orFail("is_3pid_allowed", () => module.is_3pid_allowed!(medium, address, registration));
      if (result === false) return false;
      if (result !== true) this.log.warn("The module callback is_3pid_allowed returned no boolean, which is passed over");
    }
    return true;
  }

  private async firstText(name: string, ask: (module: PasswordAuthCallbacks) => unknown): Promise<string | undefined> {
    for (const module of this.modules) {
      const result = await this.orFail(name, () => ask(module));
      if (typeof result === "string") return result;
      if (result !== undefined && result !== null) this.log.warn(`The module callback ${name} returned no text, which is passed over`);
    }
    return undefined;
  }

  private async orFail(name: string, run: () => unknown): Promise<unknown> {
    try {
      return await run();
    } catch (error) {
      this.log.error(`The module callback ${name} failed`, { error });
      throw new MatrixError(500, "M_UNKNOWN", "Internal Server Error");
    }
  }

  private async attempt(name: string, run: () => unknown): Promise<CheckedLogin | undefined> {
    let result: unknown;
    try {
      result = await run();
    } catch (error) {
      this.log.warn(`The module callback ${name} failed`, { error });
      return undefined;
    }
    if (result === undefined || result === null) return undefined;
    const [userId, callback] = Array.isArray(result) ? (result as unknown[]) : [undefined, undefined];
    if (typeof userId !== "string" || (callback !== undefined && callback !== null && typeof callback !== "function")) {
      this.log.warn(`The module callback ${name} returned something that is no [user id, callback], which is passed over`);
      return undefined;
    }
    return typeof callback === "function" ? { userId, onLogin: async (answer) => await (callback as LoginCallback)(answer) } : { userId };
  }
}
