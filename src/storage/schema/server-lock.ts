import type pg from "pg";
import type { Clock, Timer } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { type Database, query, type ReadHandle } from "../database.ts";
import { StartupRefusal } from "./refusal.ts";

/** What every connection of ours calls itself in `pg_stat_activity`, followed by the instance. */
export const APPLICATION_NAME = "myelin";

/** The class of our advisory locks: "Myel". The second key is the instance. */
const LOCK_CLASS = 0x4d79656c;
const LOCK_KEYS = `${LOCK_CLASS}, hashtext(current_schema() || '/' || $1)`;

export interface ServerLockOptions {
  /** `master`, or the worker's name. */
  instanceName: string;
  clock: Clock;
  log: Logger;
  /** How long to wait for another process to let go; a restart overlaps a little. Default 10 s. */
  waitMs?: number;
  /** Start although clients that look like a Synapse are connected. */
  allowOtherClients?: boolean;
  /** Another process took the lock while our connection was broken: the server must stop writing at once. */
  onTaken: () => void;
}

/**
 * The right to be this instance on this database: an advisory lock of a session of its own. When that session breaks, the lock is taken
 * again as soon as the database answers.
 */
export class ServerLock {
  private client: pg.PoolClient | undefined;
  private timer: Timer | undefined;
  private closed = false;

  private constructor(
    private readonly db: Database,
    private readonly options: ServerLockOptions,
  ) {}

  /**
   * Takes the lock, and makes sure that no Synapse is at work on the database.
   * @throws StartupRefusal `second-server` or `live-synapse`
   */
  static async acquire(db: Database, options: ServerLockOptions): Promise<ServerLock> {
    const lock = new ServerLock(db, options);
    const deadline = options.clock.monotonic() + (options.waitMs ?? 10_000);
    try {
      while (!(await lock.tryTake())) {
        if (options.clock.monotonic() >= deadline) throw await lock.refusal();
        await options.clock.sleep(250);
      }
      if (!options.allowOtherClients) await refuseLiveSynapse(db.read, options);
    } catch (error) {
      await lock.release();
      throw error;
    }
    lock.timer = options.clock.every(30_000, () => {
      // Notices a connection that a firewall dropped without a word.
      lock.client?.query("SELECT 1").catch(() => {});
    });
    return lock;
  }

  /** True while the lock is certainly ours. */
  get held(): boolean {
    return this.client !== undefined;
  }

  /** Other processes of this server that hold a lock now: its workers, or its main process. */
  async others(): Promise<number> {
    const rows = await query(this.db.read, "SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND classid = $1 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())", [LOCK_CLASS]);
    return rows.length - (this.held ? 1 : 0);
  }

  async release(): Promise<void> {
    this.closed = true;
    this.timer?.cancel();
    const client = this.client;
    this.client = undefined;
    if (client === undefined) return;
    // So that whoever waits has it at once; the end of the session, which Postgres notices a moment later, frees it in any case.
    const unlocked = client.query("SELECT pg_advisory_unlock_all()").catch(() => {});
    await Promise.race([unlocked, this.options.clock.sleep(1000)]);
    client.release(true);
  }

  private async tryTake(): Promise<boolean> {
    const client = await this.db.dedicatedConnection();
    try {
      // Without these, a session whose host vanished would keep the lock for hours.
      await client.query("SET tcp_keepalives_idle TO 10; SET tcp_keepalives_interval TO 5; SET tcp_keepalives_count TO 3");
      const { rows } = await client.query<{ taken: boolean }>(`SELECT pg_try_advisory_lock(${LOCK_KEYS}) AS taken`, [this.options.instanceName]);
      if (!rows[0]!.taken) {
        client.release();
        return false;
      }
    } catch (error) {
      client.release(true);
      throw error;
    }
    if (this.closed) {
      client.release(true);
      return true;
    }
    this.client = client;
    const lost = (): void => this.lost(client);
    client.once("error", lost);
    client.once("end", lost);
    return true;
  }

  private lost(client: pg.PoolClient): void {
    if (this.client !== client || this.closed) return;
    this.client = undefined;
    client.release(true);
    this.options.log.warn("The connection that holds the server's lock broke: taking the lock again");
    void this.takeAgain();
  }

