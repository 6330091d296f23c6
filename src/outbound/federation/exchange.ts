import type { Dispatcher } from "undici";
import { ByteCollector } from "../../lib/byte-collector.ts";
import { systemClock, type Timer } from "../../lib/clock.ts";

/** An answer that has been read to its end. */
export interface Answer {
  readonly status: number;
  /** undefined where the answer is an error whose body is too long, or broke off. */
  readonly body: Buffer | undefined;
}

export interface ExchangeBounds {
  /** Longest answer in bytes; those of error answers count by themselves. */
  readonly maxBytes: number;
  readonly maxErrorBytes: number;
  /** From the request until the end of the answer, waiting for a connection included. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a request and reads the whole answer; `onStatus` hears of it when it begins. The dispatcher needs no time limits of its own. A stream
 * for an answer of a few bytes, and signals that are combined and forgotten, would cost several times as much as the request itself.
 * @throws what went wrong with the connection; an Error called TimeoutError; the reason of the signal
 */
export function exchange(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  bounds: ExchangeBounds,
  onStatus: (status: number) => void,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { signal } = bounds;
    if (signal?.aborted) return reject(signal.reason as Error);
    dispatcher.dispatch(request, new Exchange(bounds, onStatus, resolve, reject));
  });
}

/** What each signal is to stop: a listener for each would cost more than the timer that each needs. */
const stoppable = new WeakMap<AbortSignal, Set<Exchange>>();

function stoppedBy(signal: AbortSignal): Set<Exchange> {
  let all = stoppable.get(signal);
  if (all === undefined) {
    const created = (all = new Set<Exchange>());
    stoppable.set(signal, created);
    signal.addEventListener("abort", () => {
      for (const one of created) one.giveUp(signal.reason as Error);
    });
  }
  return all;
}

class Exchange implements Dispatcher.DispatchHandler {
  private status = 0;
  private readonly body = new ByteCollector();
  private controller: Dispatcher.DispatchController | undefined;
  /** Why it was given up. */
  private reason: Error | undefined;
  private isOver = false;
  private readonly timer: Timer;
  private readonly stoppable: Set<Exchange> | undefined;

  constructor(
    private readonly bounds: ExchangeBounds,
    private readonly onStatus: (status: number) => void,
    private readonly resolve: (answer: Answer) => void,
    private readonly reject: (error: Error) => void,
  ) {
    this.timer = systemClock.after(bounds.timeoutMs, () => this.giveUp(new TimeoutError()));
    this.stoppable = bounds.signal && stoppedBy(bounds.signal);
    this.stoppable?.add(this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // It may have waited for a connection for too long.
    if (this.reason !== undefined) controller.abort(this.reason);
    else this.controller = controller;
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    if (status < 200) return; // there is more to come
    this.status = status;
    this.onStatus(status);
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    const most = this.isError ? this.bounds.maxErrorBytes : this.bounds.maxBytes;
    if (this.body.size + chunk.length > most) this.giveUp(new Error(`the answer is longer than ${most} bytes`));
    else this.body.add(chunk);
  }

  onResponseEnd(): void {
    if (this.end()) this.resolve({ status: this.status, body: this.body.bytes() });
  }

  onResponseError(_controller: Dispatcher.DispatchController | undefined, error: Error): void {
    if (!this.end()) return;
    // What is known of an error answer is worth more than why there is no more of it.
    if (this.isError) this.resolve({ status: this.status, body: undefined });
    else this.reject(error);
  }

  private get isError(): boolean {
    return this.status >= 300;
  }

  giveUp(reason: Error): void {
    this.reason = reason;
    this.onResponseError(this.controller, reason);
    this.controller?.abort(reason);
  }

  /** True the first time. */
  private end(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.timer.cancel();
    this.stoppable?.delete(this);
    return true;
  }
}

class TimeoutError extends Error {
  override name = "TimeoutError";
}
