import { endpoint } from "./http/endpoint.ts";
import { RawReply } from "./http/reply.ts";

/** Prometheus metrics under Synapse's names, on listeners with the resource or the type `metrics`. */
export const metrics = endpoint({
  servlet: "MetricsResource",
  method: "GET",
  path: ["/_synapse/metrics", "/metrics"],
  auth: "none",
  quiet: true,
  when: (config) => config.metrics.enableMetrics,
  async handle(ctx) {
    const { contentType, body } = await ctx.metrics.scrape();
    return new RawReply(200, contentType, body);
  },
});

export const metricsRoutes = [metrics];
