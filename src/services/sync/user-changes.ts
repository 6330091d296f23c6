import type { RoomAnswer } from "./respond.ts";

/** Users whom the memberships in an answer show to have come or gone, for presence and device lists. */
export function userChanges(joined: readonly RoomAnswer[]): { arrived: Set<string>; departed: Set<string> } {
  const arrived = new Set<string>();
  const departed = new Set<string>();
  for (const room of joined) {
    for (const event of [...room.state, ...room.batch.events.map((item) => item.event)]) {
      if (event.type !== "m.room.member" || event.stateKey === undefined) continue;
      const userId = event.stateKey;
      if (event.membership === "join" || event.membership === "invite" || event.membership === "knock") {
        arrived.add(userId);
        departed.delete(userId);
      } else {
        arrived.delete(userId);
        departed.add(userId);
      }
    }
  }
  return { arrived, departed };
}
