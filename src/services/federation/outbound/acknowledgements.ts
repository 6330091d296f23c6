import { setLastSuccessful } from "../../../storage/federation/destinations.ts";
import type { Context } from "../../context.ts";

/** Writes down how far the servers have received events: what comes while one write is under way goes with the next, whatever the servers. */
export class Acknowledgements {
  private waiting = new Map<string, number>();
  private writing: Promise<void> = Promise.resolve();
  private next: Promise<void> | undefined;

  constructor(private readonly ctx: Pick<Context, "transaction">) {}

  /** Resolves when it is written down that the server has the events up to that position. */
  note(destination: string, position: number): Promise<void> {
    this.waiting.set(destination, position);
    return (this.next ??= this.writeNext());
  }

  private async writeNext(): Promise<void> {
    await this.writing.catch(() => {}); // those who asked for that write know
    this.next = undefined;
    const positions = this.waiting;
    this.waiting = new Map();
    this.writing = this.ctx.transaction("federation_sent", (txn) => setLastSuccessful(txn, positions), { isolation: "read committed" });
    await this.writing;
  }
}
