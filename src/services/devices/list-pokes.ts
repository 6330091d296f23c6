import { Repeated } from "../../lib/repeated.ts";
import type { Context } from "../context.ts";
import {
  addOutboundPokes,
  convertedPosition,
  markRedundant,
  type OutboundPoke,
  type RoomChange,
  setConvertedPosition,
  unconvertedChanges,
} from "../../storage/devices/lists-outbound.ts";

const BATCH = 500;

/**
 * Turns changes of local devices, recorded for each room, into pokes for each server in those rooms. Runs by itself after each change and
 * at start; where it stopped is in the database, so that nothing is lost or told twice.
 */
export class DeviceListPokes {
  private readonly converting: Repeated;

  constructor(private readonly ctx: Pick<Context, "read" | "transaction" | "clock" | "log" | "streams" | "members" | "remote" | "config" | "changes">) {
    this.converting = new Repeated(
      () => this.convertAll(),
      (error) => ctx.log.named("synapse.handlers.device").warn("Device list changes could not be told to other servers", { error }),
    );
  }

  /** There may be changes to convert. */
  poke(): void {
    this.converting.poke();
  }

  /** Resolves when everything recorded so far has been converted. */
  settled(): Promise<void> {
    return this.converting.settled();
  }

  close(): Promise<void> {
    return this.converting.close();
  }

  private async convertAll(): Promise<void> {
    const { read, streams } = this.ctx;
    let position = await convertedPosition(read);
    let told: { streamId: number; servers: ReadonlySet<string> } = { streamId: 0, servers: new Set() };
    while (!this.converting.isClosed) {
      const upTo = streams.deviceLists.currentToken();
      const changes = await unconvertedChanges(read, position, upTo, BATCH);
      if (changes.length === 0) {
        if (upTo > position.streamId)
          await this.ctx.transaction("set_device_change_last_converted_pos", (txn) => setConvertedPosition(txn, upTo, "", streams.deviceLists.instanceName));
        return;
      }
      const last = changes.at(-1)!;
      position = { streamId: last.streamId, roomId: last.roomId };
      told = await this.convert(changes, position, told);
    }
  }

  /** One change has a row for each room: a server hears of it once, however many rooms it shares. */
  private async convert(
    changes: readonly RoomChange[],
    position: { streamId: number; roomId: string },
    before: { streamId: number; servers: ReadonlySet<string> },
  ): Promise<{ streamId: number; servers: ReadonlySet<string> }> {
    const done = new Set<string>();
    const groups: { change: RoomChange; servers: Set<string> }[] = [];
    for (const change of changes) {
      const key = JSON.stringify([change.userId, change.deviceId, change.roomId]);
      // A later change of the same device in the same room: the poke that is made here will tell the newest state.
      if (done.has(key)) continue;
      done.add(key);
      let group = groups.at(-1);
      if (group?.change.streamId !== change.streamId) groups.push((group = { change, servers: new Set() }));
      for (const server of await this.ctx.members.joinedServers(change.roomId)) group.servers.add(server);
    }
    const ownName = this.ctx.config.server.serverName;
    const pokes: Omit<OutboundPoke, "streamId">[][] = [];
    for (const { change, servers } of groups) {
      servers.delete(ownName);
      const fresh = change.streamId === before.streamId ? [...servers].filter((server) => !before.servers.has(server)) : [...servers];
      if (fresh.length > 0) pokes.push(fresh.map((destination) => ({ destination, userId: change.userId, deviceId: change.deviceId })));
    }
    const { streams, clock } = this.ctx;
    const destinations = new Set(pokes.flat().map((poke) => poke.destination));
    await this.ctx.transaction("add_device_list_outbound_pokes", async (txn) => {
      if (pokes.length > 0) {
        const ids = await streams.deviceLists.next(txn, pokes.length);
        const rows = pokes.flatMap((group, index) => group.map((poke) => ({ ...poke, streamId: ids[index]! })));
        await addOutboundPokes(txn, rows, clock.now(), streams.deviceLists.instanceName);
        txn.afterCommit(() => streams.deviceLists.whenVisible(ids.at(-1)!, () => this.ctx.remote.wake(destinations)));
      }
      await markRedundant(txn, changes);
      await setConvertedPosition(txn, position.streamId, position.roomId, streams.deviceLists.instanceName);
    });
    const last = groups.at(-1)!;
    const earlier = last.change.streamId === before.streamId ? before.servers : [];
    return { streamId: last.change.streamId, servers: new Set([...earlier, ...last.servers]) };
  }
}
