import type { ProfileUpdate } from "../../storage/accounts/profile-updates.ts";

export interface ProfileChanges {
  /** Who came to be known. */
  readonly came: ReadonlySet<string>;
  /** Who went away, and did not come back. */
  readonly left: ReadonlySet<string>;
  /** The fields that changed, by user. */
  readonly changed: ReadonlyMap<string, ReadonlySet<string>>;
}

/** What updates in the order of the stream come to. Of changes only those of the `fields` count; undefined: of any. */
export function profileChanges(updates: readonly ProfileUpdate[], fields: ReadonlySet<string> | undefined): ProfileChanges {
  const came = new Set<string>();
  const left = new Set<string>();
  const changed = new Map<string, Set<string>>();
  for (const { userId, action, fields: affected } of updates) {
    if (action === "joined_room") {
      came.add(userId);
      left.delete(userId);
    } else if (action === "left_room") {
      left.add(userId);
      came.delete(userId);
    } else {
      const own = (affected ?? []).filter((field) => fields === undefined || fields.has(field));
      if (own.length > 0) changed.set(userId, new Set([...(changed.get(userId) ?? []), ...own]));
    }
  }
  return { came, left, changed };
}
