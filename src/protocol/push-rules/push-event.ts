import { isJsonObject, JsonFloat, type Json, type JsonObject } from "../../lib/json.ts";
import type { MatrixEvent } from "../event/event.ts";
import type { PowerLevels } from "../power-levels.ts";

/** The event that an event relates to, for rules on related events (MSC3664). */
export interface RelatedEvent {
  readonly event: MatrixEvent;
  /** The relation is there for clients that do not know threads. */
  readonly isFallback: boolean;
}

export interface PushEventFacts {
  readonly memberCount: number;
  /** In force before the event; undefined for outliers, whose senders have no permissions. */
  readonly levels?: PowerLevels | undefined;
  /** By relation type; `m.in_reply_to` for replies. */
  readonly related?: ReadonlyMap<string, RelatedEvent>;
}

/** A value that conditions may look at: no object, no float. */
export type SimpleValue = string | number | bigint | boolean | null;

/** An event with what conditions ask of it; made once for all users that it may notify. */
export class PushEvent {
  readonly hasMentions: boolean;
  /** `content.body`, or the plain text of an extensible event; "" when there is none. */
  readonly body: string;
  readonly isExtensibleRoom: boolean;
  private readonly values = new Map<string, SimpleValue | readonly SimpleValue[] | undefined>();

  constructor(
    readonly event: MatrixEvent,
    readonly facts: PushEventFacts,
  ) {
    this.hasMentions = event.content["m.mentions"] !== undefined;
    this.isExtensibleRoom = event.roomVersion.pushFeatures.includes("org.matrix.msc3932.extensible_events");
    const body = (this.isExtensibleRoom ? extensibleBody(event.content) : undefined) ?? event.content.body;
    this.body = typeof body === "string" ? body : "";
    if (this.isExtensibleRoom) this.values.set("content.body", typeof body === "string" ? body : undefined);
    // Key of sender rules, as Synapse stores them.
    this.values.set("user_id", event.sender);
  }

  /** What stands at a path such as `content.m\.mentions.user_ids`: a simple value, the simple values of a list, else undefined. */
  get(key: string): SimpleValue | readonly SimpleValue[] | undefined {
    if (this.values.has(key)) return this.values.get(key);
    const value = lookUp(this.event.json, key);
    this.values.set(key, value);
    return value;
  }
}

/** As `PushEvent.get`, of any event. */
export function lookUp(json: JsonObject, key: string): SimpleValue | readonly SimpleValue[] | undefined {
  let value: Json | undefined = json;
  for (const part of splitPath(key)) {
    if (!isJsonObject(value) || !Object.hasOwn(value, part)) return undefined;
    value = value[part];
  }
  if (Array.isArray(value)) return value.filter(isSimple);
  return isSimple(value) ? value : undefined;
}

function isSimple(value: Json | undefined): value is SimpleValue {
  return value === null || (value !== undefined && typeof value !== "object" && !((value as unknown) instanceof JsonFloat));
}

/** Parts of a dotted path; `\.` is a dot and `\\` a backslash within a part. */
function splitPath(key: string): string[] {
  if (!key.includes("\\")) return key.split(".");
  const parts: string[] = [];
  let part = "";
  for (let i = 0; i < key.length; i++) {
    const char = key[i]!;
    const next = key[i + 1];
    if (char === "\\" && (next === "." || next === "\\")) {
      part += next;
      i++;
    } else if (char === ".") {
      parts.push(part);
      part = "";
    } else {
      part += char;
    }
  }
  return [...parts, part];
}

/** MSC1767: the plain text among the representations of a message; undefined when the event has none of them. */
function extensibleBody(content: JsonObject): string | undefined {
  const markup = content["org.matrix.msc1767.markup"];
  if (!Array.isArray(markup)) return undefined;
  for (const representation of markup) {
    if (!isJsonObject(representation)) break;
    if ((representation.mimetype ?? "text/plain") === "text/plain" && typeof representation.body === "string") return representation.body.toLowerCase();
  }
  return "";
}
