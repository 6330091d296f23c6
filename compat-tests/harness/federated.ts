import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { parseSigningKeys } from "../../src/protocol/event/sign.ts";
import { testCertificates } from "../../src/testing/certificates.ts";
import { makeHome, type Home, type HomeOptions } from "./home.ts";
import { freePort } from "./scratch.ts";

export interface FederatedHomeOptions extends Omit<HomeOptions, "serverName"> {
  /** What the server is called, before its port. Default: localhost */
  host?: "localhost" | "127.0.0.1";
}

/**
 * A home whose server others reach as `<host>:<port>` over TLS, with certificates of an authority that both sides trust; servers that do not
 * answer are tried again soon.
 */
export async function makeFederatedHome({ host = "localhost", ...options }: FederatedHomeOptions): Promise<Home> {
  const port = await freePort();
  const home = await makeHome({ ...options, serverName: `${host}:${port}` });
  const { ca, certificate, privateKey } = testCertificates();
  const file = (name: string, text: string): string => {
    const path = join(home.folder, name);
    writeFileSync(path, text);
    return path;
  };
  const config = parse(readFileSync(home.config, "utf8")) as { listeners: unknown[] };
  const listener = { port, bind_addresses: ["127.0.0.1"], type: "http", tls: true, resources: [{ names: ["federation"], compress: false }] };
  writeFileSync(
    home.config,
    stringify({
      ...config,
      listeners: [...config.listeners, listener],
      tls_certificate_path: file("tls.crt", certificate),
      tls_private_key_path: file("tls.key", privateKey),
      federation_custom_ca_list: [file("ca.crt", ca)],
      federation_ip_range_blacklist: [],
      federation: {
        destination_min_retry_interval: "1s",
        destination_max_retry_interval: "2s",
        max_long_retries: 1,
        max_short_retries: 1,
        max_long_retry_delay: "1s",
      },
      rc_federation: { window_size: 1000, sleep_limit: 10_000, sleep_delay: 1, reject_limit: 100_000, concurrent: 50 },
    }),
  );
  return home;
}

/** Gives the home a new signing key; the one that it had becomes an old one. Its server must not run. */
export function rotateKey(home: Home): void {
  const file = join(home.folder, "signing.key");
  const [old] = parseSigningKeys(readFileSync(file, "utf8"));
  const config = parse(readFileSync(home.config, "utf8")) as { old_signing_keys?: object };
  const retired = { [old!.keyId]: { key: old!.base64, expired_ts: Date.now() } };
  writeFileSync(home.config, stringify({ ...config, old_signing_keys: { ...config.old_signing_keys, ...retired } }));
  writeFileSync(file, `ed25519 a_new ${randomBytes(32).toString("base64").replace(/=+$/, "")}\n`);
}
