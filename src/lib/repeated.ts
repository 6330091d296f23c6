/** Work to be done whenever something has changed: never twice at a time, and once more when something changed meanwhile. */
export class Repeated {
  private running: Promise<void> | undefined;
  private again = false;
  private closed = false;

  /** @param failed hears of errors of `work`, which is not repeated for them: it may `poke` later */
  constructor(
    private readonly work: () => Promise<void>,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Something has changed. */
  poke(): void {
    if (this.closed) return;
    this.again = true;
    this.running ??= this.run().finally(() => {
      this.running = undefined;
      if (this.again) this.poke();
    });
  }

  /** True from `stop` or `close` on: work that is long ends early. */
  get isClosed(): boolean {
    return this.closed;
  }

  /** Begins nothing any more. */
  stop(): void {
    this.closed = true;
  }

  /** Resolves when all that has changed so far is dealt with. */
  async settled(): Promise<void> {
    while (this.running !== undefined) await this.running;
  }

  /** Begins nothing any more, and waits for what is under way. */
  async close(): Promise<void> {
    this.stop();
    await this.settled();
  }

  private async run(): Promise<void> {
    while (this.again && !this.closed) {
      this.again = false;
      try {
        await this.work();
      } catch (error) {
        this.failed(error);
      }
    }
  }
}
