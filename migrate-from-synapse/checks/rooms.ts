import { roomVersion } from "../../src/protocol/room-versions.ts";
import type { CheckContext, DatabaseCheck } from "../context.ts";
import { count, type Draft, duration, note, ok, thousands, warning } from "../finding.ts";
import type { Broken } from "../queries/broken.ts";
import * as events from "../queries/events.ts";
import * as rooms from "../queries/rooms.ts";
import { pendingUpdates } from "../queries/schema.ts";

/** What one rule found: a warning with its words, or that all is well. */
export interface RuleWords {
  readonly risk: number;
  /** `events have` ... for many, `event has` for one; the number is put before it. */
  readonly one: string;
  readonly many: string;
  readonly why: string;
  readonly todo: string;
  readonly fine: string;
}

export const riskId = (risk: number): string => `risk-${String(risk).padStart(2, "0")}`;

export function judge(found: Broken, words: RuleWords, level: typeof warning = warning): Draft {
  const id = riskId(words.risk);
  if (found.count === 0) return ok(id, words.fine);
  const what = `${found.more ? "More than " : ""}${count(found.count, words.one, words.many)}`;
  return level(id, { what, why: words.why, todo: words.todo, examples: found.examples });
}

/** Damage of this kind is there already, under Synapse: it does not stand in the way of the swap, but does not heal by it. */
const SAME = "Synapse has the same trouble with them now.";

const versions: DatabaseCheck = {
  name: "room-versions",
  risks: [48],
  async run({ read }) {
    const found: Draft[] = [];
    const all = await rooms.roomVersions(read);
    const unknown = all.filter(({ version }) => version !== null && roomVersion(version) === undefined);
    const none = all.find(({ version }) => version === null);
    const unstable = all.filter(({ version }) => version !== null && roomVersion(version)?.stable === false);
    if (unknown.length > 0) {
      const number = unknown.reduce((sum, each) => sum + each.rooms, 0);
      const why = "Their events cannot be read, neither by Myelin nor by Synapse 1.160.";
      found.push(
        warning("risk-48", {
          what: `${count(number, "room is", "rooms are")} of a version that is not known`,
          why,
          todo: "Leave these rooms, or use a server that knows the version.",
          examples: unknown.map(({ version, rooms: n }) => `${version} (${n})`),
        }),
      );
    }
    if (none !== undefined) {
      const why = "Their events are skipped where the version is needed; servers before 1.8 left it out.";
      found.push(
        warning("risk-48", {
          what: `${count(none.rooms, "room has", "rooms have")} no version`,
          why,
          todo: "Set rooms.room_version from their create events ('1' where these name none).",
        }),
      );
    }
    if (unstable.length > 0) {
      found.push(
        note("unusual-rooms", {
          what: `${count(
            unstable.reduce((sum, each) => sum + each.rooms, 0),
            "room is",
            "rooms are",
          )} of an experimental version`,
          why: "They work as long as both servers know it.",
          todo: "Upgrade them to a stable version when that is possible.",
          examples: unstable.map(({ version, rooms: n }) => `${version} (${n})`),
        }),
      );
    }
    const text = all.map(({ version, rooms: n }) => `${version ?? "none"}: ${thousands(n)}`).join(", ");
    return found.length > 0 ? found : [ok("risk-48", `All rooms are of versions that Myelin knows (${text || "there are none"})`)];
  },
};

const largest: DatabaseCheck = {
  name: "large-rooms",
  risks: [],
  async run({ read }) {
    const large = await rooms.largestRooms(read, 10_000);
    if (large.length === 0) return [ok("unusual-rooms", "No room has more than 10,000 pieces of state")];
    const examples = large.map(({ room_id, state, members }) => `${room_id}: ${thousands(state)} pieces of state, ${count(members, "member")}`);
    return [ok("unusual-rooms", `The largest rooms: ${examples.join("; ")}`)];
  },
};

const existence: DatabaseCheck = {
  name: "rooms",
  risks: [49],
  run: async ({ read }) => [
    judge(await rooms.unknownRooms(read), {
      risk: 49,
      one: "room has no row in `rooms`",
      many: "rooms have no row in `rooms`",
      why: `Nothing can be sent there, and they cannot be purged. ${SAME}`,
      todo: "Restore the rows from a backup, or delete what is left of these rooms.",
      fine: "Each room that is in use has its row",
    }),
  ],
};

