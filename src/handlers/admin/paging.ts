import type { Query } from "../http/query.ts";

/** `from` and `limit` of the admin lists. @throws MatrixError 400 M_INVALID_PARAM for what is no number, or negative */
export function parsePage(query: Query): { from: number; limit: number } {
  return { from: query.natural("from", 0), limit: query.natural("limit", 100) };
}

/** `dir`: true for `b`. */
export function parseDescending(query: Query, fallback: "f" | "b" = "f"): boolean {
  return query.oneOf("dir", ["b", "f"], fallback) === "b";
}

/** Where the next page begins; undefined on the last one. */
export function nextToken(page: { from: number; limit: number }, shown: number, total: number): number | undefined {
  return page.from + page.limit < total ? page.from + shown : undefined;
}
