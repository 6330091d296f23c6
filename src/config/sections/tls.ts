import { resolve } from "node:path";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { readConfigFile } from "../reader.ts";

/** Certificates of the own listeners and checks of those of others (`tls`). */
export type TlsConfig = ReturnType<typeof parseTls>;

export function parseTls(raw: ConfigReader, ctx: ParseContext, hasTlsListener: boolean) {
  const certificatePath = raw.filePath("tls_certificate_path", ctx);
  const privateKeyPath = raw.filePath("tls_private_key_path", ctx);
  if (hasTlsListener && certificatePath === undefined) throw raw.wrong("tls_certificate_path", "a PEM file, since a listener has tls: true");
  if (hasTlsListener && privateKeyPath === undefined) throw raw.wrong("tls_private_key_path", "a PEM file, since a listener has tls: true");
  const minimumVersion = raw.text("federation_client_minimum_tls_version") ?? "1";
  if (!["1", "1.1", "1.2", "1.3"].includes(minimumVersion)) throw raw.wrong("federation_client_minimum_tls_version", "one of 1, 1.1, 1.2, 1.3");
  const whitelist = raw.strings("federation_certificate_verification_whitelist");
  const international = whitelist.find((entry) => /[^\x00-\x7f]/.test(entry));
  if (international !== undefined) {
    throw raw.error("federation_certificate_verification_whitelist", `found ${JSON.stringify(international)}, wanted ASCII names (IDNA is not allowed)`);
  }
  return {
    /** PEM files of the own certificate; read again on SIGHUP. */
    files: certificatePath === undefined || privateKeyPath === undefined ? undefined : { certificatePath, privateKeyPath },
    federationVerifyCertificates: raw.boolean("federation_verify_certificates", true),
    /** As node's `minVersion`. */
    federationClientMinimumTlsVersion: (minimumVersion === "1" ? "TLSv1" : `TLSv${minimumVersion}`) as "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3",
    /** Globs (`*`, `?`) of server names whose certificates are not checked. */
    federationCertificateVerificationWhitelist: whitelist,
    /** PEM texts that replace the system's certificate authorities for federation; undefined: the system's. */
    federationCustomCaList: parseCustomCaList(raw, ctx),
  };
}

function parseCustomCaList(raw: ConfigReader, ctx: ParseContext): string[] | undefined {
  const files = raw.optionalStrings("federation_custom_ca_list");
  if (files === undefined) return undefined;
  if (files.length === 0) throw raw.wrong("federation_custom_ca_list", "at least one PEM file");
  return files.map((file, index) => {
    const pem = readConfigFile(resolve(ctx.dataDir, file), `federation_custom_ca_list[${index}]`);
    if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw raw.error("federation_custom_ca_list", `the file ${file} holds no PEM certificate`);
    return pem;
  });
}
