import type { Config } from "../src/config/config.ts";
import type { Level } from "./finding.ts";

/** Something that Synapse does by its configuration and Myelin does not do yet. */
export interface Limit {
  readonly id: string;
  readonly level: Exclude<Level, "ok">;
  /** What in the configuration asks for it; empty: nothing does. */
  readonly asked: (config: Config) => readonly string[];
  readonly what: string;
  readonly why: string;
  readonly todo: string;
  /** The line of README's table of limits that says the same; a test compares, so that neither outlives the other. */
  readonly readme: RegExp;
}

/** Options that are read and understood, and ask for what is not built yet. */
export const LIMITS: readonly Limit[] = [
  {
    id: "sticky-events",
    level: "warning",
    asked: ({ experimental }) => (experimental.msc4354Enabled ? ["experimental_features.msc4354_enabled"] : []),
    what: "Sticky events (MSC4354) are switched on, which Myelin does not have yet",
    why: "Calls that rely on them would not find each other; stored ones stay for Synapse.",
    todo: "Wait for a release of Myelin that has them, or switch them off.",
    readme: /^\| .*[Ss]ticky events/m,
  },
];
