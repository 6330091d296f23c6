import type { ConfigReader, ParseContext } from "../reader.ts";

/** Room and user statistics (`stats`). */
export type StatsConfig = ReturnType<typeof parseStats>;

export function parseStats(root: ConfigReader, ctx: ParseContext) {
  const enabled = root.object("stats").boolean("enabled", true);
  if (!enabled) ctx.notice("stats.enabled is false: the room directory and searches in it show outdated numbers");
  return { enabled };
}
