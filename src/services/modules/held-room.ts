import { AsyncLocalStorage } from "node:async_hooks";

interface Held {
  readonly roomId: string;
  /** A callback of one room may write to another, whose events are judged in turn. */
  readonly outer: Held | undefined;
}

const held = new AsyncLocalStorage<Held>();

/** Runs a callback that judges an event while its room is held. */
export const whileRoomIsHeld = async <T>(roomId: string, fn: () => Promise<T>): Promise<T> => await held.run({ roomId, outer: held.getStore() }, fn);

/** @throws Error where a callback that judges an event of the room would wait for itself, by writing to that room */
export function requireRoomIsFree(roomId: string): void {
  for (let at = held.getStore(); at !== undefined; at = at.outer)
    if (at.roomId === roomId)
      throw new Error(`A callback that judges an event of ${roomId} cannot wait for another event there: do it later, by run_as_background_process`);
}

/** Runs what is no part of the judging any more. */
export const outsideOfHeldRoom = <T>(fn: () => T): T => held.exit(fn);
