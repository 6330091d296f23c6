import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { invalidParam, notFound } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import {
  deleteEventReport,
  deleteUserReport,
  type EventReport,
  getEventReport,
  getUserReport,
  listEventReports,
  listUserReports,
} from "../../storage/rooms/reports.ts";
import { endpoint } from "../http/endpoint.ts";
import { nextToken, parseDescending, parsePage } from "./paging.ts";

/** Reports of events and users (Synapse's event_reports.py and user_reports.py). */
const BIGINT_MAX = 2n ** 63n - 1n;

function reportId(text: string): number {
  if (!/^\s*\+?\d+\s*$/.test(text)) throw invalidParam("The report_id parameter must be a string representing a positive integer.");
  const id = BigInt(text.trim().replace(/^\+/, ""));
  // No table holds such a number.
  return id > BIGINT_MAX || id > BigInt(Number.MAX_SAFE_INTEGER) ? -1 : Number(id);
}

/** Score and reason as the reporter gave them; undefined when the row cannot be read. */
function reportView({ content, ...report }: EventReport): JsonObject | undefined {
  let said: unknown;
  try {
    said = JSON.parse(content ?? "null");
  } catch {
    return undefined;
  }
  return isJsonObject(said) ? { ...report, score: said.score ?? null, reason: said.reason ?? null } : undefined;
}

export const eventReports = endpoint({
  servlet: "EventReportsRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/event_reports",
  auth: "admin",
  async handle(ctx, { query }) {
    const page = parsePage(query);
    const filter = { userId: query.string("user_id"), roomId: query.string("room_id"), sender: query.string("event_sender_user_id") };
    const { rows, total } = await listEventReports(ctx.read, filter, parseDescending(query, "b"), page);
    const shown = rows.flatMap((row) => reportView(row) ?? []);
    return { event_reports: shown, total, next_token: nextToken(page, shown.length, total) };
  },
});

export const eventReport = endpoint({
  servlet: "EventReportDetailRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/event_reports/:reportId",
  auth: "admin",
  async handle(ctx, { params }) {
    const found = await getEventReport(ctx.read, reportId(params.reportId));
    if (found === undefined) throw notFound("Event report not found");
    const { event_json: text, ...report } = found;
    return { ...(reportView(report) ?? report), event_json: parseJson(text) };
  },
});

const removal = (servlet: string, path: "event_reports" | "user_reports", what: string, remove: typeof deleteEventReport) =>
  endpoint({
    servlet,
    method: "DELETE",
    path: `/_synapse/admin/v1/${path}/:reportId`,
    auth: "admin",
    bodyType: "none",
    async handle(ctx: Context, { params }) {
      const id = reportId((params as { reportId: string }).reportId);
      if (!(await ctx.transaction(`delete_${path}`, (txn) => remove(txn, id)))) throw notFound(`${what} report not found`);
      return {};
    },
  });

export const userReports = endpoint({
  servlet: "UserReportsRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/user_reports",
  auth: "admin",
  async handle(ctx, { query }) {
    const page = parsePage(query);
    const filter = { userId: query.string("user_id"), targetUserId: query.string("target_user_id") };
    const { rows, total } = await listUserReports(ctx.read, filter, parseDescending(query, "b"), page);
    return { user_reports: rows, total, next_token: nextToken(page, rows.length, total) };
  },
});

export const userReport = endpoint({
  servlet: "UserReportDetailRestServlet",
  method: "GET",
  path: "/_synapse/admin/v1/user_reports/:reportId",
  auth: "admin",
  async handle(ctx, { params }) {
    const report = await getUserReport(ctx.read, reportId(params.reportId));
    if (report === undefined) throw notFound("User report not found");
    return report;
  },
});

export const reportRoutes = [
  eventReports,
  eventReport,
  removal("EventReportDetailRestServlet", "event_reports", "Event", deleteEventReport),
  userReports,
  userReport,
  removal("UserReportDetailRestServlet", "user_reports", "User", deleteUserReport),
];
