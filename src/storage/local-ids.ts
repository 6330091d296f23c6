import { type Database, query } from "./database.ts";

/**
 * Ids that have no sequence in Synapse's schema: each new one is the highest of its table plus one, counted in memory by the one
 * process that writes the table (as Synapse does; the second server on a database is refused before it could collide).
 */
const TABLES = {
  accessTokens: "access_tokens",
  refreshTokens: "refresh_tokens",
  pushRules: "push_rules",
  pushRulesEnable: "push_rules_enable",
  eventReports: "event_reports",
  roomReports: "room_reports",
  userReports: "user_reports",
} as const;

export class LocalIds {
  /** The largest id given out or found in the table; at least 1, so an empty table starts at 2 as in Synapse. */
  private highest: number;
  constructor(highest: number) {
    this.highest = Math.max(highest, 1);
  }

  /** The next id. An id whose transaction rolls back stays unused. */
  next(): number {
    return ++this.highest;
  }
}

export type LocalIdCounters = { readonly [K in keyof typeof TABLES]: LocalIds };

/** All counters, each above every id of its table; one statement. */
export async function openLocalIds(db: Pick<Database, "read">): Promise<LocalIdCounters> {
  const names = Object.entries(TABLES);
  const rows = await query<{ name: string; highest: number | null }>(
    db.read,
    names.map(([name, table]) => `SELECT '${name}' AS name, max(id)::bigint AS highest FROM ${table}`).join(" UNION ALL "),
  );
  return Object.fromEntries(rows.map(({ name, highest }) => [name, new LocalIds(highest ?? 0)])) as unknown as LocalIdCounters;
}
