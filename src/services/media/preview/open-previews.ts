import type { Config } from "../../../config/config.ts";
import { IpFilter } from "../../../outbound/ip-filter.ts";
import { PageClient } from "../../../outbound/page-client.ts";
import type { FetchContext } from "./fetch.ts";
import { UrlPreviews } from "./url-previews.ts";

/** Some sites describe themselves to crawlers only. No version: it would tell strangers too much. */
const USER_AGENT = "Myelin (bot; like Synapse)";

/**
 * URL previews as configured; undefined where `url_preview_enabled` is off.
 * @param trusted PEM texts of authorities that are trusted beside the usual ones (tests)
 */
export function openUrlPreviews(
  config: Config,
  context: () => FetchContext,
  trusted?: readonly string[],
): { previews: UrlPreviews; close(): Promise<void> } | undefined {
  const { enabled, ipRangeBlocklist, ipRangeAllowlist, acceptLanguage } = config.media.urlPreview;
  if (!enabled || !config.media.canLoadMediaRepo) return undefined;
  const client = new PageClient({
    userAgent: USER_AGENT,
    acceptLanguage,
    filter: new IpFilter(ipRangeBlocklist, ipRangeAllowlist),
    proxy: config.server.proxy,
    trusted,
  });
  return { previews: new UrlPreviews(config, context, client), close: () => client.close() };
}
