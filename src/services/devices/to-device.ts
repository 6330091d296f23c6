import { isJsonObject, type Json, type JsonObject, JsonText, stringify, stringifyAscii } from "../../lib/json.ts";
import { canonicalJson, CanonicalJsonError } from "../../protocol/canonical-json.ts";
import { badJson, MatrixError } from "../../protocol/errors.ts";
import { getDomain, isUserId } from "../../protocol/ids.ts";
import { addToInbox, addToOutbox, deleteInboxMessages, inboxMessages, type LocalMessage, noteReceivedMessage } from "../../storage/devices/inbox.ts";
import { roomsJoinedBy } from "../../storage/devices/lists.ts";
import { cachedDevices } from "../../storage/devices/lists-remote.ts";
import type { Context } from "../context.ts";
import type { Requester } from "../requester.ts";
import { distrustDevices, type RemoteDeviceContext } from "./lists-remote.ts";

/** Messages from device to device (client-server API, "Send-to-Device messaging"). */
export type ToDeviceContext = RemoteDeviceContext & Pick<Context, "random" | "limits">;

/** Largest content of one message, and the size that an EDU should not exceed; bytes of canonical JSON. */
const MAX_CONTENT_BYTES = 65_536;
const SOFT_MAX_EDU_BYTES = 65_536;
const MESSAGE_ID_LENGTH = 16;
const ALL_DEVICES = "*";
const DELETE_BATCH = 1000;

/** User id to device id (or `*`) to content. */
type Messages = Record<string, Record<string, JsonObject>>;

/**
 * Sends messages to devices here and on other servers; all that go to local devices appear at one position. Malformed user ids are passed
 * over. @throws MatrixError 400 M_BAD_JSON; 413 M_TOO_LARGE
 */
export async function sendToDevices(ctx: ToDeviceContext, requester: Requester, type: string, messages: Json | undefined): Promise<void> {
  const sender = requester.userId;
  const local: LocalMessage[] = [];
  const remote = new Map<string, Messages>();
  for (const [userId, devices] of checkedMessages(messages)) {
    if (
      type === "m.room_key_request" &&
      userId !== sender &&
      !(await ctx.limits.allows("keyRequests", `${sender}\0${requester.deviceId ?? ""}`, { requester }))
    )
      continue;
    const server = getDomain(userId);
    if (server === ctx.config.server.serverName) {
      local.push(...localMessages(sender, type, userId, devices));
    } else {
      const users = remote.get(server) ?? {};
      users[userId] = devices;
      remote.set(server, users);
    }
  }
  const edus = [...remote].flatMap(([destination, users]) => splitIntoEdus(sender, type, users).map((part) => ({ destination, part })));
  if (local.length === 0 && edus.length === 0) return;
  const now = ctx.clock.now();
  const outgoing = edus.map(({ destination, part }) => ({
    destination,
    json: stringifyAscii({ sender, type, message_id: ctx.random.letters(MESSAGE_ID_LENGTH), messages: part, "org.matrix.opentracing_context": "{}" }),
  }));
  const stream = ctx.streams.toDevice;
  await ctx.transaction("add_messages_to_device_inbox", async (txn) => {
    const streamIds = await stream.next(txn, outgoing.length + 1);
    const receivers = local.length === 0 ? [] : await addToInbox(txn, local, streamIds[0]!, stream.instanceName);
    if (outgoing.length > 0) await addToOutbox(txn, outgoing, streamIds.slice(1), now, stream.instanceName);
    txn.afterCommit(() => {
      announce(ctx, receivers, streamIds[0]!);
      for (const { destination } of outgoing) ctx.changes.toDevice.record(destination, streamIds.at(-1)!);
      if (remote.size > 0) stream.whenVisible(streamIds.at(-1)!, () => ctx.remote.wake(remote.keys()));
    });
  });
}

/**
 * An `m.direct_to_device` EDU. Nothing of it is taken when its sender is not of the sending server, when it came before, or when it is
 * malformed.
 */
export async function receiveToDevice(ctx: ToDeviceContext, origin: string, content: JsonObject): Promise<void> {
  const { sender, type, message_id: messageId, messages } = content;
  if (typeof sender !== "string" || typeof type !== "string" || typeof messageId !== "string" || getDomain(sender) !== origin || messageId.includes("\0"))
    return;
  const local: LocalMessage[] = [];
  for (const [userId, devices] of checkedMessages(messages)) {
    if (getDomain(userId) !== ctx.config.server.serverName) return;
    if (type === "m.room_key_request") {
      if (!(await ctx.limits.allows("keyRequests", `${sender}\0`))) continue;
      await checkRequestingDevices(ctx, sender, devices);
    }
    local.push(...localMessages(sender, type, userId, devices));
  }
  const stream = ctx.streams.toDevice;
  await ctx.transaction(
    "add_messages_from_remote_to_device_inbox",
    async (txn) => {
      if (!(await noteReceivedMessage(txn, origin, messageId, ctx.clock.now())) || local.length === 0) return;
      const [streamId] = await stream.next(txn);
      const receivers = await addToInbox(txn, local, streamId!, stream.instanceName);
      txn.afterCommit(() => announce(ctx, receivers, streamId!));
    },
    { isolation: "read committed" },
  );
}

/** A device that we do not know asks for keys: our copy of its owner's list is out of date. */
async function checkRequestingDevices(ctx: ToDeviceContext, sender: string, devices: Record<string, JsonObject>): Promise<void> {
  const asking = new Set(Object.values(devices).map((content) => content.requesting_device_id));
  if ((await roomsJoinedBy(ctx.read, sender)).length === 0) return;
  const known = new Set(((await cachedDevices(ctx.read, [sender])).get(sender) ?? []).map(({ deviceId }) => deviceId));
  if ([...asking].some((deviceId) => typeof deviceId !== "string" || !known.has(deviceId))) await distrustDevices(ctx, sender);
}

