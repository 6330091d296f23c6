import type { Config } from "../src/config/config.ts";
import type { RawConfig } from "../src/config/load.ts";
import type { OptionUse } from "../src/config/unknown-options.ts";
import type { Clock } from "../src/lib/clock.ts";
import type { Random } from "../src/lib/random.ts";
import type { ReadHandle } from "../src/storage/database.ts";
import type { Draft } from "./finding.ts";
import type { Block } from "./queries/blocks.ts";
import type { DatabaseFacts } from "./queries/facts.ts";
import type { WorkerFile } from "./worker-files.ts";

/** Which server is to open the database next. */
export type Target = "myelin" | "synapse";

/** What a check that needs no database may look at. */
export interface ConfigContext {
  readonly target: Target;
  readonly config: Config;
  /** The options as they stand in the files. */
  readonly raw: RawConfig;
  /** The configuration files that were read. */
  readonly files: readonly string[];
  readonly options: readonly OptionUse[];
  readonly workers: readonly WorkerFile[];
  readonly clock: Clock;
  readonly random: Random;
  readonly deep: boolean;
}

/** The database as one snapshot of it shows it: all checks of a run read in the same read-only transaction. */
export interface CheckContext extends ConfigContext {
  readonly read: ReadHandle;
  readonly facts: DatabaseFacts;
  /** The catalogue of the database, an object a line (`describeDatabase`); read once. */
  readonly catalogue: () => Promise<ReadonlyMap<string, string>>;
  /** The stretches of the events that are looked at: all of a small database, of a large one the newest and some at random. */
  readonly events: readonly Block[];
  readonly stateGroups: readonly Block[];
}

interface CheckBase {
  /** What a risk's answer and a finding name it by. */
  readonly name: string;
  /** The risks of `risks.ts` that it answers. */
  readonly risks: readonly number[];
  /** Before which swap it says something; default: before both. */
  readonly only?: Target;
}

export interface ConfigCheck extends CheckBase {
  readonly run: (ctx: ConfigContext) => readonly Draft[] | Promise<readonly Draft[]>;
}

export interface DatabaseCheck extends CheckBase {
  /** Reads so much that it runs with `--deep` alone. */
  readonly deep?: true;
  /** Also where there are no tables of Synapse's. */
  readonly withoutSchema?: true;
  readonly run: (ctx: CheckContext) => Promise<readonly Draft[]>;
}
