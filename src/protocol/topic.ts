import { isJsonObject, type JsonObject } from "../lib/json.ts";

/**
 * The plain text of an `m.room.topic` event: the first text/plain representation of `m.topic` (MSC3765), else `topic`. As in Synapse,
 * undefined when `topic` is no string, whatever `m.topic` says.
 */
export function topicText(content: JsonObject): string | undefined {
  if (typeof content.topic !== "string") return undefined;
  const rich = isJsonObject(content["m.topic"]) ? content["m.topic"]["m.text"] : undefined;
  if (Array.isArray(rich)) {
    for (const entry of rich) {
      if (!isJsonObject(entry) || typeof entry.body !== "string") continue;
      if (entry.mimetype === undefined || entry.mimetype === null || entry.mimetype === "" || entry.mimetype === "text/plain") return entry.body;
    }
  }
  return content.topic;
}
