import type { CheckContext, DatabaseCheck } from "../context.ts";
import { count, note, warning } from "../finding.ts";
import type { Block } from "../queries/blocks.ts";
import * as events from "../queries/events.ts";
import * as state from "../queries/state.ts";
import { judge } from "./rooms.ts";

const groups: DatabaseCheck = {
  name: "state-groups",
  risks: [51],
  async run({ read, events: blocks }) {
    return [
      judge(await events.withoutStateGroup(read, blocks), {
        risk: 51,
        one: "event has no state group",
        many: "events have no state group",
        why: "Nothing can be sent after such an event: its room is dead, for Synapse as well.",
        todo: "Restore event_to_state_groups from a backup; else delete the room by the admin API and join it anew.",
        fine: "Events have their state groups",
      }),
      judge(await events.outliersWithStateGroup(read, blocks), {
        risk: 51,
        one: "outlier has a state group",
        many: "outliers have a state group",
        why: "Outliers have none: the event was taken in by halves.",
        todo: "While no server runs, delete these rows of event_to_state_groups.",
        fine: "Outliers have no state group",
      }),
      judge(await state.lostGroups(read, blocks), {
        risk: 51,
        one: "event has a state group that is gone, or another room's",
        many: "events have state groups that are gone, or other rooms'",
        why: "The state there is empty, or another room's.",
        todo: "Restore state_groups from a backup; else delete the room by the admin API and join it anew.",
        fine: "State groups of events are there, and of their rooms",
      }),
    ];
  },
};

const chains: DatabaseCheck = {
  name: "state-group-chains",
  risks: [65, 66],
  async run({ read, stateGroups, deep }) {
    return [
      judge(await state.wrongEdges(read, stateGroups), {
        risk: 66,
        one: "state group builds on a wrong one",
        many: "state groups build on wrong ones",
        why: "A group builds on one older group of its room at most: else its state is wrong, or endless.",
        todo: "Restore state_group_edges from a backup; an edge that stands there twice can be deleted.",
        fine: "Each state group builds on one older group of its room, or on none",
      }),
      judge(
        await state.longChains(read, stateGroups, deep ? 200 : 30),
        {
          risk: 65,
          one: "state group builds on more than 100 others",
          many: "state groups build on more than 100 others",
          why: "Reading such state is slow; Synapse stops at 100.",
          todo: "Run the state compressor over these rooms.",
          fine: "No state group builds on more than 100 others",
        },
        note,
      ),
    ];
  },
};

const inUse: DatabaseCheck = {
  name: "state-group-deletion",
  risks: [68],
  async run({ read }) {
    const drafts = [
      judge(await state.doomedGroups(read), {
        risk: 68,
        one: "state group that is in use waits to be deleted",
        many: "state groups that are in use wait to be deleted",
        why: "If it were deleted, the room of its events would be dead. Servers look once more before they do.",
        todo: "While no server runs, delete these rows of state_groups_pending_deletion.",
        fine: "No state group that is in use waits to be deleted",
      }),
    ];
    const left = await state.persistingGroups(read);
    if (left.length > 0) {
      const examples = left.map(({ instance, groups: number }) => `${instance}: ${number}`);
      const why = "They mark events on their way into the database; a server that was killed leaves them, and the groups are never cleared.";
      drafts.push(
        note("risk-68", {
          what: `${count(left.length, "instance has", "instances have")} state groups in hand`,
          why,
          todo: "Nothing while a server runs; after a clean stop there are none.",
          examples,
        }),
      );
    }
    return drafts;
  },
};

const chainCover: DatabaseCheck = {
  name: "chain-cover",
  risks: [59],
  run: async ({ read, events: blocks }) => [
    judge(await events.withoutChain(read, blocks), {
      risk: 59,
      one: "state event is not in the chain cover",
      many: "state events are not in the chain cover",
      why: "State resolution falls back to a slow walk, or takes the wrong difference: state resets weeks later.",
      todo: "While no server runs, set rooms.has_auth_chain_index to false for these rooms, delete their chains, and queue the background update chain_cover.",
      fine: "State events are in the chain cover, or wait for it",
    }),
  ],
};

// ------------------------------------------------------------------------------------------------------------------- with --deep

const rooms = (ctx: CheckContext) => state.roomsWithOneExtremity(ctx.read, 400);

