import { DestinationDenied, DestinationUnavailable, isUnknownEndpoint, RemoteError } from "../../outbound/federation/client.ts";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { forbidden, MatrixError } from "../../protocol/errors.ts";
import { MatrixEvent } from "../../protocol/event/event.ts";
import { verifyEventJson, verifyKey, type VerifyKey } from "../../protocol/event/sign.ts";
import { isServerName } from "../../protocol/ids.ts";
import type { Context } from "../context.ts";
import { relayed } from "./remote-error.ts";

/** The server that judges a room's events, with the key that it signs those with that it lets pass. */
export interface PolicyServer {
  readonly name: string;
  readonly key: VerifyKey;
}

type Needs = Pick<Context, "config" | "federationClient" | "log" | "members" | "state">;

const KEY_ID = "ed25519:policy_server";
const POLICY = "m.room.policy";
const UNSTABLE_POLICY = "org.matrix.msc4284.policy";
const PATHS = ["/_matrix/policy/v1/sign", "/_matrix/policy/unstable/org.matrix.msc4284/sign"];
/** Servers that look into media need their time. */
const TIMEOUT_MS = 30_000;
const ANSWER_BYTES = 64 * 1024;
/** Events of a room that are judged at the same time. */
const AT_ONCE = 10;

/**
 * Policy servers (server-server API, "Policy servers"; MSC4284): a room's `m.room.policy` names a server in the room whose signature each event
 * needs. Without it local users' events are refused, and those of others are soft-failed.
 */
export class PolicyServers {
  constructor(private readonly ctx: Needs) {}

  /** The policy server of the room; undefined where it has none, or one that cannot be: not in the room, without a key, this server itself. */
  async of(roomId: string): Promise<PolicyServer | undefined> {
    const { state, members, config } = this.ctx;
    const stable = await state.currentEvent(roomId, POLICY);
    const policy = stable ?? (await state.currentEvent(roomId, UNSTABLE_POLICY));
    if (policy === undefined) return undefined;
    const keys = policy.content.public_keys;
    const key = stable === undefined ? policy.content.public_key : isJsonObject(keys) ? keys.ed25519 : undefined;
    const name = policy.content.via;
    if (typeof key !== "string" || typeof name !== "string" || name === config.server.serverName || !isServerName(name)) return undefined;
    if (!(await members.joinedServers(roomId)).has(name)) return undefined;
    const made = verifyKey(KEY_ID, key);
    // A key that is none verifies nothing, so everything is refused: as with a key that nobody has.
    return { name, key: made ?? NO_KEY };
  }

  /** The policy server that must sign such an event: who it is, is not for itself to say. */
  async judgeOf(roomId: string, event: { readonly type: string; readonly stateKey?: string | undefined }): Promise<PolicyServer | undefined> {
    return isPolicy(event) ? undefined : await this.of(roomId);
  }

  /**
   * The event with the policy server's signature.
   * @throws MatrixError 403 where it refuses, or what it says is no signature; 502 where it cannot be asked
   */
  async signed(policyServer: PolicyServer, event: MatrixEvent): Promise<MatrixEvent> {
    if (isSigned(policyServer, event)) return event;
    let answer: JsonObject;
    try {
      answer = await this.ask(policyServer.name, event);
    } catch (error) {
      if (error instanceof RemoteError) throw relayed(error);
      if (error instanceof DestinationUnavailable || error instanceof DestinationDenied)
        throw new MatrixError(502, "M_UNKNOWN", "The policy server of the room could not be asked");
      throw error;
    }
    const signed = withSignature(event, policyServer.name, answer);
    if (!isSigned(policyServer, signed)) throw forbidden("This message has been rejected as probable spam");
    return signed;
  }

  /** Events of a room from other servers: those that its policy server does not sign are soft-failed, so that no local user is shown them. */
  async judge(roomId: string, events: readonly MatrixEvent[]): Promise<MatrixEvent[]> {
    const policyServer = events.length === 0 ? undefined : await this.of(roomId);
    if (policyServer === undefined) return [...events];
    const log = this.ctx.log.named("synapse.handlers.room_policy");
    let isAway = false;
    const judge = async (event: MatrixEvent): Promise<MatrixEvent> => {
      if (isPolicy(event) || isSigned(policyServer, event)) return event;
      try {
        // One that does not answer is not waited for again and again.
        if (!isAway) return await this.signed(policyServer, event);
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        isAway = error.status === 502;
        log.warn(`Failed to get a signature for ${event.eventId} from the policy server: ${error.message}`);
      }
      event.internal.soft_failed = true;
      event.internal.policy_server_spammy = true;
      return event;
    };
    const judged: MatrixEvent[] = [];
    for (let at = 0; at < events.length; at += AT_ONCE) judged.push(...(await Promise.all(events.slice(at, at + AT_ONCE).map(judge))));
    return judged;
  }

  private async ask(server: string, event: MatrixEvent): Promise<JsonObject> {
    // What is unsigned was never checked, and may have no canonical form.
    const { unsigned: _unsigned, ...content } = event.json;
    const request = {
      method: "POST",
      destination: server,
      content,
      timeoutMs: TIMEOUT_MS,
      maxBytes: ANSWER_BYTES,
      ignoreBackoff: true,
    } as const;
    try {
      return await this.ctx.federationClient.requestObject({ ...request, path: PATHS[0]! });
    } catch (error) {
      if (!isUnknownEndpoint(error)) throw error;
      return await this.ctx.federationClient.requestObject({ ...request, path: PATHS[1]! });
    }
  }
}

const isPolicy = ({ type, stateKey }: { readonly type: string; readonly stateKey?: string | undefined }): boolean =>
  stateKey === "" && (type === POLICY || type === UNSTABLE_POLICY);

/** The key of nobody: no signature is valid by it. */
const NO_KEY: VerifyKey = verifyKey(KEY_ID, new Uint8Array(32))!;

function isSigned({ name, key }: PolicyServer, event: MatrixEvent): boolean {
  return key !== NO_KEY && verifyEventJson(event.json, event.roomVersion, name, key);
}

/** The event with that signature beside those that it has; of the answer nothing else is taken over. */
function withSignature(event: MatrixEvent, server: string, answer: JsonObject): MatrixEvent {
  const given = answer[server];
  const signature = isJsonObject(given) ? given[KEY_ID] : undefined;
  if (typeof signature !== "string" || signature.length > 100) return event;
  const signatures = isJsonObject(event.json.signatures) ? event.json.signatures : {};
  const own = isJsonObject(signatures[server]) ? signatures[server] : {};
  const json = { ...event.json, signatures: { ...signatures, [server]: { ...own, [KEY_ID]: signature } } };
  const signed = new MatrixEvent(json, event.roomVersion, event.eventId, event.internal);
  signed.outlier = event.outlier;
  return signed;
}
