import { isJsonObject, type Json } from "../../lib/json.ts";
import type { Dice } from "./dice.ts";

/** How many values of one name are remembered. */
const KEPT = 24;
const LONGEST = 600;

/** Values seen in answers or known from the start, by the name of their field: ids, tokens, positions to be asked for again. */
export class Pool {
  private readonly values = new Map<string, string[]>();

  constructor(private readonly dice: Dice) {}

  add(name: string, ...values: readonly string[]): void {
    let kept = this.values.get(name);
    if (kept === undefined) this.values.set(name, (kept = []));
    for (const value of values) {
      if (value === "" || value.length > LONGEST || kept.includes(value)) continue;
      if (kept.length < KEPT) kept.push(value);
      else kept[this.dice.below(KEPT)] = value;
    }
  }

  /** One of the values of any of the names. */
  pick(...names: readonly string[]): string | undefined {
    const all = names.flatMap((name) => this.values.get(name) ?? []);
    return all.length === 0 ? undefined : this.dice.pick(all);
  }

  all(name: string): readonly string[] {
    return this.values.get(name) ?? [];
  }

  /** Forgets what is known by that name. */
  clear(name: string): void {
    this.values.delete(name);
  }

  /** Learns from an answer the texts of well-known fields; events belong to the room that was asked about. */
  harvest(value: Json | undefined, roomId?: string, depth = 0): void {
    if (depth > 6) return;
    if (Array.isArray(value)) {
      for (const item of value.slice(0, 5)) this.harvest(item, roomId, depth + 1);
    } else if (isJsonObject(value)) {
      // Key backups, unlike rooms, have nothing but a version, or secrets beside it.
      if (typeof value["version"] === "string" && ("auth_data" in value || Object.keys(value).length === 1)) this.add("version", value["version"]);
      for (const [name, item] of Object.entries(value).slice(0, 60)) {
        if (HARVESTED.has(name) && (typeof item === "string" || typeof item === "number")) {
          this.add(name, String(item));
          if (name === "event_id" && roomId !== undefined) this.add(eventsOf(roomId), String(item));
        } else this.harvest(item, roomId, depth + 1);
      }
    }
  }
}

/** The name of the events of one room. */
export const eventsOf = (roomId: string): string => `events of ${roomId}`;

const HARVESTED: ReadonlySet<string> = new Set([
  "room_id",
  "event_id",
  "next_batch",
  "prev_batch",
  "next_token",
  "pos",
  "start",
  "end",
  "filter_id",
  "delay_id",
  "content_uri",
  "device_id",
  "session",
  "sid",
  "token",
  "refresh_token",
  "login_token",
  "alias",
  "room_alias",
  "delete_id",
  "purge_id",
  "redact_id",
  "id",
  "url",
  "etag",
]);
