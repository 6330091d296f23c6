import type { ConfigReader } from "../reader.ts";

/** Prometheus and usage statistics (`metrics`). */
export type MetricsConfig = ReturnType<typeof parseMetrics>;

export function parseMetrics(raw: ConfigReader) {
  const enableMetrics = raw.boolean("enable_metrics", false);
  const knownServers = raw.object("metrics_flags").boolean("known_servers", false);
  return {
    enableMetrics,
    metricsFlags: { knownServers: enableMetrics && knownServers },
    reportStats: parseReportStats(raw),
    reportStatsEndpoint: raw.string("report_stats_endpoint", "https://matrix.org/report-usage-stats/push"),
  };
}

/** The admin must have decided: absence is an error, as in Synapse. */
function parseReportStats(raw: ConfigReader): boolean {
  if (!raw.has("report_stats")) throw raw.wrong("report_stats", "true or false (decide whether usage statistics are reported to matrix.org)");
  return raw.boolean("report_stats", false);
}
