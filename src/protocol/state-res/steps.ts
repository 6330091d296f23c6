/**
 * Work that may take long, in steps, so that who drives it can let others have their turn between them. A step that yields ids asks for
 * what belongs to them before it goes on; most yield none.
 */
export type Steps<T> = Generator<readonly string[], T, void>;

/** A moment between two steps. */
export const PAUSE: readonly string[] = [];

/** All steps at once, where everything is at hand. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
