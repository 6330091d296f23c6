import { splitStateKey } from "../../../protocol/event/event.ts";
import { query, type Txn } from "../../database.ts";
import type { StateSnapshot } from "../../state/snapshot.ts";
import { insertAll } from "./bulk.ts";

/** Stores a state as a group, with those that it is a delta on, made for that event. They lose their numbers again when the transaction fails. */
export async function storeStateGroup(txn: Txn, snapshot: StateSnapshot, eventId: string): Promise<number> {
  const chain: StateSnapshot[] = [];
  for (let at: StateSnapshot | undefined = snapshot; at !== undefined && at.id === undefined; at = at.rows().base) chain.unshift(at);
  txn.afterRollback(() => {
    for (const one of chain) one.id = undefined;
  });
  for (const one of chain) {
    const [row] = await query<{ id: number }>(txn, `SELECT nextval('state_group_id_seq') AS id`);
    one.id = row!.id;
    const { base, entries } = one.rows();
    await insertAll(txn, "state_groups", { id: "bigint", room_id: "text", event_id: "text" }, [[one.id, one.roomId, eventId]]);
    if (base !== undefined) await insertAll(txn, "state_group_edges", { state_group: "bigint", prev_state_group: "bigint" }, [[one.id, base.id]]);
    const states = [...entries].map(([key, id]) => [one.id, one.roomId, ...splitStateKey(key), id]);
    await insertAll(txn, "state_groups_state", { state_group: "bigint", room_id: "text", type: "text", state_key: "text", event_id: "text" }, states);
  }
  txn.afterCommit(() => {
    for (const one of chain) one.settle();
  });
  return snapshot.id!;
}
