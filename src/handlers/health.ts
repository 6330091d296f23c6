import { endpoint } from "./http/endpoint.ts";
import { RawReply } from "./http/reply.ts";

/** Answers "OK" as long as the process serves; asks nothing of the database. */
export const health = endpoint({
  servlet: "HealthResource",
  method: "GET",
  path: "/health",
  auth: "none",
  quiet: true,
  handle: () => new RawReply(200, "text/plain; charset=utf-8", "OK"),
});