const extremities: DatabaseCheck = {
  name: "extremities",
  risks: [53],
  async run({ read }) {
    const many = await rooms.roomsWithManyExtremities(read);
    const drafts = [
      judge(await rooms.roomsWithoutExtremities(read), {
        risk: 53,
        one: "room that we are in has no forward extremity",
        many: "rooms that we are in have no forward extremity",
        why: `Nothing can be sent there. ${SAME}`,
        todo: "Leave and join again through another server, or delete the room by the admin API.",
        fine: "Each room that we are in has a forward extremity",
      }),
      judge(await rooms.wrongExtremities(read), {
        risk: 53,
        one: "forward extremity is no event that can be one",
        many: "forward extremities are no events that can be one",
        why: "Unknown, rejected or already followed: new events would build on the wrong ones.",
        todo: "While no server runs, delete these rows of event_forward_extremities where the room has others.",
        fine: "Forward extremities are accepted events that nothing follows",
      }),
    ];
    if (many.count > 0) {
      const why = "Each message has to resolve the state between them: slow sends, much work.";
      const todo = "Send something into these rooms; or delete surplus ones by the admin API (forward_extremities).";
      drafts.push(
        note("risk-53", { what: `${count(many.count, "room has", "rooms have")} more than 10 forward extremities`, why, todo, examples: many.examples }),
      );
    }
    return drafts;
  },
};

const rejections: DatabaseCheck = {
  name: "rejections",
  risks: [52],
  async run({ read, events: blocks }) {
    const words = {
      risk: 52,
      one: "rejected event is not marked in both places",
      many: "rejected events are not marked in both places",
      why: "A rejected event could be shown, or taken for state.",
      todo: "Give `events.rejection_reason` and `rejections` the same reason.",
      fine: "Rejected events are marked as such in both places",
    };
    const one = await rooms.rejectedButNotMarked(read);
    return [judge(one.count > 0 ? one : await events.rejectedWithoutReason(read, blocks), words)];
  },
};

const depths: DatabaseCheck = {
  name: "depths",
  risks: [60],
  run: async ({ read }) => [
    judge(await rooms.tooDeep(read), {
      risk: 60,
      one: "room has grown too deep",
      many: "rooms have grown too deep",
      why: "Depth is at the end of its numbers: messages are in the wrong order. An old attack, or a broken server.",
      todo: "Move on to a new room (an upgrade of the room).",
      fine: "No room has grown too deep",
    }),
  ],
};

const partial: DatabaseCheck = {
  name: "partial-state",
  risks: [62],
  async run({ read, target }) {
    const { rooms: number, examples } = await rooms.partialRooms(read);
    if (number === 0) return [ok("risk-62", "No room waits for its whole state")];
    const who = target === "myelin" ? "Myelin" : "Synapse";
    return [
      warning("risk-62", {
        what: `${count(number, "room waits", "rooms wait")} for the whole state after joining`,
        why: `${who} has to fetch it anew; until then such a room is hidden from some clients.`,
        todo: "Wait until there are none, and check again.",
        examples,
      }),
    ];
  },
};

const censoring: DatabaseCheck = {
  name: "redactions",
  risks: [61],
  async run({ config, read, facts }) {
    const retention = config.server.redactionRetentionPeriodMs;
    if (retention === undefined) return [ok("risk-61", "Redacted content is kept for ever, as configured")];
    const due = await rooms.redactionsDue(read, facts.now - retention - 86_400_000);
    if (due < 1000) return [ok("risk-61", `Redacted content is taken away after ${duration(retention)}`)];
    return [
      note("risk-61", {
        what: `${count(due, "redacted event")} should have been stripped of their content`,
        why: "The work is behind; who redacted something may rely on it.",
        todo: "Nothing: the next server goes on with it.",
      }),
    ];
  },
};

const derived: DatabaseCheck = {
  name: "derived-rows",
  risks: [55, 63],
  async run({ read, events: blocks }) {
    return [
      judge(await events.withoutDerivedRows(read, blocks), {
        risk: 63,
        one: "state event lacks its rows in state_events or room_memberships",
        many: "state events lack their rows in state_events or room_memberships",
        why: `Members and state are missing where these tables are read. ${SAME}`,
        todo: "Find out which restore lost them; fetch the rows from a backup.",
        fine: "State events have the rows that are derived from them",
      }),
      judge(await rooms.stateWithoutOrdering(read), {
        risk: 55,
        one: "room has current state without its position",
        many: "rows of current state have no position",
        why: "Sync could miss these changes.",
        todo: "Let Synapse's background updates finish, and check again.",
        fine: "All current state has its position",
      }),
    ];
  },
};

