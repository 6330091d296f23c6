import { createHmac } from "node:crypto";
import type { AddressInfo } from "node:net";
import supertest from "supertest";
import type TestAgent from "supertest/lib/agent.js";
import { createApp } from "../handlers/http/app.ts";
import { routes } from "../handlers/routes.ts";
import type { Json } from "../lib/json.ts";
import type { Clock } from "../lib/clock.ts";
import { type Logger, silentLogger } from "../lib/log.ts";
import { createServer, type Server } from "../server.ts";
import type { Context } from "../services/context.ts";
import { testConfig, type TestConfigOverrides } from "./config.ts";
import { Contract } from "./openapi/contract.ts";
import { createTestDatabase, type TestDatabase, type TestDatabaseOptions } from "./database.ts";

export interface TestServerOptions {
  /** Options as in homeserver.yaml, over a small valid configuration (server name `test`). */
  readonly config?: TestConfigOverrides;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** PEM texts of authorities that outgoing requests trust. */
  readonly trustedAuthorities?: readonly string[];
  readonly database?: TestDatabaseOptions;
  /** As `--allow-missing-modules`. */
  readonly allowMissingModules?: boolean;
}

/** A user of a test server. */
export interface TestUser {
  readonly userId: string;
  readonly accessToken: string;
  readonly deviceId: string;
}

/**
 * Requests in somebody's name; each returns a supertest request to which body, query and expectations are added. The answers are held
 * against the specification's OpenAPI documents.
 */
export interface TestClient {
  /** A request without a body; send what you like. */
  request(method: "get" | "post" | "put" | "delete", path: string): supertest.Test;
  get(path: string): supertest.Test;
  post(path: string, body?: object): supertest.Test;
  put(path: string, body?: object): supertest.Test;
  delete(path: string, body?: object): supertest.Test;
  /** Makes a room; returns its id. */
  createRoom(body?: object): Promise<string>;
  /** Joins a room by its id or alias. */
  join(room: string): Promise<void>;
  /** Sends an event that is no state, a text message where only its body is given; returns its id. */
  send(roomId: string, content: object | string, type?: string): Promise<string>;
}

export interface TestServer {
  readonly ctx: Context;
  readonly server: Server;
  readonly database: TestDatabase;
  /** Where it answers: "http://127.0.0.1:12345". */
  readonly url: string;
  /** Without a token. */
  readonly anonymous: TestClient;
  /** Makes an account through shared-secret registration. */
  register(name: string, options?: { admin?: boolean; password?: string }): Promise<TestUser>;
  as(user: Pick<TestUser, "accessToken">): TestClient;
  close(): Promise<void>;
}

const CLIENT = "/_matrix/client/v3";

/** The password of users made by `register`. */
export const TEST_PASSWORD = "correct horse battery staple";

/**
 * A whole server on a database of its own, answering over real HTTP on a free port of the loopback address. Periodic jobs do not run by
 * themselves: `server.jobs.runOnce(name)`.
 */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const database = await createTestDatabase(options.database);
  const config = testConfig({ ...options.config, database: databaseOptions(database.url) });
  const overrides = {
    allowOtherClients: true,
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.allowMissingModules === undefined ? {} : { allowMissingModules: options.allowMissingModules }),
    ...(options.trustedAuthorities === undefined ? {} : { trustedAuthorities: options.trustedAuthorities }),
  };
  const server = await createServer(config, options.log ?? silentLogger, overrides).catch(async (error: unknown) => {
    await database.drop();
    throw error;
  });
  const stopping = new AbortController();
  const app = createApp(server.ctx, { endpoints: routes, trustForwarded: true, modulePaths: "all", siteTag: "test", tls: false, stopping: stopping.signal });
  const http = app.listen(0, "127.0.0.1");
  await new Promise((resolve) => http.once("listening", resolve));
  const contract = Contract.ofSpecification();
  http.on("request", ({ method, url }, response) => response.once("finish", () => contract.note(method!, url!, response.statusCode)));
  const agent = supertest(http) as unknown as TestAgent;

  let sent = 0;
  const client = (token: string | undefined): TestClient => {
    const request: TestClient["request"] = (method, path) => {
      const made = agent[method](path).expect((response) => holdToContract(method, path, response));
      return token === undefined ? made : made.set("Authorization", `Bearer ${token}`);
    };
    const here: TestClient = {
      request,
      get: (path) => request("get", path),
      post: (path, body = {}) => request("post", path).send(body),
      put: (path, body = {}) => request("put", path).send(body),
      delete: (path, body = {}) => request("delete", path).send(body),
      async createRoom(body) {
        return (await here.post(`${CLIENT}/createRoom`, body).expect(200)).body.room_id as string;
      },
      async join(room) {
        await here.post(`${CLIENT}/join/${encodeURIComponent(room)}`).expect(200);
      },
      async send(roomId, content, type = "m.room.message") {
        const body = typeof content === "string" ? { msgtype: "m.text", body: content } : content;
        const path = `${CLIENT}/rooms/${encodeURIComponent(roomId)}/send/${encodeURIComponent(type)}/sent${sent++}`;
        return (await here.put(path, body).expect(200)).body.event_id as string;
      },
    };
    return here;
  };
  const anonymous = client(undefined);

  return {
    ctx: server.ctx,
    server,
    database,
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    anonymous,
    as: (user) => client(user.accessToken),
    async register(name, { admin = false, password = TEST_PASSWORD } = {}) {
      const path = "/_synapse/admin/v1/register";
      const { nonce } = (await anonymous.get(path).expect(200)).body as { nonce: string };
      const mac = createHmac("sha1", config.registration.registrationSharedSecret!)
        .update([nonce, name, password, admin ? "admin" : "notadmin"].join("\0"))
        .digest("hex");
      const { body } = await anonymous.post(path, { nonce, username: name, password, admin, mac }).expect(200);
      return { userId: body.user_id as string, accessToken: body.access_token as string, deviceId: body.device_id as string };
    },
    async close() {
      stopping.abort();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      await server.close();
      await database.drop();
    },
  };
}

/** @throws Error where the specification's documents do not have such an answer: in whichever test it comes */
function holdToContract(method: string, path: string, { status, type, body }: supertest.Response): void {
  if (!type.endsWith("json")) return;
  const faults = Contract.ofSpecification().check(method.toUpperCase(), path, status, body as Json);
  if (faults.length > 0) throw new Error(`${method} ${path}: ${status}, not as specified: ${faults.join("; ")}`);
}

function databaseOptions(url: string): object {
  const { hostname, port, username, password, pathname } = new URL(url);
  return {
    name: "psycopg2",
    args: {
      host: hostname,
      port: Number(port),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      dbname: pathname.slice(1),
      cp_min: 1,
      cp_max: 6,
    },
  };
}
