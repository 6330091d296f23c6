import { type JsonObject } from "../lib/json.ts";
import { HttpClient, HttpError, type HttpProxies, HttpUnavailable } from "./http-client.ts";
import type { IpFilter } from "./ip-filter.ts";

/** What became of a notification: push keys that the gateway has no use for any more, or why it did not arrive. */
export type PushOutcome = { readonly rejected: readonly string[] } | { readonly failed: string };

/** Push gateways (Push Gateway API). Users name them: addresses of blocked ranges are out of reach, redirects are not followed. */
export class PushGateway {
  private readonly http: HttpClient;

  constructor(options: {
    readonly userAgent: string;
    readonly filter: IpFilter;
    readonly proxy: HttpProxies;
    readonly trusted: readonly string[] | undefined;
  }) {
    this.http = new HttpClient({ ...options, proxyDespiteFilter: true });
  }

  /** `POST /notify`. Never rejects. */
  async notify(url: string, notification: JsonObject): Promise<PushOutcome> {
    try {
      const { rejected } = await this.http.object({ method: "POST", url, json: { notification } });
      return { rejected: Array.isArray(rejected) ? rejected.filter((key) => typeof key === "string") : [] };
    } catch (error) {
      if (error instanceof HttpError || error instanceof HttpUnavailable) return { failed: error.message };
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.http.close();
  }
}
