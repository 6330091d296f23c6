import { MatrixError, missingParam } from "../../protocol/errors.ts";
import {
  authChainForServer,
  backfillForServer,
  complexityForServer,
  eventForServer,
  eventNearTimeForServer,
  extremitiesForServer,
  missingEventsForServer,
  stateForServer,
  stateIdsForServer,
} from "../../services/federation/inbound/history.ts";
import { federationEndpoint } from "./endpoint.ts";

const V1 = "/_matrix/federation/v1";

export const getEvent = federationEndpoint({
  servlet: "FederationEventServlet",
  method: "GET",
  path: [`${V1}/event/:eventId`, `${V1}/event/:eventId/`],
  handle: (ctx, { origin, params }) => eventForServer(ctx, origin, params.eventId),
});

export const getState = federationEndpoint({
  servlet: "FederationStateV1Servlet",
  method: "GET",
  path: [`${V1}/state/:roomId`, `${V1}/state/:roomId/`],
  handle: (ctx, { origin, params, query }) => stateForServer(ctx, origin, params.roomId, query.requiredString("event_id")),
});

export const getStateIds = federationEndpoint({
  servlet: "FederationStateIdsServlet",
  method: "GET",
  path: [`${V1}/state_ids/:roomId`, `${V1}/state_ids/:roomId/`],
  handle: (ctx, { origin, params, query }) => stateIdsForServer(ctx, origin, params.roomId, query.requiredString("event_id")),
});

export const getBackfill = federationEndpoint({
  servlet: "FederationBackfillServlet",
  method: "GET",
  path: [`${V1}/backfill/:roomId`, `${V1}/backfill/:roomId/`],
  handle(ctx, { origin, params, query }) {
    const limit = query.natural("limit", 0);
    if (limit === 0) throw new MatrixError(400, "M_MISSING_PARAM", "Did not include limit param");
    if (!query.has("v")) throw missingParam("Missing required string query parameter v");
    return backfillForServer(ctx, origin, params.roomId, query.strings("v"), limit);
  },
});

export const getEventNearTime = federationEndpoint({
  servlet: "FederationTimestampLookupServlet",
  method: "GET",
  path: [`${V1}/timestamp_to_event/:roomId`, `${V1}/timestamp_to_event/:roomId/`],
  handle(ctx, { origin, params, query }) {
    query.requiredString("ts");
    query.requiredString("dir");
    return eventNearTimeForServer(ctx, origin, params.roomId, query.integer("ts")!, query.oneOf("dir", ["f", "b"] as const) === "b");
  },
});

export const getExtremities = federationEndpoint({
  servlet: "FederationUnstableGetExtremitiesServlet",
  method: "GET",
  path: "/_matrix/federation/unstable/org.matrix.msc4370/extremities/:roomId",
  when: (config) => config.experimental.msc4370Enabled,
  handle: (ctx, { origin, params }) => extremitiesForServer(ctx, origin, params.roomId),
});

export const getMissingEvents = federationEndpoint({
  servlet: "FederationGetMissingEventsServlet",
  method: "POST",
  path: `${V1}/get_missing_events/:roomId`,
  handle: (ctx, { origin, params, body }) => missingEventsForServer(ctx, origin, params.roomId, body),
});

export const getEventAuth = federationEndpoint({
  servlet: "FederationEventAuthServlet",
  method: "GET",
  path: `${V1}/event_auth/:roomId/:eventId`,
  handle: (ctx, { origin, params }) => authChainForServer(ctx, origin, params.roomId, params.eventId),
});

export const getComplexity = federationEndpoint({
  servlet: "RoomComplexityServlet",
  method: "GET",
  path: "/_matrix/federation/unstable/rooms/:roomId/complexity",
  handle: (ctx, { params }) => complexityForServer(ctx, params.roomId),
});

export const historyRoutes = [getEvent, getState, getStateIds, getBackfill, getEventNearTime, getExtremities, getMissingEvents, getEventAuth, getComplexity];
