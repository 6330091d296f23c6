import { invalidParam, missingParam } from "../../protocol/errors.ts";
import { isCompliantUserId } from "../../protocol/ids.ts";
import { roomsInCommon } from "../../storage/rooms/mutual-rooms.ts";
import { endpoint } from "../http/endpoint.ts";

const PAGE = 100;
const MAX_TOKEN = 255;

export const getMutualRooms = endpoint({
  servlet: "UserMutualRoomsServlet",
  method: "GET",
  path: "/_matrix/client/(v1|unstable)/mutual_rooms",
  auth: "user",
  async handle(ctx, { requester, query }) {
    const [userId, ...more] = query.strings("user_id");
    if (userId === undefined) throw missingParam("Missing string query parameter user_id");
    const from = parseToken(query.strings("from"));
    if (more.length > 0) throw invalidParam("Duplicate user_id query parameter");
    if (!isCompliantUserId(userId)) throw invalidParam("Invalid user_id query parameter");
    if (userId === requester.userId) throw invalidParam("You cannot request a list of shared rooms with yourself");
    const all = (await roomsInCommon(ctx.read, requester.userId, userId)).sort();
    const left = from === undefined ? all : all.filter((roomId) => roomId > from);
    const joined = left.slice(0, PAGE);
    const next = left.length > PAGE ? Buffer.from(joined.at(-1)!).toString("base64url").slice(0, MAX_TOKEN) : undefined;
    return { joined, count: all.length, ...(next === undefined ? {} : { next_batch: next }) };
  },
});

function parseToken(tokens: readonly string[]): string | undefined {
  if (tokens.length > 1) throw invalidParam("Duplicate from query parameter");
  const [token] = tokens;
  if (token === undefined || token === "") return undefined;
  if (!/^[A-Za-z0-9+/_-]+=*$/.test(token)) throw invalidParam("Malformed from token");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.from(token, "base64url"));
  } catch {
    throw invalidParam("Malformed from token");
  }
}

export const mutualRoomRoutes = [getMutualRooms];
