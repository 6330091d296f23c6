import { connect, type Socket } from "node:net";
import type { MatrixClient } from "../harness/client.ts";

/** How long an answer may take, ms. */
const PATIENCE = 60_000;

/**
 * Fetches files and looks at nothing but their length. A client that hands out what it reads spends several times what a server does who
 * sends it, on the same processors: the measurement would be one of the client.
 */
export class MediaReader {
  private readonly idle: Connection[] = [];

  constructor(private readonly client: MatrixClient) {}

  /** The status and the bytes of the body. */
  async get(path: string): Promise<{ status: number; bytes: number }> {
    const { hostname, port } = new URL(this.client.baseUrl);
    const connection = this.pick() ?? new Connection(hostname, Number(port));
    const answer = await connection.get(
      `GET ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${this.client.accessToken ?? ""}\r\nAccept: */*\r\n\r\n`,
    );
    this.idle.push(connection);
    return answer;
  }

  /** One that the server did not close meanwhile. */
  private pick(): Connection | undefined {
    let connection: Connection | undefined;
    do connection = this.idle.pop();
    while (connection?.closed === true);
    return connection;
  }

  close(): void {
    for (const connection of this.idle.splice(0)) connection.close();
  }
}

interface Waiting {
  resolve(answer: { status: number; bytes: number }): void;
  reject(error: Error): void;
}

/** A connection that is asked for one thing at a time. */
class Connection {
  private readonly socket: Socket;
  private waiting: Waiting | undefined;
  /** What came of the head of the answer; undefined: it is whole. */
  private head: string | undefined = "";
  private status = 0;
  private length = 0;
  private left = 0;

  constructor(host: string, port: number) {
    this.socket = connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafeSlow(256 * 1024),
        callback: (size, buffer) => {
          this.take(Buffer.from(buffer.buffer, buffer.byteOffset, size));
          return true;
        },
      },
    });
    this.socket.setTimeout(PATIENCE, () => this.socket.destroy(new Error("no answer in time")));
    this.socket.on("error", (error) => this.waiting?.reject(error));
    this.socket.on("close", () => this.waiting?.reject(new Error("the connection was closed")));
  }

  get closed(): boolean {
    return this.socket.destroyed;
  }

  get(request: string): Promise<{ status: number; bytes: number }> {
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
      if (this.closed) reject(new Error("the connection was closed"));
      else this.socket.write(request);
    });
  }

  close(): void {
    this.waiting = undefined;
    this.socket.destroy();
  }

  private take(bytes: Buffer): void {
    if (this.head === undefined) this.left -= bytes.length;
    else {
      const before = this.head.length;
      this.head += bytes.toString("latin1");
      const end = this.head.indexOf("\r\n\r\n");
      if (end < 0) return;
      this.status = Number(this.head.slice(9, 12));
      this.length = Number(/\r\ncontent-length: *(\d+)/i.exec(this.head.slice(0, end))?.[1] ?? Number.NaN);
      this.left = this.length - (before + bytes.length - end - 4);
      this.head = undefined;
    }
    if (this.left > 0) return;
    const { waiting } = this;
    this.waiting = undefined;
    this.head = "";
    if (this.left === 0) waiting?.resolve({ status: this.status, bytes: this.length });
    else waiting?.reject(new Error(`an answer of unknown length, or more than one (status ${this.status})`));
  }
}
