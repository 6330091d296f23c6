/** Things that have the same key happen one after another, in the order in which they were asked for; others beside each other. */
export class KeyedMutex {
  private readonly last = new Map<string, Promise<void>>();

  /** Runs `fn` when all that was asked for before it under this key is over, well or badly; where there is none, at once. */
  async exclusively<T>(key: string, fn: () => Promise<T>): Promise<T> {
    const before = this.last.get(key);
    let release!: () => void;
    const mine = new Promise<void>((resolve) => (release = resolve));
    this.last.set(key, mine);
    try {
      if (before !== undefined) await before;
      return await fn();
    } finally {
      if (this.last.get(key) === mine) this.last.delete(key);
      release();
    }
  }
}
