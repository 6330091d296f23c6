/**
 * Which keys changed after a position of a stream, from memory: the last changes in order of position. Answers "nothing" and "these"
 * without a query; says "unknown" (undefined) for positions older than its window.
 */
export class ChangeLog {
  private positions: number[] = [];
  private keys: string[] = [];
  private readonly lastByKey = new Map<string, number>();

  /**
   * @param since the position from which on all changes will be recorded
   * @param capacity number of changes remembered
   */
  constructor(
    private since = 0,
    private readonly capacity = 10_000,
  ) {}

  /** Begins anew: everything after `position` will be recorded. */
  reset(position: number): void {
    this.positions = [];
    this.keys = [];
    this.lastByKey.clear();
    this.since = position;
  }

  record(key: string, position: number): void {
    let at = this.positions.length;
    while (at > 0 && this.positions[at - 1]! > position) at--;
    if (at === this.positions.length) {
      this.positions.push(position);
      this.keys.push(key);
    } else {
      this.positions.splice(at, 0, position);
      this.keys.splice(at, 0, key);
    }
    if ((this.lastByKey.get(key) ?? -Infinity) < position) this.lastByKey.set(key, position);
    if (this.positions.length > this.capacity * 1.25) this.shorten();
  }

  /** Keys changed at positions in (`after`, `upTo`]; undefined when `after` lies before the window. */
  changed(after: number, upTo: number): Set<string> | undefined {
    if (after < this.since) return undefined;
    const keys = new Set<string>();
    for (let at = this.positions.length - 1; at >= 0 && this.positions[at]! > after; at--) if (this.positions[at]! <= upTo) keys.add(this.keys[at]!);
    return keys;
  }

  /** True when `key` changed after the position, or when that is not known. */
  hasChanged(key: string, after: number): boolean {
    return after < this.since || (this.lastByKey.get(key) ?? -Infinity) > after;
  }

  private shorten(): void {
    const drop = this.positions.length - this.capacity;
    this.since = this.positions[drop - 1]!;
    for (let at = 0; at < drop; at++) {
      const key = this.keys[at]!;
      if (this.lastByKey.get(key)! <= this.since) this.lastByKey.delete(key);
    }
    this.positions.splice(0, drop);
    this.keys.splice(0, drop);
  }
}
