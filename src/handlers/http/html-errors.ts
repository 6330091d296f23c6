import { MatrixError } from "../../protocol/errors.ts";
import type { Context } from "../../services/context.ts";
import { noteRefusal } from "./errors.ts";
import { html, type RawReply, type Reply } from "./reply.ts";

/** Pages carry tokens in their addresses, which are nobody else's business. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = { "Referrer-Policy": "no-referrer" };

/** Runs the handler of a page for people: its errors become pages, too. */
export async function htmlErrors(ctx: Pick<Context, "log" | "templates">, handle: () => Promise<RawReply | Reply>): Promise<RawReply | Reply> {
  try {
    return await handle();
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
    noteRefusal(ctx, error);
    return html(error.status, ctx.templates.render("error.html", { code: error.status, msg: error.message }), { ...PAGE_HEADERS, ...error.headers });
  }
}
