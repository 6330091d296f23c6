import type { Context } from "../context.ts";
import type { StoredEvents } from "../events/publish.ts";

/** Tells other servers of the presence of those who joined a room, and servers that came with them of the presence of those in it. */
export function announceNewcomers(ctx: Pick<Context, "events" | "log" | "presence" | "remote">, { roomId, backfilled, memberships }: StoredEvents): void {
  if (backfilled || !ctx.remote.federates) return;
  const joins = memberships.filter(({ membership }) => membership === "join");
  if (joins.length === 0) return;
  const announce = async (): Promise<void> => {
    const replaced = await ctx.events.get(joins.flatMap(({ replaces }) => replaces ?? []));
    // Who was there already has but a new name.
    const newcomers = joins.filter(({ replaces }) => replaces === undefined || replaced.get(replaces)?.membership !== "join");
    await ctx.presence.announceJoins(roomId, new Set(newcomers.map(({ userId }) => userId)));
  };
  announce().catch((error: unknown) => {
    ctx.log.named("synapse.handlers.presence").warn("The presence of those who joined could not be announced", { error });
  });
}
