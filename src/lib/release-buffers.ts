import { MessageChannel, type MessagePort } from "node:worker_threads";

let nowhere: MessagePort | undefined;

/**
 * Frees the memory of buffers that nobody needs any more; they are empty then. V8 marks the whole heap for each 64 MB of them that wait to
 * be collected, which costs more than what is done with the bytes. Buffers that share their memory with others stay.
 */
export function releaseBuffers(buffers: readonly Buffer[]): void {
  const memory = buffers.flatMap(({ buffer, length }) => (buffer instanceof ArrayBuffer && buffer.byteLength === length && length > 0 ? [buffer] : []));
  if (memory.length > 0) (nowhere ??= portToNowhere()).postMessage(null, memory);
}

/** What is handed over there belongs to nobody. */
function portToNowhere(): MessagePort {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  port1.unref();
  return port1;
}