function announce(ctx: Pick<Context, "changes" | "notifier" | "streams">, receivers: readonly string[], streamId: number): void {
  for (const userId of receivers) ctx.changes.toDevice.record(userId, streamId);
  ctx.streams.toDevice.whenVisible(streamId, () => {
    ctx.notifier.wakeUsers(receivers, "to_device_key");
    ctx.notifier.announce();
  });
}

function checkedMessages(messages: Json | undefined): [userId: string, devices: Record<string, JsonObject>][] {
  if (!isJsonObject(messages)) throw badJson("'messages' must be an object");
  const result: [string, Record<string, JsonObject>][] = [];
  for (const [userId, devices] of Object.entries(messages)) {
    if (!isUserId(userId)) continue;
    if (!isJsonObject(devices)) throw badJson(`Messages for ${userId} must be an object`);
    for (const [deviceId, content] of Object.entries(devices)) {
      if (!isJsonObject(content) || deviceId.includes("\0")) throw badJson(`The message for ${userId} must be an object`);
      const bytes = canonicalBytes(content);
      if (bytes > MAX_CONTENT_BYTES) {
        throw new MatrixError(413, "M_TOO_LARGE", `To-device message for ${userId}:${deviceId} is too large to send (${bytes} > ${MAX_CONTENT_BYTES})`);
      }
    }
    if (Object.keys(devices).length > 0) result.push([userId, devices as Record<string, JsonObject>]);
  }
  return result;
}

function canonicalBytes(value: Json): number {
  try {
    return Buffer.byteLength(canonicalJson(value), "utf8");
  } catch (error) {
    if (error instanceof CanonicalJsonError) throw badJson(error.message);
    throw error;
  }
}

function localMessages(sender: string, type: string, userId: string, devices: Record<string, JsonObject>): LocalMessage[] {
  const entries = Object.entries(devices);
  return entries
    .filter(([deviceId]) => deviceId !== ALL_DEVICES || entries.length === 1)
    .map(([deviceId, content]) => ({ userId, deviceId, json: stringifyAscii({ content, type, sender }) }));
}

/** Messages for one server in parts that keep below the soft limit: by user, and by device where one user has too much. */
export function splitIntoEdus(sender: string, type: string, users: Messages): Messages[] {
  const frame = canonicalBytes({ edu_type: "m.direct_to_device", content: { sender, type, message_id: "x".repeat(MESSAGE_ID_LENGTH), messages: {} } });
  const parts: Messages[] = [];
  let part: Messages = {};
  let size = frame;
  const close = (): void => {
    if (Object.keys(part).length > 0) parts.push(part);
    part = {};
    size = frame;
  };
  for (const [userId, devices] of Object.entries(users)) {
    const bytes = canonicalBytes({ [userId]: devices });
    if (frame + bytes <= SOFT_MAX_EDU_BYTES) {
      if (size + bytes > SOFT_MAX_EDU_BYTES) close();
      part[userId] = devices;
      size += bytes;
      continue;
    }
    for (const [deviceId, content] of Object.entries(devices)) {
      const one = canonicalBytes({ [userId]: { [deviceId]: content } });
      if (size + one > SOFT_MAX_EDU_BYTES) close();
      part[userId] = { ...part[userId], [deviceId]: content };
      size += one;
    }
  }
  close();
  return parts;
}

export interface ToDeviceBatch {
  readonly messages: readonly JsonText[];
  /** The position that the client has got to with these: `to_device` of its next token. */
  readonly position: number;
}

/**
 * Messages for a device in (`since`, `upTo`], oldest first, at most `limit`. They stay in the database until `acknowledgeToDevice` is told
 * that the client has come back with a later token.
 */
export async function toDeviceSince(
  ctx: Pick<Context, "read" | "changes" | "deviceInboxes">,
  userId: string,
  deviceId: string,
  since: number,
  upTo: number,
  limit = 100,
): Promise<ToDeviceBatch> {
  if (limit <= 0) return { messages: [], position: since };
  if (since >= upTo || !ctx.changes.toDevice.hasChanged(userId, since) || !ctx.deviceInboxes.mayHold(userId, deviceId, upTo))
    return { messages: [], position: upTo };
  const rows = await inboxMessages(ctx.read, userId, deviceId, since, upTo, limit);
  if (since <= 0 && rows.length === 0) ctx.deviceInboxes.emptied(userId, deviceId, upTo);
  return { messages: rows.map(({ message }) => withoutMessageId(message)), position: rows.length < limit ? upTo : rows.at(-1)!.streamId };
}

/** Old rows hold the id of the EDU that they came with. */
function withoutMessageId(message: JsonText): JsonText {
  if (!message.text.includes('"message_id"')) return message;
  const { message_id: _messageId, ...rest } = JSON.parse(message.text) as JsonObject;
  return new JsonText(stringify(rest));
}

/** The client has come back with a token at `position`: everything up to there has reached it and is deleted. */
export async function acknowledgeToDevice(
  ctx: Pick<Context, "transaction" | "streams" | "deviceInboxes">,
  userId: string,
  deviceId: string,
  token: number,
): Promise<void> {
  const position = Math.min(token, ctx.streams.toDevice.currentToken());
  if (!ctx.deviceInboxes.mayHold(userId, deviceId, position)) return;
  for (;;) {
    const deleted = await ctx.transaction("delete_messages_for_device", (txn) => deleteInboxMessages(txn, userId, deviceId, position, DELETE_BATCH), {
      isolation: "read committed",
    });
    if (deleted < DELETE_BATCH) break;
  }
  ctx.deviceInboxes.emptied(userId, deviceId, position);
}
