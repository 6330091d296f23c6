/** Keys to be looked at after a time, in slots of fixed width: adding and taking cost the same whatever the number. */
export class TimerWheel {
  private readonly slots = new Map<number, Set<string>>();
  private next = 0;

  /** @param slotMs width of a slot in milliseconds; keys come up to so much late */
  constructor(private readonly slotMs: number) {}

  /** Asks for `key` at the time `at` (milliseconds), or with the next `due` when that has passed. */
  add(key: string, at: number): void {
    const slot = Math.max(Math.floor(at / this.slotMs) + 1, this.next);
    let keys = this.slots.get(slot);
    if (keys === undefined) this.slots.set(slot, (keys = new Set()));
    keys.add(key);
  }

  /** Takes the keys whose time has come. */
  due(now: number): Set<string> {
    const current = Math.floor(now / this.slotMs);
    const keys = new Set<string>();
    for (const [slot, waiting] of this.slots) {
      if (slot > current) continue;
      for (const key of waiting) keys.add(key);
      this.slots.delete(slot);
    }
    this.next = current + 1;
    return keys;
  }
}
