import { accountChecks } from "./checks/accounts.ts";
import { configurationChecks } from "./checks/configuration.ts";
import { fileChecks } from "./checks/files.ts";
import { layoutChecks } from "./checks/layout.ts";
import { liveChecks } from "./checks/live.ts";
import { mediaChecks } from "./checks/media.ts";
import { roomChecks } from "./checks/rooms.ts";
import { sampleChecks } from "./checks/sample.ts";
import { schemaChecks } from "./checks/schema.ts";
import { serverChecks } from "./checks/server.ts";
import { sizeChecks } from "./checks/sizes.ts";
import { stateChecks } from "./checks/state.ts";
import { streamChecks } from "./checks/streams.ts";
import { workChecks } from "./checks/work.ts";
import type { ConfigCheck, DatabaseCheck } from "./context.ts";

/** Checks of the configuration and the files it names, in the order of the report. */
export const CONFIG_CHECKS: readonly ConfigCheck[] = [...configurationChecks, ...layoutChecks, ...fileChecks];

/** Checks of the database, in the order in which they run: those that explain failures of others come first. */
export const DATABASE_CHECKS: readonly DatabaseCheck[] = [
  ...serverChecks,
  ...liveChecks,
  ...schemaChecks,
  ...streamChecks,
  ...accountChecks,
  ...roomChecks,
  ...stateChecks,
  ...sampleChecks,
  ...workChecks,
  ...mediaChecks,
  ...sizeChecks,
];
