import { serversOfPartialRooms } from "../../storage/federation/partial-state.ts";
import type { ReadHandle } from "../../storage/database.ts";

/** Rooms whose state is not wholly known yet (`partial_state_rooms`): few, as a rule none, so all are kept in mind. */
export class PartialRooms {
  private rooms: Promise<Map<string, readonly string[]>> | undefined;

  constructor(private readonly read: ReadHandle) {}

  /** Servers that were in the room when this one joined; undefined when the room's state is known. */
  async serversOf(roomId: string): Promise<readonly string[] | undefined> {
    return (await this.all()).get(roomId);
  }

  async all(): Promise<ReadonlyMap<string, readonly string[]>> {
    this.rooms ??= serversOfPartialRooms(this.read);
    this.rooms.catch(() => (this.rooms = undefined));
    return await this.rooms;
  }

  /** Rooms were added or completed. */
  forget(): void {
    this.rooms = undefined;
  }
}
