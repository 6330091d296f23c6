/** Lets only so many things happen at once; the others wait in order. */
export class Turns {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly limit: number) {}

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (!this.enter()) await this.wait();
    try {
      return await work();
    } finally {
      this.leave();
    }
  }

  /** Takes a place, to be left with `leave`; false when there is none: `wait` for it then. */
  enter(): boolean {
    if (this.running >= this.limit) return false;
    this.running++;
    return true;
  }

  /** Resolves with a place, to be left with `leave`. */
  wait(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  leave(): void {
    // The place is handed over, so that nobody who comes later overtakes those who wait.
    const next = this.waiting.shift();
    if (next === undefined) this.running--;
    else next();
  }
}
