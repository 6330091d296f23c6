import { ChainCover } from "../../storage/events/persist/chain-cover.ts";
import type { Context } from "../context.ts";
import { Persister } from "./persister.ts";
import type { PlanContext } from "./plan-context.ts";
import { Publisher } from "./publish.ts";
import { resolveState } from "./resolve-state.ts";

/** What the persister is made of. */
export type PersisterBasis = Pick<
  Context,
  "config" | "clock" | "log" | "db" | "read" | "streams" | "events" | "state" | "members" | "roomVersions" | "authGraph" | "notifier" | "changes" | "crowds"
> &
  Pick<PlanContext, "isPartial">;

/** The queue that stores events, and what tells others of them. */
export function openPersister(basis: PersisterBasis): { persister: Persister; publisher: Publisher } {
  const { config } = basis;
  const publisher = new Publisher({ ...basis, serverName: config.server.serverName });
  const persister = new Persister({
    ...basis,
    serverName: config.server.serverName,
    chains: new ChainCover(basis.read),
    options: { search: config.server.enableSearch, ephemeralMessages: config.server.enableEphemeralMessages, stickyEvents: config.experimental.msc4354Enabled },
    profileUpdates: config.server.includeProfileUpdatesInSync,
    banRedactions: config.experimental.msc4293Enabled,
    resolve: (roomId, states, known) => resolveState(basis, roomId, states, known),
    stored: (rooms) => publisher.stored(rooms),
  });
  return { persister, publisher };
}
