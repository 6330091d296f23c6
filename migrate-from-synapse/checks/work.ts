import { BEFORE_SERVING, LEFT_TO_SYNAPSE } from "../../src/storage/jobs/background-updates.ts";
import type { DatabaseCheck } from "../context.ts";
import { blocker, count, type Draft, duration, note, ok, thousands, warning } from "../finding.ts";
import { knowsUpdate, TASK_ACTIONS } from "../programs.ts";
import { pendingUpdates } from "../queries/schema.ts";
import * as streams from "../queries/streams.ts";
import * as work from "../queries/work.ts";
import { judge } from "./rooms.ts";

/** Risks 70 and 71. */
const updates: DatabaseCheck = {
  name: "background-updates",
  risks: [70, 71],
  async run({ read, target }) {
    const pending = await pendingUpdates(read);
    if (pending.length === 0) return [ok("risk-70", "No background update waits"), ok("risk-71", "All unique indexes that writers rely on are made")];
    const found: Draft[] = [];
    const server = target === "myelin" ? "Myelin" : "Synapse 1.160";
    const unknown = pending.filter(({ name }) => !knowsUpdate(target, name)).map(({ name }) => name);
    if (unknown.length > 0) {
      found.push(
        blocker("risk-70", {
          what: `${count(unknown.length, "background update waits", "background updates wait")} that ${server} does not know`,
          why: unknown.some((name) => LEFT_TO_SYNAPSE.has(name)) ? "Myelin does not start while they wait." : "All that come after it would wait for ever.",
          todo:
            target === "myelin"
              ? "Let the Synapse that queued them finish them, then check again."
              : "Let the server that queued them finish them, or use a newer Synapse.",
          examples: unknown,
        }),
      );
    }
    const first = pending.filter(({ name }) => BEFORE_SERVING.has(name)).map(({ name }) => name);
    if (first.length > 0) {
      const why =
        target === "myelin"
          ? "Myelin runs them before it serves anybody: on large tables the first start takes long."
          : "Until then Synapse writes these tables the slow way.";
      found.push(
        warning("risk-71", {
          what: `${count(first.length, "background update")} for unique indexes ${first.length === 1 ? "waits" : "wait"}`,
          why,
          todo: "Let Synapse finish them, then check again.",
          examples: first,
        }),
      );
    }
    const rest = pending.map(({ name }) => name).filter((name) => !unknown.includes(name) && !first.includes(name));
    if (rest.length > 0) {
      const todo = "Better wait until there are none (admin API: background_updates/status).";
      found.push(
        note("risk-70", {
          what: `${count(rest.length, "background update waits", "background updates wait")}`,
          why: `${server} goes on with them where they stand.`,
          todo,
          examples: rest.slice(0, 8),
        }),
      );
    }
    const names = new Set(pending.map(({ name }) => name));
    const stuck = pending.filter(({ name, dependsOn }) => dependsOn === name);
    if (stuck.length > 0) {
      found.push(
        blocker("risk-70", {
          what: "A background update waits for itself",
          why: "It never runs, and neither do those after it.",
          todo: "Correct background_updates.depends_on.",
          examples: stuck.filter(({ name }) => names.has(name)).map(({ name }) => name),
        }),
      );
    }
    return found;
  },
};

/** Risk 74. */
const tasks: DatabaseCheck = {
  name: "scheduled-tasks",
  risks: [74],
  async run({ read, target }) {
    const all = await work.tasks(read);
    const found: Draft[] = [];
    const unknown = all.filter(({ action }) => !TASK_ACTIONS.has(action));
    if (unknown.length > 0) {
      const why = `${target === "myelin" ? "Myelin" : "Synapse 1.160"} does not know what to do for them, and says so each time.`;
      found.push(
        warning("risk-74", {
          what: `${count(
            unknown.reduce((sum, each) => sum + each.tasks, 0),
            "task",
          )} of an unknown kind wait`,
          why,
          todo: "Let the server that made them finish them.",
          examples: unknown.map(({ action }) => action),
        }),
      );
    }
    const waiting = all.filter(({ action }) => TASK_ACTIONS.has(action) && action !== "delete_old_otks");
    if (waiting.length > 0) {
      const examples = waiting.map(({ action, status, tasks: n }) => `${action}: ${n} ${status}`);
      found.push(
        note("risk-74", {
          what: `${count(
            waiting.reduce((sum, each) => sum + each.tasks, 0),
            "task",
          )} of admins or users ${waiting.length === 1 ? "is" : "are"} under way`,
          why: "The next server goes on with them.",
          todo: "Nothing.",
          examples,
        }),
      );
    }
    return found.length > 0 ? found : [ok("risk-74", "No long task is under way")];
  },
};

