import assert from "node:assert/strict";

/**
 * Where two servers told something else, step by step, both sides of each. Steps in `allowed` may differ; `present` gives what of a step is
 * compared, if not all.
 */
export function differencesOf<T extends { readonly what: string }>(
  told: readonly (readonly T[])[],
  allowed: ReadonlySet<string>,
  present: (step: T) => unknown = (step) => step,
): string[] {
  const [one, two] = told;
  assert.ok(one !== undefined && two !== undefined, "both were visited");
  return one.flatMap((step, index) => {
    const [left, right] = [JSON.stringify(present(step)), JSON.stringify(present(two[index]!))];
    return left === right || allowed.has(step.what) ? [] : [`${left}\n${right}`];
  });
}
