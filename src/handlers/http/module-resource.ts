import type { IncomingMessage } from "node:http";
import type { Clock } from "../../lib/clock.ts";
import { thrownRefusal } from "../../services/modules/refusals.ts";
import { ModuleRequest, type WebResource } from "../../services/modules/web-resources.ts";
import { readBody } from "./body.ts";
import { RawReply, Reply } from "./reply.ts";
import type { RequestRecord } from "./request-log.ts";

const MAX_BODY = 100 * 65536;

/** What a module answers to a request for one of its paths. @throws MatrixError 413, 408, 400, and what the module throws */
export async function moduleReply(resource: WebResource, req: IncomingMessage, path: string, record: RequestRecord, clock: Clock): Promise<RawReply | Reply> {
  const mark = record.url.indexOf("?");
  const query = new URLSearchParams(mark < 0 ? "" : record.url.slice(mark + 1));
  const request = new ModuleRequest(record.method, path, query, req.headers, await readBody(req, MAX_BODY, clock), record.ip, record.userAgent ?? "");
  try {
    const { status = 200, headers = {}, body } = await resource(request);
    const type = Object.entries(headers).find(([name]) => name.toLowerCase() === "content-type");
    const others = Object.fromEntries(Object.entries(headers).filter(([name]) => name.toLowerCase() !== "content-type"));
    if (typeof body === "string") return new RawReply(status, type?.[1] ?? "text/html; charset=utf-8", body, others);
    if (Buffer.isBuffer(body)) return new RawReply(status, type?.[1] ?? "application/octet-stream", body, others);
    return new Reply(status, body, others);
  } catch (error) {
    throw thrownRefusal(error) ?? error;
  }
}
