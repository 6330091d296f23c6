import type { MatrixEvent } from "../../protocol/event/event.ts";
import type { EventStore } from "../../storage/events/event-store.ts";
import type { ReadHandle } from "../../storage/database.ts";
import type { RoomVersions } from "../../storage/rooms/room-versions.ts";
import type { State, StateSnapshot } from "../../storage/state/snapshot.ts";

export async function resolveState(
  _ctx: { readonly events: EventStore; readonly read: ReadHandle; readonly roomVersions: RoomVersions },
  roomId: string,
  states: readonly StateSnapshot[],
  _known: ReadonlyMap<string, MatrixEvent>,
): Promise<State> {
  throw new Error(`resolution of ${states.length} states in ${roomId}`);
}
