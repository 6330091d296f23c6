import type { Json, JsonObject } from "../../../lib/json.ts";
import { canonicalJson, CanonicalJsonError } from "../../../protocol/canonical-json.ts";
import { inBlock } from "../../../lib/request-context.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { federationPdu } from "../../../protocol/event/serialise.ts";
import type { Context } from "../../context.ts";
import type { Edu } from "./pending-edus.ts";
import type { Turns } from "../../../lib/turns.ts";

export const MAX_PDUS = 50;
export const MAX_EDUS = 100;

/** The text of an event is shared by all servers that get it at about the same time; it holds the event's age. */
const SHARED_FOR_MS = 1_000;

/** The content of a transaction. */
interface Content {
  readonly bytes: Buffer;
  /** Events that it holds. */
  readonly pdus: number;
}

/** Sends transactions (server-server API, "Transactions"). */
export class TransactionSender {
  private readonly texts = new WeakMap<MatrixEvent, { readonly text: string | undefined; readonly at: number }>();
  /** The newest content that is of events alone: a room's servers all get the same at about the same time. */
  private shared: { readonly events: readonly MatrixEvent[]; readonly content: Content | undefined; readonly at: number } | undefined;
  private nextId: number;

  constructor(
    private readonly ctx: Pick<Context, "clock" | "config" | "federationClient" | "log" | "modules">,
    private readonly turns: Turns,
    private readonly signal: AbortSignal,
    private readonly onSent: (destination: string, pdus: number, eduTypes: readonly string[]) => void,
  ) {
    this.nextId = ctx.clock.now();
  }

  /**
   * Resolves when the server has taken the transaction. What has no canonical form (old rows hold anything) is left out: nobody could
   * check the signature.
   * @throws RemoteError, DestinationUnavailable, DestinationDenied
   */
  send(destination: string, events: readonly MatrixEvent[], edus: readonly Edu[]): Promise<void> {
    return inBlock("_send_new_transaction", () => this.sendNow(destination, events, edus));
  }

  private async sendNow(destination: string, events: readonly MatrixEvent[], edus: readonly Edu[]): Promise<void> {
    const content = this.content(events, edus);
    if (content === undefined) return;
    const answer = await this.ctx.federationClient.request({
      method: "PUT",
      destination,
      path: `/_matrix/federation/v1/send/${this.nextId++}`,
      content: content.bytes,
      maxBytes: 1024 * 1024,
      longRetries: true,
      everyErrorCounts: true,
      turns: this.turns,
      signal: this.signal,
    });
    this.noteRefusals(destination, answer);
    this.onSent(
      destination,
      content.pdus,
      edus.map(({ type }) => type),
    );
    if (!this.ctx.modules.federation.wantDeliveries) return;
    const results = isRecord(answer) && isRecord(answer.pdus) ? answer.pdus : {};
    const taken = (event: MatrixEvent): boolean => {
      const result = results[event.eventId];
      return !isRecord(result) || result.error === undefined;
    };
    await this.ctx.modules.federation.delivered(destination, events.filter(taken), "/send");
  }

  /** undefined when nothing is left of it. */
  private content(events: readonly MatrixEvent[], edus: readonly Edu[]): Content | undefined {
    const now = this.ctx.clock.now();
    if (edus.length > 0) return this.makeContent(events, edus, now);
    const { shared } = this;
    if (shared !== undefined && now - shared.at < SHARED_FOR_MS && areSame(shared.events, events)) return shared.content;
    const content = this.makeContent(events, edus, now);
    this.shared = { events, content, at: now };
    return content;
  }

  private makeContent(events: readonly MatrixEvent[], edus: readonly Edu[], now: number): Content | undefined {
    const origin = JSON.stringify(this.ctx.config.server.serverName);
    const pdus = events.flatMap((event) => this.pdu(event, now) ?? []);
    const eduTexts = edus.flatMap(({ type, content }) => this.canonical({ content, edu_type: type }, `EDU of type ${type}`) ?? []);
    if (pdus.length === 0 && eduTexts.length === 0) return undefined;
    const text = `{"edus":[${eduTexts.join(",")}],"origin":${origin},"origin_server_ts":${now},"pdus":[${pdus.join(",")}]}`;
    return { bytes: Buffer.from(text, "utf8"), pdus: pdus.length };
  }

  private pdu(event: MatrixEvent, now: number): string | undefined {
    const known = this.texts.get(event);
    if (known !== undefined && now - known.at < SHARED_FOR_MS) return known.text;
    const text = this.canonical(federationPdu(event, now), `event ${event.eventId}`);
    this.texts.set(event, { text, at: now });
    return text;
  }

  private canonical(json: JsonObject, what: string): string | undefined {
    try {
      return canonicalJson(json);
    } catch (error) {
      if (!(error instanceof CanonicalJsonError)) throw error;
      this.log.warn(`Not sending ${what}: ${error.message}`);
      return undefined;
    }
  }

  /** Servers answer what they like; it changes nothing. */
  private noteRefusals(destination: string, answer: Json): void {
    const results = isRecord(answer) ? answer.pdus : undefined;
    if (results === undefined) return;
    if (!isRecord(results)) {
      this.log.warn(`${destination} answered a transaction with an invalid type for pdus`);
      return;
    }
    for (const [eventId, result] of Object.entries(results).slice(0, MAX_PDUS)) {
      if (isRecord(result) && result.error === undefined) continue;
      this.log.info(`${destination} refused event ${eventId.slice(0, 255)}`);
    }
  }

  private get log() {
    return this.ctx.log.named("synapse.federation.sender.transaction_manager");
  }
}

const areSame = (some: readonly MatrixEvent[], others: readonly MatrixEvent[]): boolean =>
  some.length === others.length && some.every((event, index) => event === others[index]);

const isRecord = (value: unknown): value is JsonObject => typeof value === "object" && value !== null && !Array.isArray(value);
