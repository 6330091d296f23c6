import { LEFT_TO_SYNAPSE } from "../src/storage/jobs/background-updates.ts";
import { expectedCatalogue } from "../src/storage/schema/catalogue-file.ts";
import type { Target } from "./context.ts";

/** Background updates that Synapse 1.160 can run. */
export function updatesOfSynapse(): ReadonlySet<string> {
  return new Set(expectedCatalogue().known_background_update_handlers.map(({ name }) => name));
}

export function knowsUpdate(target: Target, name: string): boolean {
  return updatesOfSynapse().has(name) && (target === "synapse" || !LEFT_TO_SYNAPSE.has(name));
}

/** Actions of scheduled tasks: Synapse 1.160 and Myelin run the same ones; a test compares. */
export const TASK_ACTIONS: ReadonlySet<string> = new Set([
  "redact_all_events",
  "purge_history",
  "purge_room",
  "shutdown_and_purge_room",
  "delete_device_messages",
  "delete_old_otks",
  "update_join_states",
]);