const orderings: DatabaseCheck = {
  name: "copied-orderings",
  risks: [56],
  run: async ({ read, events: blocks }) => [
    judge(await events.otherOrderings(read, blocks), {
      risk: 56,
      one: "state event has another position in the tables of members or state",
      many: "state events have other positions in the tables of members or state",
      why: "Writing to such rows is refused by the database's own trigger.",
      todo: "While no server runs, copy events.stream_ordering into these rows.",
      fine: "Positions that are copied from events are the same there",
    }),
  ],
};

const history: DatabaseCheck = {
  name: "extremity-history",
  risks: [58],
  run: async ({ read, events: blocks }) => [
    judge(await events.withoutExtremityHistory(read, blocks), {
      risk: 58,
      one: "room's newest events are missing in stream_ordering_to_exterm",
      many: "rooms' newest events are missing in stream_ordering_to_exterm",
      why: "State at a sync token, and who must learn of new devices, is wrong until the room's next event.",
      todo: "Nothing much: the next event in each room mends it. A restore lost these rows; see what else it lost.",
      fine: "Extremities of the newest events are noted",
    }),
  ],
};

/** Of a large database only the newest memberships, unless asked for all. */
const newest = (ctx: CheckContext): number | null => (ctx.deep || (ctx.facts.rows.get("local_current_membership") ?? 0) < 50_000 ? null : 50_000);

const slidingSync: DatabaseCheck = {
  name: "sliding-sync",
  risks: [81, 82],
  async run(ctx) {
    const { read } = ctx;
    const filling = (await pendingUpdates(read)).filter(({ name }) => /^sliding_sync_.*_bg_update$/.test(name));
    if (filling.length > 0) return [ok("risk-81", "Sliding sync's tables are being filled by background updates")];
    const why = "Sliding sync (Element X) shows these rooms wrongly, and no server notices by itself.";
    const todo =
      "While no server runs, empty sliding_sync_joined_rooms and sliding_sync_membership_snapshots, and queue Synapse's three sliding_sync background updates again.";
    return [
      judge(await rooms.joinedRoomsNotInSlidingSync(read), {
        risk: 81,
        one: "room is missing in sliding_sync_joined_rooms",
        many: "rooms are missing in sliding_sync_joined_rooms",
        why,
        todo,
        fine: "Sliding sync knows each room that we are in",
      }),
      judge(await events.staleSlidingRooms(read, ctx.events), {
        risk: 81,
        one: "room stands still in sliding_sync_joined_rooms",
        many: "rooms stand still in sliding_sync_joined_rooms",
        why,
        todo,
        fine: "Sliding sync's rooms follow their newest events",
      }),
      judge(await rooms.staleSnapshots(read, newest(ctx)), {
        risk: 81,
        one: "membership has no snapshot, or an old one, for sliding sync",
        many: "memberships have no snapshot, or an old one, for sliding sync",
        why,
        todo,
        fine: "Sliding sync's memberships are the memberships",
      }),
      judge(await rooms.staleForgotten(read, newest(ctx)), {
        risk: 82,
        one: "forgotten room is remembered by sliding sync, or the other way round",
        many: "forgotten rooms are remembered by sliding sync, or the other way round",
        why: "Rooms that users have forgotten come back in their lists.",
        todo: "Queue Synapse's background update sliding_sync_membership_snapshots_fix_forgotten_column_bg_update.",
        fine: "Forgotten rooms are forgotten by sliding sync, too",
      }),
    ];
  },
};

const connections: DatabaseCheck = {
  name: "sliding-sync-connections",
  risks: [83],
  async run({ read, facts }) {
    const { connections: number, old } = await rooms.slidingConnections(read, facts.now - 14 * 86_400_000);
    if (old <= 1000) return [ok("risk-83", `${count(number, "connection")} of sliding sync go on where they are`)];
    return [
      note("risk-83", {
        what: `${count(old, "connection")} of sliding sync have not been used for two weeks`,
        why: "They should have been deleted after seven days.",
        todo: "Nothing: the next server deletes them.",
      }),
    ];
  },
};

const invites: DatabaseCheck = {
  name: "invite-state",
  risks: [101],
  run: async ({ read }) => [
    judge(
      await rooms.invitesWithoutState(read),
      {
        risk: 101,
        one: "invite from another server holds no state of its room",
        many: "invites from other servers hold no state of their rooms",
        why: "Clients cannot show what the room is called.",
        todo: "Nothing: the inviting server left it out.",
        fine: "Invites from other servers tell what room they are for",
      },
      note,
    ),
  ],
};

export const roomChecks: readonly DatabaseCheck[] = [
  versions,
  largest,
  existence,
  extremities,
  rejections,
  depths,
  partial,
  censoring,
  derived,
  orderings,
  history,
  slidingSync,
  connections,
  invites,
];
