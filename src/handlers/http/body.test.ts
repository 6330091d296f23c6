import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, it } from "mocha";
import { MatrixError } from "../../protocol/errors.ts";
import { FakeClock } from "../../testing/fake-clock.ts";
import { readBody } from "./body.ts";

const LIMIT = 100_000;

describe("the body of a request", function () {
  this.timeout(30_000);
  let clock: FakeClock;
  let server: Server;
  /** Requests whose body is being read. */
  let reading: number;
  let heard: string[];
  let received: () => number;

  beforeEach(async () => {
    clock = new FakeClock();
    reading = 0;
    heard = [];
    server = createServer((req, res) => {
      reading++;
      received = () => req.socket.bytesRead;
      readBody(req, LIMIT, clock)
        .then((bytes) => {
          heard.push(bytes.toString("latin1"));
          res.end(String(bytes.length));
        })
        .catch((error: unknown) => {
          assert.ok(error instanceof MatrixError);
          heard.push(String(error.status));
          res.writeHead(error.status, error.headers).end();
        });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  const eventually = async (what: string, probe: () => boolean): Promise<void> => {
    for (const end = Date.now() + 20_000; !probe(); await new Promise((resolve) => setTimeout(resolve, 5))) assert.ok(Date.now() < end, what);
  };
  /** A request of which the head is sent; `text` is what came back, `closed` whether the server closed the connection. */
  const begin = (head: string): { socket: Socket; text: string; closed: boolean } => {
    const connection = { socket: connect((server.address() as AddressInfo).port, "127.0.0.1"), text: "", closed: false };
    connection.socket.on("data", (chunk: Buffer) => (connection.text += chunk.toString("latin1")));
    connection.socket.on("close", () => (connection.closed = true));
    connection.socket.on("error", () => {});
    connection.socket.write(`PUT / HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`);
    return connection;
  };

  it("is read in whatever pieces it comes", async () => {
    const body = "0123456789".repeat(5_000);
    const { socket } = begin("Transfer-Encoding: chunked");
    for (let at = 0; at < body.length; at += 7) {
      const piece = body.slice(at, at + 7);
      socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
    }
    socket.write("0\r\n\r\n");
    await eventually("it was read", () => heard.length === 1);
    assert.deepEqual(heard, [body]);
    socket.destroy();
  });

  it("that comes in drops is not waited for, and its connection is closed", async () => {
    const drip = begin("Content-Length: 50000");
    drip.socket.write("a");
    await eventually("reading has begun", () => reading === 1);
    for (let second = 1; second <= 19; second++) {
      drip.socket.write("a");
      clock.advance(1_000);
    }
    assert.deepEqual(heard, []);
    clock.advance(2_000);
    await eventually("it was cut", () => drip.closed);
    assert.match(drip.text, /^HTTP\/1\.1 408 /);
    assert.deepEqual(heard, ["408"]);
  });

  it("that is long and comes steadily is", async () => {
    const slow = begin("Content-Length: 50000");
    await eventually("reading has begun", () => reading === 1);
    slow.socket.write("a".repeat(40_000));
    await eventually("most of it is here", () => received() >= 40_000);
    clock.advance(30_000);
    clock.advance(30_000);
    assert.equal(heard.length, 0);
    slow.socket.write("a".repeat(10_000));
    await eventually("it was read", () => heard.length === 1);
    assert.equal(heard[0]!.length, 50_000);
    slow.socket.destroy();
  });

  it("is refused at once where it says that it is too long, and when it turns out to be", async () => {
    const said = begin(`Content-Length: ${LIMIT + 1}`);
    await eventually("it was refused", () => said.closed);
    const silent = begin("Transfer-Encoding: chunked");
    silent.socket.write(`${(LIMIT + 1).toString(16)}\r\n${"a".repeat(LIMIT + 1)}`);
    await eventually("it was refused", () => silent.closed);
    assert.deepEqual(heard, ["413", "413"]);
  });

  it("that ends early is no error of the server", async () => {
    const { socket } = begin("Content-Length: 100");
    socket.write("half");
    await eventually("reading has begun", () => reading === 1);
    socket.destroy();
    await eventually("the end was noticed", () => heard.length === 1);
    assert.deepEqual(heard, ["400"]);
  });
});
