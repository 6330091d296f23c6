import { endpoint, type Endpoint, type EndpointSpec } from "../http/endpoint.ts";

/**
 * An endpoint for other servers: the caller's signature is checked, and `rc_federation` holds for all but what asks for none
 * (`unlimited`). Bodies keep numbers as they were written, since they hold events.
 */
export function federationEndpoint<const P extends string>(
  spec: Omit<EndpointSpec<P, "federation", undefined>, "auth" | "body" | "lossless"> & { unlimited?: boolean },
): Endpoint {
  const { unlimited = false, handle, ...rest } = spec;
  return endpoint<P, "federation">({
    ...rest,
    auth: "federation",
    lossless: true,
    handle: (ctx, request) => (unlimited ? handle(ctx, request) : ctx.inbound.limiter.run(request.origin, async () => await handle(ctx, request))),
  });
}