/** Risks 55 and 67: the current state, the memberships and the state group of the last event tell the same. */
const currentState: DatabaseCheck = {
  name: "current-state",
  risks: [55, 67],
  deep: true,
  async run(ctx) {
    const sample = await rooms(ctx);
    const ids = sample.map(({ room_id }) => room_id);
    const different = await state.stateDifferences(
      ctx.read,
      ids,
      sample.map(({ state_group }) => state_group),
    );
    return [
      judge(different, {
        risk: 67,
        one: "piece of current state is not what the state groups say",
        many: "pieces of current state are not what the state groups say",
        why: "Members, names or rights are shown that the room does not have; or a removed one comes back.",
        todo: "Make these rooms resolve their state anew: join them again, or delete their state through the admin API.",
        fine: `The current state of ${count(sample.length, "room")} is what their state groups say`,
      }),
      judge(await state.membershipDifferences(ctx.read, ids, ctx.config.server.serverName), {
        risk: 55,
        one: "member is not the same in the tables of memberships",
        many: "members are not the same in the tables of memberships",
        why: "Rooms are missing in somebody's list, or stay there.",
        todo: "Compare with a backup; a leave and a join of these users mend it.",
        fine: "Memberships agree with the current state",
      }),
    ];
  },
};

/** Risk 57. */
const stateDeltas: DatabaseCheck = {
  name: "state-changes",
  risks: [57],
  deep: true,
  async run(ctx) {
    const sample = await rooms(ctx);
    return [
      judge(
        await state.deltaDifferences(
          ctx.read,
          sample.map(({ room_id }) => room_id),
        ),
        {
          risk: 57,
          one: "change of state does not lead to the current state",
          many: "changes of state do not lead to the current state",
          why: "The user directory, statistics and sync follow these changes.",
          todo: "Regenerate the user directory and the statistics (admin API, background updates).",
          fine: "Changes of state lead to the current state",
        },
      ),
    ];
  },
};

/** Risk 92. */
const statistics: DatabaseCheck = {
  name: "statistics",
  risks: [92],
  deep: true,
  async run(ctx) {
    const sample = await rooms(ctx);
    return [
      judge(
        await state.statisticsDifferences(
          ctx.read,
          sample.map(({ room_id }) => room_id),
        ),
        {
          risk: 92,
          one: "room's members are counted wrongly",
          many: "rooms' members are counted wrongly",
          why: "Room lists and the admin API show wrong numbers. Beside a running server the count may only be late.",
          todo: "Regenerate the statistics (admin API: background_updates/start_job populate_stats_process_rooms).",
          fine: "Counted members are the members",
        },
        ctx.deep ? warning : note,
      ),
    ];
  },
};

/** As many events as the walk over chains is worth. */
const someBlocks = (blocks: readonly Block[]): Block[] => blocks.slice(0, 20).map(({ from, to }) => ({ from: Math.max(from, to - 3000), to }));

const chainReach: DatabaseCheck = {
  name: "chain-cover-reach",
  risks: [59],
  deep: true,
  run: async ({ read, events: blocks }) => [
    judge(await state.uncoveredAuthEvents(read, someBlocks(blocks)), {
      risk: 59,
      one: "event's chain does not reach its auth events",
      many: "events' chains do not reach their auth events",
      why: "State resolution takes the wrong difference: state resets weeks later.",
      todo: "While no server runs, set rooms.has_auth_chain_index to false for their rooms, delete their chains, and queue the background update chain_cover.",
      fine: "Chains reach the auth events of their events",
    }),
  ],
};

/** Risk 102. */
const remains: DatabaseCheck = {
  name: "purged-rooms",
  risks: [102],
  deep: true,
  run: async ({ read }) => [
    judge(
      await state.remainsOfPurgedRooms(read),
      {
        risk: 102,
        one: "room that is gone has left rows",
        many: "rooms that are gone have left rows",
        why: "A purge was not finished, or a restore not complete; the rows do no harm but take room.",
        todo: "Delete such a room once more by the admin API (with purge and force_purge).",
        fine: "Rooms that were purged have left nothing",
      },
      note,
    ),
  ],
};

export const stateChecks: readonly DatabaseCheck[] = [groups, chains, inUse, chainCover, currentState, stateDeltas, statistics, chainReach, remains];
