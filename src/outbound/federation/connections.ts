import { checkServerIdentity, createSecureContext, rootCertificates, type SecureContext } from "node:tls";
import { Pool } from "undici";
import type { IpFilter } from "../ip-filter.ts";
import type { Target } from "./discovery.ts";

export interface ConnectionOptions {
  readonly verifyCertificates: boolean;
  /** Globs of server names whose certificates are not checked. */
  readonly verificationWhitelist: readonly string[];
  /** PEM texts in place of the system's authorities. */
  readonly customCa: readonly string[] | undefined;
  readonly minimumTlsVersion: "TLSv1" | "TLSv1.1" | "TLSv1.2" | "TLSv1.3";
}

/** Connections to one server at once. */
const CONNECTIONS = 6;

/** Connections to other servers, without time limits for answers, kept by where they lead and by the name that the certificate there must have. */
export class ServerConnections {
  private readonly pools = new Map<string, Pool>();
  /** A target is of one server. */
  private readonly known = new WeakMap<Target, Pool>();
  private readonly unverified: readonly RegExp[];
  private knownAuthorities: SecureContext | undefined;

  constructor(
    private readonly options: ConnectionOptions,
    private readonly filter: IpFilter,
  ) {
    this.unverified = options.verificationWhitelist.map(globPattern);
  }

  to(destination: string, target: Target): Pool {
    let pool = this.known.get(target);
    if (pool === undefined) this.known.set(target, (pool = this.find(destination, target)));
    return pool;
  }

  private find(destination: string, target: Target): Pool {
    const verify = this.options.verifyCertificates && !this.unverified.some((pattern) => pattern.test(destination));
    const { host, port, certificateName } = target;
    const key = `${host} ${port} ${certificateName} ${verify}`;
    let pool = this.pools.get(key);
    if (pool === undefined) {
      pool = new Pool(`https://${host.includes(":") ? `[${host}]` : host}:${port}`, {
        connections: CONNECTIONS,
        keepAliveTimeout: 30_000,
        // Whoever asks sets a limit for the whole.
        headersTimeout: 0,
        bodyTimeout: 0,
        connect: {
          timeout: 10_000,
          lookup: this.filter.lookup as never,
          secureContext: this.authorities,
          rejectUnauthorized: verify,
          ...(isAddress(certificateName) ? {} : { servername: certificateName }),
          checkServerIdentity: (_host: string, certificate: Parameters<typeof checkServerIdentity>[1]) =>
            verify ? checkServerIdentity(certificateName, certificate) : undefined,
        },
      });
      this.pools.set(key, pool);
    }
    return pool;
  }

  async close(): Promise<void> {
    await Promise.all([...this.pools.values()].map((pool) => pool.destroy()));
  }

  /** Made once: to read some hundred certificates takes many times as long as to make a connection. */
  private get authorities(): SecureContext {
    return (this.knownAuthorities ??= createSecureContext({
      minVersion: this.options.minimumTlsVersion,
      ca: this.options.customCa === undefined ? [...rootCertificates] : [...this.options.customCa],
    }));
  }
}

/** True for IP literals, without brackets. */
export const isAddress = (host: string): boolean => host.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);

/** `*` and `?` in server names; linear. */
function globPattern(glob: string): RegExp {
  const pattern = glob
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", "[^]*")
    .replaceAll("?", "[^]");
  return new RegExp(`^${pattern}$`, "i");
}