  private async takeAgain(): Promise<void> {
    const { clock, log, onTaken } = this.options;
    // The server notices the end of the old session a moment after us.
    let refused = 0;
    for (let wait = 50; !this.closed; wait = Math.min(wait * 2, 2000)) {
      try {
        if (await this.tryTake()) {
          log.info("The server's lock is held again");
          return;
        }
        refused += wait;
        if (refused > (this.options.waitMs ?? 10_000)) break;
      } catch {
        // the database is not back yet: nobody can take the lock meanwhile
        refused = 0;
      }
      await clock.sleep(wait);
    }
    if (this.closed) return;
    log.error("Another process took the server's lock while our connection was broken: stopping, so that not both write");
    onTaken();
  }

  private async refusal(): Promise<StartupRefusal> {
    const [holder] = await query<{ pid: number; client: string | null; since: Date; application_name: string }>(
      this.db.read,
      `SELECT a.pid, host(a.client_addr) AS client, a.backend_start AS since, a.application_name
       FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
       WHERE l.locktype = 'advisory' AND l.granted AND a.datname = current_database() AND l.classid = ${LOCK_CLASS} AND l.objid::bigint = hashtext(current_schema() || '/' || $1)::bigint & 4294967295`,
      [this.options.instanceName],
    );
    const found = holder ? `a session from ${holder.client ?? "this machine"} since ${holder.since.toISOString()} (${holder.application_name}, backend ${holder.pid})` : "a session that has just ended";
    return new StartupRefusal("second-server", `Another Myelin is already running as ${this.options.instanceName} on this database`, found, "Stop that one first; two servers on one database destroy it.");
  }
}

interface Session {
  pid: number;
  user: string;
  application: string;
  client: string | null;
  query: string;
}

/** Tools that an admin may leave connected. */
const TOOLS = /^(psql|pg_dump|pg_restore|pg_basebackup|pgadmin|dbeaver|datagrip|navicat|postgres_exporter|pgbouncer|patroni|barman|pgbackrest|walg)/i;
/** What the last statement of an idle psycopg2 session is, or one on tables that only a homeserver has. */
const SYNAPSE_STATEMENT = /^\s*(commit|rollback|begin)\b|\b(stream_positions|background_updates|worker_locks|scheduled_tasks|cache_invalidation_stream_by_instance|event_push_(actions|summary)|device_inbox|event_json|federation_stream_position|receipts_linearized|current_state_delta_stream|delayed_events|room_memberships|e2e_room_keys)\b/i;

/** Sessions on this database that are probably Synapse's: they have its manners. */
export async function findSynapseSessions(h: ReadHandle): Promise<Session[]> {
  const sessions = await query<Session>(
    h,
    `SELECT pid, usename AS user, application_name AS application, host(client_addr) AS client, query
     FROM pg_stat_activity
     WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND application_name NOT LIKE $1
     ORDER BY backend_start`,
    [`${APPLICATION_NAME}%`],
  );
  return sessions.filter(({ application, query: statement }) => {
    if (TOOLS.test(application)) return false;
    return /synapse|matrix/i.test(application) || (application === "" && SYNAPSE_STATEMENT.test(statement));
  });
}

async function refuseLiveSynapse(h: ReadHandle, { clock, log }: ServerLockOptions): Promise<void> {
  let sessions = await findSynapseSessions(h);
  // Postgres notices the end of a client's process a moment later.
  for (let tries = 0; sessions.length > 0 && tries < 8; tries++) {
    await clock.sleep(250);
    sessions = await findSynapseSessions(h);
  }
  if (sessions.length > 0) {
    const places = [...new Set(sessions.map(({ client }) => client ?? "this machine"))].join(", ");
    throw new StartupRefusal(
      "live-synapse",
      "A Synapse seems to be running on this database",
      `${sessions.length} sessions of ${sessions[0]!.user} from ${places}, e.g. backend ${sessions[0]!.pid}`,
      "Stop it and all its workers. If these are another program's sessions, set `myelin: { allow_other_clients: true }` in homeserver.yaml.",
    );
  }
  const locks = await query<{ instance_name: string }>(h, "SELECT DISTINCT instance_name FROM worker_locks WHERE last_renewed_ts > $1", [clock.now() - 120_000]).catch(() => []);
  if (locks.length > 0) log.info(`A server was killed here less than two minutes ago: its locks (${locks.map(({ instance_name }) => instance_name).join(", ")}) are still fresh`);
}