/** Risks 75, 79 and 91: what is under way from or to somebody. */
const inFlight: DatabaseCheck = {
  name: "in-flight",
  risks: [75, 79, 91],
  async run({ read, facts }) {
    const found: Draft[] = [];
    const delayed = facts.tables.has("delayed_events") ? await work.delayedEvents(read) : { waiting: 0, next: null };
    found.push(
      delayed.waiting === 0
        ? ok("risk-75", "No delayed event waits")
        : note("risk-75", {
            what: `${count(delayed.waiting, "delayed event waits", "delayed events wait")}`,
            why: "The next server sends them when they are due, late ones at once.",
            todo: "Keep the pause between the servers short.",
          }),
    );
    const inbound = await work.inboundStaging(read);
    if (inbound.events === 0) found.push(ok("risk-91", "All events from other servers are taken in"));
    else {
      const age = facts.now - (inbound.oldest ?? facts.now);
      const words = {
        what: `${count(inbound.events, "event")} from other servers ${inbound.events === 1 ? "waits" : "wait"} to be taken in`,
        why: "The next server goes on with them.",
        todo: "Best let the queue drain first.",
      };
      const stuck = {
        ...words,
        why: `The oldest has waited for ${duration(age)}: the queue does not move.`,
        todo: "Find out what holds it up (its room may be broken) before the swap.",
      };
      found.push(age > 3_600_000 ? warning("risk-91", stuck) : note("risk-91", words));
    }
    found.push(
      judge(await work.staleStaging(read, facts.now - 2 * 86_400_000), {
        risk: 79,
        one: "notification was never brought to its user",
        many: "notifications were never brought to their users",
        why: "They were prepared for an event that was not stored, or the cleaning of event_push_actions_staging does not run.",
        todo: "Nothing: Myelin empties the table when it stops; the rows count for nothing.",
        fine: "No prepared notification is left over",
      }),
    );
    return found;
  },
};

const NAMES: Readonly<Record<string, string>> = { stats_incremental_position: "statistics", user_directory_stream_pos: "user directory" };

/** Risks 77, 78 and 84. */
const followers: DatabaseCheck = {
  name: "followers",
  risks: [77, 78, 84],
  async run({ read, facts }) {
    const rows = await streams.followers(read, facts.tables);
    const found: Draft[] = [];
    const wrong = rows.filter((row) => row.rows !== 1);
    if (wrong.length > 0) {
      found.push(
        blocker("risk-77", {
          what: `${count(wrong.length, "table", "tables")} of one row ${wrong.length === 1 ? "has" : "have"} more or none`,
          why: "Myelin does not start; in Synapse the work that it stands for fails for ever.",
          todo: "Restore the row from the backup that the other tables came from; no value but the right one is safe.",
          examples: wrong.map(({ name, rows: n }) => `${name}: ${n}`),
        }),
      );
    } else found.push(ok("risk-77", `All ${rows.length} tables of one row have one`));
    const ahead = rows.filter(({ position, reached }) => position !== null && position > reached);
    for (const { name, position, reached } of ahead) {
      const push = name.startsWith("event_push");
      found.push(
        warning(push ? "risk-78" : "risk-84", {
          what: `${name} stands at ${thousands(position!)}, and its stream at ${thousands(reached)}`,
          why: push ? "New messages would not be counted as unread until the stream gets there." : "The work waits until the stream gets there.",
          todo: "Restore the row from the backup that the other tables came from; see what else is newer than the rest.",
        }),
      );
    }
    if (!ahead.some(({ name }) => name.startsWith("event_push"))) found.push(ok("risk-78", "Counts of unread messages follow their streams"));
    const rebuild = rows.filter(({ position, name, rows: n }) => n === 1 && position === null && name in NAMES).map(({ name }) => NAMES[name]!);
    if (rebuild.length > 0) {
      found.push(
        note("risk-84", {
          what: `The ${rebuild.join(" and the ")} ${rebuild.length === 1 ? "is" : "are"} to be built anew`,
          why: "Searches and lists are incomplete until that is done.",
          todo: "Nothing: it is done in the background.",
        }),
      );
    } else if (!ahead.some(({ name }) => name in NAMES)) found.push(ok("risk-84", "User directory and statistics follow their stream"));
    return found;
  },
};

