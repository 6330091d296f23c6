import type { JsonObject } from "../../lib/json.ts";
import { Repeated } from "../../lib/repeated.ts";
import type { Txn } from "../../storage/database.ts";
import {
  activateTask,
  cancelTasks,
  deleteEndedTasks,
  finishTask,
  getTask,
  getTasks,
  insertTask,
  saveTaskResult,
  type ScheduledTask,
  type TaskFilter,
} from "../../storage/jobs/scheduled-tasks.ts";
import type { Context } from "../context.ts";

type SchedulerContext = Pick<Context, "clock" | "log" | "random" | "read" | "transaction">;

/** A task at work. */
export interface RunningTask {
  readonly task: ScheduledTask;
  /** Aborts when the server stops: the task goes on after the next start, from its last saved result. */
  readonly signal: AbortSignal;
  /** Keeps how far the work is; false when the task was cancelled and should end. */
  save(result: JsonObject): Promise<boolean>;
}

/**
 * Does the work of a kind of task, from where `task.result` says it was; returns what it has to show (undefined: what was saved last), or
 * "later" when it stopped before the end: it goes on after the next start. It may be run again after a crash.
 */
export type TaskAction = (ctx: Context, running: RunningTask) => Promise<JsonObject | undefined | "later">;

export interface NewTask {
  readonly action: string;
  /** What it works on: "@user:server", a room id. */
  readonly resourceId: string | null;
  readonly params: JsonObject | null;
  /** Milliseconds; undefined: at once. */
  readonly at?: number;
  /** Cancels what waits or runs of the same action for the same resource. */
  readonly replace?: boolean;
}

const AT_ONCE = 5;
const KEEP_MS = 7 * 86_400_000;
const ID_LENGTH = 16;

/**
 * Runs the tasks of `scheduled_tasks`, a few at a time. A task is a row in the transaction that asks for it, so none is lost; one that was
 * running when the server stopped is run again. Actions that this server does not know are left for the one that does.
 */
export class TaskScheduler {
  private readonly running = new Map<string, Promise<void>>();
  private readonly stopping = new AbortController();
  private readonly launching: Repeated;

  constructor(
    private readonly ctx: SchedulerContext,
    private readonly full: () => Context,
    private readonly actions: Readonly<Record<string, TaskAction>>,
  ) {
    this.launching = new Repeated(
      () => this.launchDue(),
      (error) => ctx.log.named("synapse.util.task_scheduler").warn("Could not launch scheduled tasks", { error }),
    );
  }

  /** Writes a task that begins after the commit, or at its time. Returns its id. */
  async schedule(txn: Txn, task: NewTask): Promise<string> {
    const { action, resourceId, params } = task;
    const now = this.ctx.clock.now();
    const id = this.ctx.random.letters(ID_LENGTH);
    if (task.replace === true && resourceId !== null) await cancelTasks(txn, action, resourceId, now);
    await insertTask(txn, { id, action, resourceId, params, timestamp: task.at ?? now });
    if ((task.at ?? now) <= now) txn.afterCommit(() => this.launch());
    return id;
  }

  async get(id: string): Promise<ScheduledTask | undefined> {
    return await getTask(this.ctx.read, id);
  }

  async find(filter: TaskFilter): Promise<ScheduledTask[]> {
    return await getTasks(this.ctx.read, filter);
  }

  /** Begins what is due and what a stopped server left, as many as may run at once; called each minute and after each new task. */
  launch(): void {
    this.launching.poke();
  }

  /** Deletes tasks that ended a week ago. */
  async clean(): Promise<void> {
    await this.ctx.transaction("clean_scheduled_tasks", (txn) => deleteEndedTasks(txn, this.ctx.clock.now() - KEEP_MS));
  }

  /** Resolves when nothing is running and nothing is due (tests). */
  async idle(): Promise<void> {
    await this.launching.settled();
    while (this.running.size > 0) {
      await Promise.all(this.running.values());
      await this.launching.settled();
    }
  }

  async close(): Promise<void> {
    this.stopping.abort();
    this.launching.stop();
    await this.idle();
  }

  private async launchDue(): Promise<void> {
    if (this.running.size >= AT_ONCE) return;
    const actions = Object.keys(this.actions);
    const active = await this.find({ actions, statuses: ["active"], limit: AT_ONCE });
    const due = await this.find({ actions, statuses: ["scheduled"], until: this.ctx.clock.now(), limit: AT_ONCE });
    for (const task of [...active, ...due]) {
      if (this.running.size >= AT_ONCE || this.running.has(task.id)) continue;
      const run = this.run(task).finally(() => {
        this.running.delete(task.id);
        this.launch();
      });
      this.running.set(task.id, run);
    }
  }

  private async run(task: ScheduledTask): Promise<void> {
    const { clock, transaction } = this.ctx;
    const { signal } = this.stopping;
    const log = this.ctx.log.named("synapse.util.task_scheduler");
    try {
      if (!(await transaction("update_scheduled_task", (txn) => activateTask(txn, task.id, clock.now())))) return;
      const save = (result: JsonObject): Promise<boolean> => transaction("update_scheduled_task", (txn) => saveTaskResult(txn, task.id, result, clock.now()));
      let end: { status: "complete" | "failed"; result: JsonObject | undefined; error: string | undefined };
      try {
        const result = await this.actions[task.action]!(this.full(), { task, signal, save });
        if (result === "later") return;
        end = { status: "complete", result, error: undefined };
      } catch (error) {
        if (signal.aborted) return;
        log.error(`scheduled task ${task.id} failed`, { error });
        end = { status: "failed", result: undefined, error: error instanceof Error ? error.message : String(error) };
      }
      await transaction("update_scheduled_task", (txn) => finishTask(txn, task.id, { ...end, now: clock.now() }));
    } catch (error) {
      log.warn(`Scheduled task ${task.id} is tried again later`, { error });
    }
  }
}
