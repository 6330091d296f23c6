import { UpdatableCache } from "../../lib/updatable-cache.ts";
import type { ReadHandle } from "../../storage/database.ts";
import { readTransactions } from "../../storage/events/graph.ts";

/**
 * Which event a client transaction made: a request that is repeated, also after a restart or by way of another server program, gets the
 * same event (risk 42). A device's transactions of the last day are read once; after that nothing is asked of the database.
 */
export class SendTransactions {
  private readonly devices: UpdatableCache<string, Map<string, string>>;
  private readonly underWay = new Map<string, Promise<string>>();

  constructor(
    private readonly read: ReadHandle,
    /** Transactions remembered, of all devices together. */
    limit = 300_000,
  ) {
    this.devices = new UpdatableCache(limit, (device) => device.size + 8);
  }

  /** Runs `send`, which returns an event id, unless this transaction was or is being sent: then its event id. */
  async once(userId: string, deviceId: string, roomId: string, txnId: string, send: () => Promise<string>): Promise<string> {
    const device = `${userId}\u0000${deviceId}`;
    const key = `${roomId}\u0000${txnId}`;
    const whole = `${device}\u0000${key}`;
    const running = this.underWay.get(whole);
    if (running !== undefined) return await running;
    const run = this.run(device, key, userId, deviceId, send);
    this.underWay.set(whole, run);
    try {
      return await run;
    } finally {
      this.underWay.delete(whole);
    }
  }

  /** The event that a transaction made, if it was sent. */
  async find(userId: string, deviceId: string, roomId: string, txnId: string): Promise<string | undefined> {
    return (await this.ofDevice(`${userId}\u0000${deviceId}`, userId, deviceId)).get(`${roomId}\u0000${txnId}`);
  }

  /** The device is gone: its transactions count no more. */
  forgetDevice(userId: string, deviceId: string): void {
    this.devices.delete(`${userId}\u0000${deviceId}`);
  }

  private async run(device: string, key: string, userId: string, deviceId: string, send: () => Promise<string>): Promise<string> {
    const sent = (await this.ofDevice(device, userId, deviceId)).get(key);
    if (sent !== undefined) return sent;
    const eventId = await send().catch((error: unknown) => {
      // It may have been stored all the same: the next attempt asks the database.
      this.devices.delete(device);
      throw error;
    });
    this.devices.update(device, (transactions) => transactions.set(key, eventId));
    return eventId;
  }

  private async ofDevice(device: string, userId: string, deviceId: string): Promise<Map<string, string>> {
    return await this.devices.get(device, async () => {
      const rows = await readTransactions(this.read, userId, deviceId);
      return new Map(rows.map(({ roomId, txnId, eventId }) => [`${roomId}\u0000${txnId}`, eventId]));
    });
  }
}
