import type { Difference } from "./snapshot.ts";

/**
 * Where Myelin may answer otherwise than Synapse on the same database. Each entry has its reason; README.md shows the list.
 * An entry names the read and the place in the answer as narrowly as it can.
 */
export const ALLOWED_ANSWERS: readonly { read: RegExp; at?: RegExp; reason: string }[] = [
  { read: /\/_matrix\/client\/versions$/, at: /^\.unstable_features/, reason: "Unstable features that only one of them has." },
  { read: /\/media\/thumbnail\//, at: /sha256|bytes/, reason: "Pictures are scaled by different libraries; size and kind agree." },
  { read: /GET \/_matrix\/client\/v3\/nowhere/, at: /error$/, reason: "The words of an unknown path; the code agrees." },
];

export function allowedAnswer(difference: Difference): string | undefined {
  return ALLOWED_ANSWERS.find(({ read, at }) => read.test(difference.read) && (at === undefined || at.test(difference.at)))?.reason;
}
