import type { Context } from "../../context.ts";
import { ServerAcls } from "./access.ts";
import { HostLimiter } from "./host-limiter.ts";
import { InboundRooms } from "./inbound-rooms.ts";
import { InboundTransactions } from "./transactions.ts";

/** What this server keeps in mind about what other servers send and ask. */
export class InboundFederation {
  readonly acls = new ServerAcls();
  readonly limiter: HostLimiter;
  readonly rooms: InboundRooms;
  readonly transactions: InboundTransactions;

  constructor(basis: Pick<Context, "clock" | "config">, context: () => Context) {
    this.limiter = new HostLimiter(basis.config.ratelimiting.federation, basis.clock);
    this.rooms = new InboundRooms(context);
    this.transactions = new InboundTransactions(context);
  }

  async close(): Promise<void> {
    await this.rooms.close();
  }
}
