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
}

const storage = new AsyncLocalStorage<RequestContext>();

export function runInRequest<T>(context: RequestContext, fn: () => T): T {
  return storage.run(context, fn);
}

export function currentRequest(): RequestContext | undefined {
  return storage.getStore();
}