/** Risk 85. */
const appservices: DatabaseCheck = {
  name: "appservices",
  risks: [85],
  async run({ config, read }) {
    const found: Draft[] = [];
    const configured = new Set(config.appservice.registrations.map(({ id }) => id));
    const all = await work.appserviceWork(read);
    const ahead = await work.appservicesAhead(read);
    if (ahead.count > 0) {
      const why = "It would get nothing of this kind until the streams get there.";
      found.push(
        warning("risk-85", {
          what: `${count(ahead.count, "application service has", "application services have")} got more than there is`,
          why,
          todo: "Restore application_services_state from the backup that the other tables came from.",
          examples: ahead.examples,
        }),
      );
    }
    const gone = all.filter(({ id, waiting }) => !configured.has(id) && waiting > 0);
    if (gone.length > 0) {
      const why = "Their registration files are not in app_service_config_files; nobody gets what waits.";
      found.push(
        warning("risk-85", {
          what: `${count(gone.length, "application service")} that the configuration does not name ${gone.length === 1 ? "has" : "have"} transactions waiting`,
          why,
          todo: "Give --config-path all files that Synapse runs with; if the service is gone for good, nothing.",
          examples: gone.map(({ id, waiting }) => `${id}: ${waiting}`),
        }),
      );
    }
    const down = all.filter(({ id, waiting, state }) => configured.has(id) && (waiting > 0 || state === "down"));
    if (down.length > 0) {
      const why = "They are sent in order with the same ids when the service answers again.";
      found.push(
        note("risk-85", {
          what: `${count(down.length, "application service")} ${down.length === 1 ? "has" : "have"} transactions waiting`,
          why,
          todo: "See that the bridge runs.",
          examples: down.map(({ id, waiting, state }) => `${id}: ${waiting}${state === "down" ? ", does not answer" : ""}`),
        }),
      );
    }
    return found.length > 0
      ? found
      : [ok("risk-85", configured.size === 0 ? "There are no application services" : "Application services have got what there was")];
  },
};

/** Risks 86 and 87. */
const federation: DatabaseCheck = {
  name: "federation-positions",
  risks: [86, 87],
  async run({ config, read, target }) {
    const found: Draft[] = [];
    const rows = await streams.federationPositions(read);
    const senders = new Set(config.workers.federationSenderInstances);
    const ahead = rows.filter(({ position, reached }) => reached !== null && position > reached);
    if (ahead.length > 0) {
      const examples = ahead.map(({ type, instance, position, reached }) => `${type} of ${instance}: ${position}, the stream ${reached}`);
      found.push(
        warning("risk-86", {
          what: "More was sent to other servers than there is",
          why: "Nothing is sent until the stream gets there.",
          todo: "Restore federation_stream_position from the backup that the other tables came from.",
          examples,
        }),
      );
    }
    const events = rows.filter(({ type }) => type === "events").map(({ instance }) => instance);
    const strange = events.filter((name) => !senders.has(name));
    if (events.length === 0 && senders.size > 0) {
      found.push(
        warning("risk-86", {
          what: "How far events were sent to other servers is not noted",
          why: "The sender begins anew, or is silent.",
          todo: "Restore federation_stream_position from a backup.",
        }),
      );
    } else if (strange.length > 0) {
      const why =
        target === "myelin"
          ? "The lowest position counts; what was sent meanwhile is not sent twice, as servers drop what they know."
          : "Synapse takes the lowest position and sends from there.";
      found.push(
        note("risk-86", {
          what: `${count(strange.length, "position is", "positions are")} of senders that the configuration does not name`,
          why,
          todo: "Nothing.",
          examples: strange,
        }),
      );
    }
    if (found.length === 0) found.push(ok("risk-86", "How far events were sent to other servers is known"));
    const { succeeded, rooms, reached } = await streams.destinationPositions(read);
    const most = Math.max(succeeded ?? 0, rooms ?? 0);
    if (most > reached) {
      const what = `Other servers have got events up to ${thousands(most)}, and the stream stands at ${thousands(reached)}`;
      found.push(
        warning("risk-87", {
          what,
          why: "What is sent between these would not be sent again after an outage.",
          todo: "See the findings about sequences: the database is younger than these tables.",
        }),
      );
    } else found.push(ok("risk-87", "What each server has got is behind the stream"));
    return found;
  },
};

