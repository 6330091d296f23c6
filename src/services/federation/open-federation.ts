import { FederationClient } from "../../outbound/federation/client.ts";
import type { SigningKey } from "../../protocol/event/sign.ts";
import type { Context } from "../context.ts";
import { DestinationBackoff } from "./backoff.ts";
import { KeyRing, type ServerKey } from "./key-ring.ts";

export type FederationBasis = Pick<Context, "clock" | "config" | "log" | "random" | "read" | "transaction">;

/** What the server needs to talk with others: the signing client, the memory of who does not answer, the key ring. */
export interface Federation {
  readonly federationClient: FederationClient;
  readonly backoff: DestinationBackoff;
  readonly keyRing: KeyRing;
  /** Public halves of this server's keys by id, current and old ones. */
  readonly ownKeys: ReadonlyMap<string, ServerKey>;
}

export function openFederation(basis: FederationBasis, signingKeys: readonly SigningKey[], ownKeys: ReadonlyMap<string, ServerKey>): Federation {
  const { config } = basis;
  const { server, tls, federation } = config;
  const backoff = new DestinationBackoff(basis);
  const federationClient = new FederationClient(
    {
      serverName: server.serverName,
      signingKey: signingKeys[0]!,
      userAgent: `Myelin${server.userAgentSuffix === undefined ? "" : ` ${server.userAgentSuffix}`}`,
      blockedRanges: server.federationIpRangeBlocklist,
      allowedRanges: server.federationIpRangeAllowlist,
      verifyCertificates: tls.federationVerifyCertificates,
      verificationWhitelist: tls.federationCertificateVerificationWhitelist,
      customCa: tls.federationCustomCaList,
      minimumTlsVersion: tls.federationClientMinimumTlsVersion,
      domainWhitelist: federation.domainWhitelist,
      timeoutMs: federation.clientTimeoutMs,
      maxLongRetries: federation.maxLongRetries,
      maxShortRetries: federation.maxShortRetries,
      maxLongRetryDelayMs: federation.maxLongRetryDelayMs,
      maxShortRetryDelayMs: federation.maxShortRetryDelayMs,
    },
    basis.clock,
    basis.log.named("synapse.http.matrixfederationclient"),
    backoff,
  );
  return { federationClient, backoff, ownKeys, keyRing: new KeyRing({ ...basis, federationClient, ownKeys }) };
}
