import type { Clock } from "../../lib/clock.ts";
import { MatrixError } from "../../protocol/errors.ts";

const LIFETIME_MS = 5 * 60_000;

/**
 * Upgrades under way and of the last five minutes: who asks again gets the same new room, others are refused, so that one room is not
 * replaced twice by a crowd (as Synapse).
 */
export class RoomUpgrades {
  private readonly byRoom = new Map<string, { readonly userId: string; readonly newRoom: Promise<string> }>();

  constructor(private readonly clock: Clock) {}

  /** @throws MatrixError 400 while another user's upgrade of the room is remembered */
  async once(oldRoomId: string, userId: string, run: () => Promise<string>): Promise<string> {
    const known = this.byRoom.get(oldRoomId);
    if (known !== undefined) {
      if (known.userId !== userId) throw new MatrixError(400, "M_UNKNOWN", "An upgrade for this room is currently in progress");
      return await known.newRoom;
    }
    const entry = { userId, newRoom: run() };
    this.byRoom.set(oldRoomId, entry);
    const forget = (): void => void (this.byRoom.get(oldRoomId) === entry && this.byRoom.delete(oldRoomId));
    entry.newRoom.then(() => this.clock.after(LIFETIME_MS, forget), forget);
    return await entry.newRoom;
  }
}
