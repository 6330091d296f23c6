import { invalidParam } from "../../protocol/errors.ts";
import type { TaskStatus } from "../../storage/jobs/scheduled-tasks.ts";
import { endpoint } from "../http/endpoint.ts";
import type { Query } from "../http/query.ts";

const STATUSES: readonly string[] = ["scheduled", "active", "complete", "failed", "cancelled"] satisfies TaskStatus[];

function statuses(query: Query): TaskStatus[] | undefined {
  const name = query.has("status") ? "status" : "job_status";
  const given = query.strings(name);
  for (const status of given)
    if (!STATUSES.includes(status)) throw invalidParam(`Query parameter '${name}' must be one of [${STATUSES.map((one) => `'${one}'`).join(", ")}]`);
  return given.length === 0 ? undefined : (given as TaskStatus[]);
}

/** Tasks that wait, run or have ended, oldest first. */
export const scheduledTasks = endpoint({
  servlet: "ScheduledTasksRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/scheduled_tasks",
  auth: "admin",
  async handle(ctx, { query }) {
    const actions = query.strings("action_name");
    const tasks = await ctx.tasks.find({
      actions: actions.length === 0 ? undefined : actions,
      resourceId: query.string("resource_id") || undefined,
      statuses: statuses(query),
      until: query.natural("max_timestamp"),
    });
    return {
      scheduled_tasks: tasks.map(({ id, action, status, timestamp, resourceId, result, error }) => ({
        id,
        action,
        status,
        timestamp_ms: timestamp,
        resource_id: resourceId,
        result,
        error,
      })),
    };
  },
});