/** Risk 88. */
const deviceLists: DatabaseCheck = {
  name: "device-lists",
  risks: [88],
  async run({ read, facts }) {
    const { rows, oldest } = await work.unconverted(read);
    const age = facts.now - (oldest ?? facts.now);
    if (rows === 0 || (age < 3_600_000 && rows < 10_000)) return [ok("risk-88", "Changes of devices are told to other servers")];
    const what = `${rows >= 100_000 ? "More than " : ""}${count(rows, "change")} of devices ${rows === 1 ? "was" : "were"} not told to other servers${oldest === null ? "" : `, the oldest ${duration(age)} ago`}`;
    return [
      warning("risk-88", {
        what,
        why: "Others encrypt for old devices: messages that cannot be read.",
        todo: "Let Synapse get through them (its log tells why it does not), or leave them to Myelin, which goes on.",
      }),
    ];
  },
};

/** Risk 80. */
const receipts: DatabaseCheck = {
  name: "receipts",
  risks: [80],
  async run({ read }) {
    const unique = await work.hasIndex(read, ["receipts_linearized_unique_index", "receipts_graph_unique_index"]);
    const found = [
      judge(await work.receiptsWithoutOrdering(read), {
        risk: 80,
        one: "new receipt does not know the position of its event",
        many: "new receipts do not know the positions of their events",
        why: "Unread counts of these rooms are wrong until they are read again.",
        todo: "Queue Synapse's background update populate_event_stream_ordering again.",
        fine: "New receipts know the positions of their events",
      }),
    ];
    if (!unique) {
      found.push(
        judge(await work.doubleReceipts(read), {
          risk: 80,
          one: "user has two unthreaded receipts in a room",
          many: "users have two unthreaded receipts in a room",
          why: "The unique index that forbids it is missing; counts are wrong.",
          todo: "Queue Synapse's background updates receipts_linearized_unique_index and receipts_graph_unique_index again.",
          fine: "No user has two unthreaded receipts in a room",
        }),
      );
    }
    return found;
  },
};

/** Risk 90: only how much there is can be seen. */
const toDevice: DatabaseCheck = {
  name: "to-device",
  risks: [],
  async run({ read }) {
    const { inbox, outbox } = await work.toDeviceMessages(read);
    if (inbox < 1_000_000 && outbox < 200_000) return [ok("to-device", "Messages between devices are not piling up")];
    const what = `About ${thousands(inbox)} messages wait for devices here, ${thousands(outbox)} for other servers`;
    return [note("to-device", { what, why: "Devices that nobody uses any more keep them.", todo: "Delete old devices (`delete_stale_devices_after`)." })];
  },
};

/** Risks 30 and 31. */
const tokens: DatabaseCheck = {
  name: "sync-tokens",
  risks: [30],
  only: "synapse",
  run: async () => [ok("risk-30", "Clients' sync tokens have Synapse 1.160's 14 fields; a Synapse before 1.159 would make clients begin anew")],
};

export const workChecks: readonly DatabaseCheck[] = [updates, tasks, inFlight, followers, appservices, federation, deviceLists, receipts, toDevice, tokens];
