/** Deleting rooms for good, which another part of the server does as a scheduled task. */
export interface RoomPurges {
  /** Purges the room at that time (milliseconds since the epoch), unless somebody is in it again. */
  schedule(roomId: string, at: number): Promise<void>;
}

export const noRoomPurges: RoomPurges = { schedule: () => Promise.resolve() };
