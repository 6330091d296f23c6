import { createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { createSecureContext, TLSSocket } from "node:tls";
import { BerReader, BerWriter } from "ldapts";
import { testCertificates } from "./certificates.ts";

/** An entry of the directory; `userPassword` is what it binds with. */
export interface TestEntry {
  readonly dn: string;
  readonly userPassword?: string;
  readonly attributes: Readonly<Record<string, readonly string[]>>;
}

const TAG = { bind: 0x60, unbind: 0x42, search: 0x63, extended: 0x77 } as const;
const ANSWER = { bind: 0x61, entry: 0x64, done: 0x65, extended: 0x78 } as const;
const RESULT = { success: 0, protocolError: 2, noSuchObject: 32, invalidCredentials: 49 } as const;
const START_TLS = "1.3.6.1.4.1.1466.20037";

/** A directory server on the loopback address with just enough of LDAP (RFC 4511): simple binds, searches with and, equality and presence, StartTLS. */
export class TestLdapServer {
  /** Who tried to bind, and whether it went well. */
  readonly binds: { dn: string; ok: boolean; secure: boolean }[] = [];
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async start(entries: readonly TestEntry[]): Promise<TestLdapServer> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const ldap = new TestLdapServer(server, (server.address() as AddressInfo).port);
    server.on("connection", (socket) => {
      ldap.sockets.add(socket);
      ldap.serve(socket, entries, false);
    });
    return ldap;
  }

  get uri(): string {
    return `ldap://127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private serve(socket: Socket, entries: readonly TestEntry[], secure: boolean): void {
    let pending = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      for (;;) {
        const length = messageLength(pending);
        if (length === undefined || pending.length < length) return;
        const message = new BerReader(pending.subarray(0, length));
        pending = pending.subarray(length);
        this.handle(socket, message, entries, secure);
      }
    });
  }

  private handle(socket: Socket, reader: BerReader, entries: readonly TestEntry[], secure: boolean): void {
    reader.readSequence();
    const id = reader.readInt()!;
    const operation = reader.readSequence()!;
    switch (operation) {
      case TAG.bind: {
        reader.readInt();
        const dn = reader.readString() ?? "";
        const password = reader.readString(0x80) ?? "";
        const entry = entries.find((candidate) => candidate.dn.toLowerCase() === dn.toLowerCase());
        const ok = entry?.userPassword === password;
        this.binds.push({ dn, ok, secure });
        socket.write(result(id, ANSWER.bind, ok ? RESULT.success : RESULT.invalidCredentials));
        return;
      }
      case TAG.search: {
        const base = reader.readString() ?? "";
        const scope = reader.readEnumeration();
        for (const skip of ["deref", "size", "time"]) void (skip === "deref" ? reader.readEnumeration() : reader.readInt());
        reader.readBoolean();
        const filter = readFilter(reader);
        for (const entry of entries) {
          const inScope = scope === 0 ? entry.dn.toLowerCase() === base.toLowerCase() : entry.dn.toLowerCase().endsWith(base.toLowerCase());
          if (inScope && filter(entry)) socket.write(entryMessage(id, entry));
        }
        socket.write(result(id, ANSWER.done, RESULT.success));
        return;
      }
      case TAG.extended: {
        const name = reader.readString(0x80);
        socket.write(result(id, ANSWER.extended, name === START_TLS ? RESULT.success : RESULT.protocolError));
        if (name !== START_TLS) return;
        const { certificate, privateKey } = testCertificates();
        socket.removeAllListeners("data");
        const tls = new TLSSocket(socket, { isServer: true, secureContext: createSecureContext({ cert: certificate, key: privateKey }) });
        this.serve(tls, entries, true);
        return;
      }
      default:
        socket.end();
    }
  }
}

/** Length of the message at the beginning, with its head; undefined while that is not there. */
function messageLength(buffer: Buffer): number | undefined {
  if (buffer.length < 2) return undefined;
  const first = buffer[1]!;
  if (first < 0x80) return 2 + first;
  const bytes = first & 0x7f;
  return buffer.length < 2 + bytes ? undefined : 2 + bytes + buffer.readUIntBE(2, bytes);
}

function result(id: number, tag: number, code: number): Buffer {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(tag);
  writer.writeEnumeration(code);
  writer.writeString("");
  writer.writeString("");
  writer.endSequence();
  writer.endSequence();
  return writer.buffer;
}

function entryMessage(id: number, entry: TestEntry): Buffer {
  const writer = new BerWriter();
  writer.startSequence();
  writer.writeInt(id);
  writer.startSequence(ANSWER.entry);
  writer.writeString(entry.dn);
  writer.startSequence();
  for (const [name, values] of Object.entries(entry.attributes)) {
    writer.startSequence();
    writer.writeString(name);
    writer.startSequence(0x31);
    for (const value of values) writer.writeString(value);
    writer.endSequence();
    writer.endSequence();
  }
  writer.endSequence();
  writer.endSequence();
  writer.endSequence();
  return writer.buffer;
}

type Test = (entry: TestEntry) => boolean;

function readFilter(reader: BerReader): Test {
  const tag = reader.peek()!;
  if (tag === 0x87) {
    const name = reader.readString(0x87)!;
    return (entry) => name.toLowerCase() === "objectclass" || valuesOf(entry, name).length > 0;
  }
  reader.readSequence(tag);
  const end = reader.offset + reader.length;
  if (tag === 0xa0) {
    const parts: Test[] = [];
    while (reader.offset < end) parts.push(readFilter(reader));
    return (entry) => parts.every((part) => part(entry));
  }
  if (tag !== 0xa3) throw new Error(`The test's directory does not know the filter ${tag.toString(16)}`);
  const name = reader.readString()!;
  const value = reader.readString()!;
  return (entry) => valuesOf(entry, name).some((known) => known.toLowerCase() === value.toLowerCase());
}

const valuesOf = (entry: TestEntry, name: string): readonly string[] =>
  Object.entries(entry.attributes).find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1] ?? [];
