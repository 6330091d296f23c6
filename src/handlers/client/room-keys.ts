import type { Json } from "../../lib/json.ts";
import { notFound } from "../../protocol/errors.ts";
import {
  createBackupVersion,
  getBackupVersion,
  readBackedUpKeys,
  removeBackedUpKeys,
  removeBackupVersion,
  updateBackupVersion,
  uploadBackedUpKeys,
} from "../../services/devices/key-backup.ts";
import { endpoint } from "../http/endpoint.ts";

const KEYS = "/_matrix/client/(r0|v3|unstable)/room_keys/keys";
const VERSION = "/_matrix/client/(r0|v3|unstable)/room_keys/version";
const PATHS = [KEYS, `${KEYS}/:roomId`, `${KEYS}/:roomId/:sessionId`] as const;

/** Parameters that are there in the longer paths only. */
const scope = (params: object): { roomId?: string; sessionId?: string } => params;

export const putRoomKeys = endpoint({
  servlet: "RoomKeysServlet",
  method: "PUT",
  path: PATHS,
  auth: "user",
  lossless: true,
  async handle(ctx, { requester, params, query, body }) {
    const { roomId, sessionId } = scope(params);
    const version = query.requiredString("version");
    let rooms: Json | undefined = body.rooms;
    if (roomId !== undefined) rooms = { [roomId]: sessionId === undefined ? body : { sessions: { [sessionId]: body } } };
    return await uploadBackedUpKeys(ctx, requester.userId, version, rooms);
  },
});

export const getRoomKeys = endpoint({
  servlet: "RoomKeysServlet",
  method: "GET",
  path: PATHS,
  auth: "user",
  async handle(ctx, { requester, params, query }) {
    const { roomId, sessionId } = scope(params);
    const rooms = await readBackedUpKeys(ctx, requester.userId, query.requiredString("version"), roomId, sessionId);
    if (roomId === undefined) return { rooms };
    const room = rooms[roomId];
    if (sessionId === undefined) return room ?? { sessions: {} };
    const key = room?.sessions[sessionId];
    if (key === undefined) throw notFound("No room_keys found");
    return key;
  },
});

export const deleteRoomKeys = endpoint({
  servlet: "RoomKeysServlet",
  method: "DELETE",
  path: PATHS,
  auth: "user",
  bodyType: "none",
  async handle(ctx, { requester, params, query }) {
    const { roomId, sessionId } = scope(params);
    return await removeBackedUpKeys(ctx, requester.userId, query.requiredString("version"), roomId, sessionId);
  },
});

export const getCurrentBackupVersion = endpoint({
  servlet: "RoomKeysNewVersionServlet",
  method: "GET",
  path: VERSION,
  auth: "user",
  handle: (ctx, { requester }) => getBackupVersion(ctx, requester.userId),
});

export const postBackupVersion = endpoint({
  servlet: "RoomKeysNewVersionServlet",
  method: "POST",
  path: VERSION,
  auth: "user",
  emptyBody: false,
  lossless: true,
  async handle(ctx, { requester, body }) {
    return { version: String(await createBackupVersion(ctx, requester.userId, body)) };
  },
});

export const getBackupVersionByNumber = endpoint({
  servlet: "RoomKeysVersionServlet",
  method: "GET",
  path: `${VERSION}/:version`,
  auth: "user",
  handle: (ctx, { requester, params }) => getBackupVersion(ctx, requester.userId, params.version),
});

export const putBackupVersion = endpoint({
  servlet: "RoomKeysVersionServlet",
  method: "PUT",
  path: `${VERSION}/:version`,
  auth: "user",
  lossless: true,
  async handle(ctx, { requester, params, body }) {
    await updateBackupVersion(ctx, requester.userId, params.version, body);
    return {};
  },
});

export const deleteBackupVersion = endpoint({
  servlet: "RoomKeysVersionServlet",
  method: "DELETE",
  path: `${VERSION}/:version`,
  auth: "user",
  bodyType: "none",
  async handle(ctx, { requester, params }) {
    await removeBackupVersion(ctx, requester.userId, params.version);
    return {};
  },
});

export const roomKeyRoutes = [
  putRoomKeys,
  getRoomKeys,
  deleteRoomKeys,
  getCurrentBackupVersion,
  postBackupVersion,
  getBackupVersionByNumber,
  putBackupVersion,
  deleteBackupVersion,
];
