import { connect } from "node:net";

/** libpq's request for TLS: length 8, code 80877103. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
const TIMEOUT_MS = 5_000;

/**
 * Whether the Postgres server would speak TLS, asked as libpq asks with sslmode `prefer`. False when it does not answer: the
 * connection itself will then say why. A Unix socket never has TLS.
 */
export async function offersTls(host: string, port: number): Promise<boolean> {
  if (host.startsWith("/")) return false;
  return await new Promise((resolve) => {
    const socket = connect({ host, port, timeout: TIMEOUT_MS });
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => socket.write(SSL_REQUEST));
    socket.once("data", (data) => finish(data[0] === 0x53));
    socket.once("timeout", () => finish(false));
    socket.once("error", () => finish(false));
    socket.once("close", () => finish(false));
  });
}
