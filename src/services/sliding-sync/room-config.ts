/** Stand-ins for state keys in `required_state` (MSC4186). */
export const WILDCARD = "*";
export const LAZY = "$LAZY";
export const ME = "$ME";

/** Event type to state keys. */
export type RequiredState = ReadonlyMap<string, ReadonlySet<string>>;

/** Under which terms a room is sent: how much of its timeline, which of its state. */
export interface RoomConfig {
  readonly timelineLimit: number;
  readonly requiredState: RequiredState;
}

export function roomConfig(parameters: { timeline_limit: number; required_state: readonly (readonly [string, string])[] }): RoomConfig {
  const requiredState = new Map<string, Set<string>>();
  for (const [type, stateKey] of parameters.required_state) {
    const keys = requiredState.get(type);
    if (keys === undefined) requiredState.set(type, new Set([stateKey]));
    else keys.add(stateKey);
  }
  return { timelineLimit: parameters.timeline_limit, requiredState: simplified(requiredState) };
}

/** A room in several lists gets the most that any of them asks for. */
export function combine(a: RoomConfig, b: RoomConfig): RoomConfig {
  return { timelineLimit: Math.max(a.timelineLimit, b.timelineLimit), requiredState: union(a.requiredState, b.requiredState) };
}

/** What either of the two asks for. */
export function union(a: RequiredState, b: RequiredState): RequiredState {
  const merged = new Map<string, Set<string>>();
  for (const map of [a, b]) {
    for (const [type, keys] of map) {
      const own = merged.get(type);
      if (own === undefined) merged.set(type, new Set(keys));
      else for (const key of keys) own.add(key);
    }
  }
  return simplified(merged);
}

/** Leaves out what a wildcard covers. */
function simplified(state: ReadonlyMap<string, Set<string>>): RequiredState {
  const everyType = state.get(WILDCARD);
  if (everyType?.has(WILDCARD)) {
    const members = state.get("m.room.member");
    // Lazy loading of members stays an exception from everything.
    return new Map<string, ReadonlySet<string>>([[WILDCARD, new Set([WILDCARD])], ...(members?.has(LAZY) ? [["m.room.member", members] as const] : [])]);
  }
  return new Map([...state].map(([type, keys]) => [type, keys.has(WILDCARD) ? new Set([WILDCARD]) : keys]));
}

/** True when the state event is asked for; lazily loaded members are decided elsewhere. */
export function wants(state: RequiredState, type: string, stateKey: string, userId: string): boolean {
  const covers = (keys: ReadonlySet<string> | undefined): boolean =>
    keys !== undefined && (keys.has(WILDCARD) || keys.has(stateKey) || (keys.has(ME) && stateKey === userId));
  if (covers(state.get(type))) return true;
  if (type === "m.room.member" && isLazy(state)) return false;
  return covers(state.get(WILDCARD));
}

export const isLazy = (state: RequiredState): boolean => state.get("m.room.member")?.has(LAZY) === true;

/** The pairs of `after` that `before` does not cover. */
export function added(before: RequiredState, after: RequiredState): RequiredState {
  const result = new Map<string, Set<string>>();
  if (before.get(WILDCARD)?.has(WILDCARD)) return result;
  for (const [type, keys] of after) {
    const old = before.get(type);
    if (old?.has(WILDCARD)) continue;
    const fresh = [...keys].filter((key) => !old?.has(key));
    if (fresh.length > 0) result.set(type, new Set(fresh));
  }
  return result;
}

/** As stored: sorted pairs of type and state key. */
export function serialise(state: RequiredState): string {
  const pairs = [...state].flatMap(([type, keys]) => [...keys].map((key) => [type, key] as const));
  pairs.sort(([aType, aKey], [bType, bKey]) => compare(aType, bType) || compare(aKey, bKey));
  return JSON.stringify(pairs);
}

/** Reads what `serialise` wrote. */
export function deserialise(text: string): RequiredState {
  const state = new Map<string, Set<string>>();
  const pairs: unknown = JSON.parse(text);
  if (!Array.isArray(pairs)) return state;
  for (const pair of pairs) {
    if (!Array.isArray(pair) || typeof pair[0] !== "string" || typeof pair[1] !== "string") continue;
    const keys = state.get(pair[0]);
    if (keys === undefined) state.set(pair[0], new Set([pair[1]]));
    else keys.add(pair[1]);
  }
  return state;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
