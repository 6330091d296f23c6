/** Lets only so many things happen at once; the others wait in order. */
export class Turns {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly limit: number) {}

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.running >= this.limit) await new Promise<void>((resolve) => this.waiting.push(resolve));
    else this.running++;
    try {
      return await work();
    } finally {
      // The place is handed over, so that nobody who comes later overtakes those who wait.
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}
