/** Which of several states hold something: a bit for each. */
export type Holders = Uint32Array;

export const nobody = (states: number): Holders => new Uint32Array((states + 31) >>> 5);

export function addHolder(holders: Holders, state: number): void {
  holders[state >>> 5]! |= 1 << (state & 31);
}

/** Adds all of `more`; true when that changed anything. */
export function addHolders(holders: Holders, more: Holders): boolean {
  let changed = false;
  for (let i = 0; i < holders.length; i++) {
    const before = holders[i]!;
    const after = (before | more[i]!) >>> 0;
    if (after === before) continue;
    holders[i] = after;
    changed = true;
  }
  return changed;
}

/** All states but these. */
export function allBut(holders: Holders, states: number): Holders {
  const others = nobody(states);
  for (let i = 0; i < others.length; i++) others[i] = ~holders[i]! & ofWord(i, states);
  return others;
}

export function isAll(holders: Holders, states: number): boolean {
  return holders.every((word, i) => word === ofWord(i, states));
}

/** A word with the bits of all states that it stands for. */
function ofWord(index: number, states: number): number {
  const left = states - 32 * index;
  return left >= 32 ? 0xffffffff : (1 << left) - 1;
}
