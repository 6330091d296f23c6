/** Work that nobody waits for but whoever closes: it may fail, and its errors are told. */
export class BackgroundWork {
  private readonly underWay = new Set<Promise<void>>();

  /** @param failed hears of each error */
  constructor(private readonly failed: (error: unknown) => void) {}

  add(work: Promise<unknown>): void {
    const guarded = work
      .then(
        () => {},
        (error: unknown) => this.failed(error),
      )
      .finally(() => this.underWay.delete(guarded));
    this.underWay.add(guarded);
  }

  /** Resolves when nothing is under way. */
  async settled(): Promise<void> {
    while (this.underWay.size > 0) await Promise.all(this.underWay);
  }
}
