import pg from "pg";

/** Thrown where Postgres wants a password and nothing says one. */
export class PasswordWanted extends Error {
  constructor(user: string | undefined, host: string) {
    super(`Postgres at ${host} wants a password of ${user ?? "the user"}, and none is given (database.args.password, PGPASSWORD or a password file)`);
    this.name = "PasswordWanted";
  }
}

type Connected = ((error: Error) => void) | ((error: null, client: pg.Client) => void);

/** What the driver's declarations leave out. */
interface Internals {
  readonly connection: { readonly stream: { destroy(): void } };
  readonly password: unknown;
}

/**
 * A connection that is closed as soon as it fails to come about: the driver would leave it half open, and the process alive, until the
 * server's `authentication_timeout` of a minute.
 */
export class Connection extends pg.Client {
  override connect(): Promise<pg.Client>;
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<pg.Client> | void {
    const connected = super.connect().catch((error: Error) => {
      const { connection, password } = this as unknown as Internals;
      connection.stream.destroy();
      throw error.message.includes("password must be a string") && typeof password !== "string" ? new PasswordWanted(this.user, this.host) : error;
    });
    if (callback === undefined) return connected;
    connected.then((client) => (callback as (error: null, client: pg.Client) => void)(null, client), callback as (error: Error) => void);
  }
}
