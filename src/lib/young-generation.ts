import { setFlagsFromString } from "node:v8";

/**
 * Loading the program makes V8 widen its young generation to 48 MB, which an idle server would hold on to. Imported before all else, this
 * keeps it small until `letYoungGenerationGrow`: from then on it grows again, fast, when the load asks for it.
 */
setFlagsFromString("--semi-space-growth-factor=1");

/** Lets it grow by the factor of usual programs. */
export function letYoungGenerationGrow(): void {
  setFlagsFromString("--semi-space-growth-factor=4");
}
