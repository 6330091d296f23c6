import type { JsonObject } from "../../../lib/json.ts";
import { isJsonObject } from "../../../lib/json.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { cloneJson } from "../clone-json.ts";
import { ModuleEvent } from "../events.ts";

/** Returns keys for `unsigned` of an event that a client gets. Called each time that an event is sent to a client: be quick. */
export type AddFieldsToUnsigned = (event: ModuleEvent) => JsonObject | Promise<JsonObject>;

/** What modules add to events for clients. */
export class UnsignedModules {
  private readonly modules: AddFieldsToUnsigned[] = [];

  register(callback: AddFieldsToUnsigned): void {
    this.modules.push(callback);
  }

  get isEmpty(): boolean {
    return this.modules.length === 0;
  }

  /** By event id, what is added; the server's own keys win. */
  async additionsTo(events: Iterable<MatrixEvent>): Promise<Map<string, JsonObject>> {
    const additions = new Map<string, JsonObject>();
    if (this.isEmpty) return additions;
    for (const event of events) {
      const added: JsonObject = {};
      for (const callback of this.modules) {
        const fields: unknown = await callback(new ModuleEvent(event));
        if (isJsonObject(fields)) Object.assign(added, cloneJson(fields));
      }
      if (Object.keys(added).length > 0) additions.set(event.eventId, added);
    }
    return additions;
  }
}
