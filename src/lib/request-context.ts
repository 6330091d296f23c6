import { AsyncLocalStorage } from "node:async_hooks";

/** The request (or background process) on whose behalf code runs; read by the logger. */
export interface RequestContext {
  readonly id: string;
  readonly ip?: string;
  readonly siteTag?: string;
  readonly method?: string;
  readonly url?: string;
  readonly userAgent?: string;
  readonly requester?: string | undefined;
  readonly usage?: DatabaseUsage;
}

/** What a request or process has cost the database so far: statements outside transactions count as one each. */
export interface DatabaseUsage {
  transactions: number;
  seconds: number;
  /** Waiting for a connection. */
  waitedSeconds: number;
}

export const noUsage = (): DatabaseUsage => ({ transactions: 0, seconds: 0, waitedSeconds: 0 });

const storage = new AsyncLocalStorage<RequestContext>();

export function runInRequest<T>(context: RequestContext, fn: () => T): T {
  return storage.run(context, fn);
}

export function currentRequest(): RequestContext | undefined {
  return storage.getStore();
}
