import { isJsonObject, type Json, type JsonObject } from "../../lib/json.ts";
import { parseJson } from "../../lib/lossless-json.ts";
import { MatrixError } from "../../protocol/errors.ts";
import type { MatrixEvent } from "../../protocol/event/event.ts";
import { compileEventFilter } from "../../protocol/sync-filter.ts";
import type { TimelineFilter } from "../../storage/rooms/pagination.ts";
import type { Context } from "../context.ts";

/** The `filter` of /messages, /context and /search: the part that the database applies and the part applied to loaded events. */
export interface RoomEventFilter {
  readonly timeline: TimelineFilter;
  readonly accepts: (event: MatrixEvent) => boolean;
  readonly limit: number;
  readonly lazyLoadMembers: boolean;
  /** Events are wanted as PDUs. */
  readonly federationFormat: boolean;
}

/** From a query parameter; undefined when there is none. @throws MatrixError 400 M_NOT_JSON */
export function parseRoomEventFilter(ctx: Pick<Context, "config">, text: string | undefined): RoomEventFilter | undefined {
  if (text === undefined) return undefined;
  let value: Json;
  try {
    value = parseJson(text);
  } catch {
    throw new MatrixError(400, "M_NOT_JSON", "Query parameter filter must be a valid JSON object");
  }
  if (!isJsonObject(value)) throw new MatrixError(400, "M_NOT_JSON", "Query parameter filter must be a valid JSON object");
  return Object.keys(value).length === 0 ? undefined : roomEventFilter(ctx, value);
}

/** A filter of room events from its definition. */
export function roomEventFilter(ctx: Pick<Context, "config">, definition: JsonObject): RoomEventFilter {
  const compiled = compileEventFilter(definition);
  const relTypes = ctx.config.experimental.msc3874Enabled;
  return {
    timeline: {
      types: strings(definition.types),
      notTypes: strings(definition.not_types),
      senders: strings(definition.senders),
      notSenders: strings(definition.not_senders),
      rooms: strings(definition.rooms),
      notRooms: strings(definition.not_rooms),
      containsUrl: definition.contains_url === true,
      labels: strings(definition["org.matrix.labels"]),
      relatedBySenders: strings(definition.related_by_senders),
      relatedByRelTypes: strings(definition.related_by_rel_types),
      ...(relTypes
        ? { relTypes: strings(definition["org.matrix.msc3874.rel_types"]), notRelTypes: strings(definition["org.matrix.msc3874.not_rel_types"]) }
        : {}),
    },
    accepts: (event) => compiled.accepts(event),
    limit: compiled.limit,
    lazyLoadMembers: definition.lazy_load_members === true,
    federationFormat: definition.event_format === "federation",
  };
}

function strings(value: Json | undefined): string[] | undefined {
  if (!Array.isArray(value)) return undefined;
  return value.filter((item) => typeof item === "string").map((item) => item.replaceAll("\0", "\ufffd"));
}
