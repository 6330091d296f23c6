import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createNetServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { createApp } from "../handlers/http/app.ts";
import { routes } from "../handlers/routes.ts";
import { formatSigningKey, signingKeyFromSeed } from "../config/signing-key.ts";
import { testCertificates } from "./certificates.ts";
import { startTestServer, type TestServer, type TestServerOptions } from "./server.ts";

export interface FederatedTestServer extends TestServer {
  /** `localhost:<port>`. */
  readonly name: string;
  /** Stops answering other servers, as if the machine were gone, until `plugIn`. */
  unplug(): Promise<void>;
  plugIn(): Promise<void>;
}

let keys = 100;

/**
 * A test server that others reach by its name, `localhost:<port>`, over TLS on the loopback address; it trusts the test authority, sends what
 * there is to send, and gives up at once where nobody answers.
 */
export async function startFederatedServer(options: TestServerOptions = {}): Promise<FederatedTestServer> {
  const port = await freePort();
  const name = `localhost:${port}`;
  const { ca, certificate, privateKey } = testCertificates();
  const folder = mkdtempSync(path.join(tmpdir(), "myelin-ca-"));
  writeFileSync(path.join(folder, "ca.pem"), ca);
  const server = await startTestServer({
    ...options,
    config: {
      server_name: name,
      public_baseurl: `https://${name}/`,
      signing_key: formatSigningKey(signingKeyFromSeed("a_fed", new Uint8Array(32).fill(keys++ % 256))),
      federation_custom_ca_list: [path.join(folder, "ca.pem")],
      federation_ip_range_blacklist: [],
      ip_range_blacklist: [],
      media_store_path: path.join(folder, "media"),
      federation: { max_short_retries: 0, max_long_retries: 0, client_timeout: "20s", destination_min_retry_interval: "1s" },
      ...options.config,
    },
  });
  const stopping = new AbortController();
  const app = createApp(server.ctx, { endpoints: routes, trustForwarded: false, modulePaths: "none", siteTag: "test", tls: true, stopping: stopping.signal });
  let https = createHttpsServer({ cert: certificate, key: privateKey }, app);
  const listen = (): Promise<void> => new Promise((resolve) => https.listen(port, "127.0.0.1", resolve));
  const unplug = (): Promise<void> => {
    https.closeAllConnections();
    return new Promise((resolve) => https.close(() => resolve()));
  };
  await listen();
  server.ctx.federationSender.start(server.ctx.publisher);
  return {
    ...server,
    name,
    unplug,
    async plugIn() {
      https = createHttpsServer({ cert: certificate, key: privateKey }, app);
      await listen();
    },
    async close() {
      stopping.abort();
      await unplug();
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createNetServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
