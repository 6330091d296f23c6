import { endpoint } from "../http/endpoint.ts";

/** What retention policies the server has and allows (MSC1763). */
export const retentionConfiguration = endpoint({
  servlet: "RetentionConfigurationServlet",
  method: "GET",
  path: "/_matrix/client/unstable/org.matrix.msc1763/retention/configuration",
  auth: "user",
  when: (config) => config.retention.enabled && config.experimental.msc1763Enabled,
  handle(ctx) {
    const { defaultMinLifetimeMs, defaultMaxLifetimeMs, allowedLifetimeMinMs, allowedLifetimeMaxMs } = ctx.config.retention;
    const policy = { min_lifetime: defaultMinLifetimeMs, max_lifetime: defaultMaxLifetimeMs };
    const bounds = { min: allowedLifetimeMinMs, max: allowedLifetimeMaxMs };
    const isSet = (values: Readonly<Record<string, unknown>>): boolean => Object.values(values).some((value) => value !== undefined);
    return { policies: isSet(policy) ? { "*": policy } : {}, limits: isSet(bounds) ? { max_lifetime: bounds } : {} };
  },
});

export const retentionRoutes = [retentionConfiguration];
