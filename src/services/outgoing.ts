import { HttpClient } from "../outbound/http-client.ts";
import { IdentityServers } from "../outbound/identity-server.ts";
import { IpFilter } from "../outbound/ip-filter.ts";
import { Mailer } from "../outbound/mail.ts";
import { PageClient } from "../outbound/page-client.ts";
import { HttpSmsProvider, type SmsProvider } from "../outbound/sms.ts";
import type { SigningKey } from "../protocol/event/sign.ts";
import type { Config } from "../config/config.ts";

/** What the server asks and sends in the world beside Matrix servers. */
export interface Outgoing {
  readonly http: OutgoingHttp;
  readonly identityServers: IdentityServers;
  /** undefined: the config has no `email`. */
  readonly mail: Mailer | undefined;
  /** undefined: this server sends no messages to phones. */
  readonly sms: SmsProvider | undefined;
}

export interface OutgoingHttp {
  /** For addresses that users and other servers name: those of the IP range lists of the federation are out of reach. */
  readonly guarded: HttpClient;
  /** For addresses that the admin configured; through the forward proxy where there is one. */
  readonly trusted: HttpClient;
  /** For pictures that identity providers name: `ip_range_blacklist` is out of reach. */
  readonly pictures: PageClient;
}

/** @param trusted PEM texts of authorities that are trusted beside the usual ones (tests) */
export function openOutgoing(config: Config, signingKey: SigningKey, trusted?: readonly string[]): Outgoing & { close(): Promise<void> } {
  const { email, myelin, server } = config;
  const userAgent = `Myelin${server.userAgentSuffix === undefined ? "" : ` ${server.userAgentSuffix}`}`;
  const filter = new IpFilter(server.federationIpRangeBlocklist, server.federationIpRangeAllowlist);
  const http: OutgoingHttp = {
    guarded: new HttpClient({ userAgent, filter, trusted }),
    trusted: new HttpClient({ userAgent, proxy: server.proxy, trusted }),
    pictures: new PageClient({
      userAgent,
      acceptLanguage: ["en"],
      filter: new IpFilter(server.ipRangeBlocklist, server.ipRangeAllowlist),
      proxy: server.proxy,
      trusted,
    }),
  };
  const mail = email.canVerifyEmail
    ? new Mailer({
        host: email.smtpHost,
        port: email.smtpPort,
        user: email.smtpUser,
        password: email.smtpPass,
        forceTls: email.forceTls,
        requireTls: email.requireTransportSecurity,
        enableTls: email.enableTls,
        tlsName: email.tlsName,
        from: email.notifFrom ?? "",
        appName: email.appName,
        trusted,
      })
    : undefined;
  return {
    http,
    identityServers: new IdentityServers(http.guarded, http.trusted, { serverName: server.serverName, signingKey }),
    mail,
    sms: myelin.sms === undefined ? undefined : new HttpSmsProvider(http.trusted, myelin.sms),
    async close() {
      mail?.close();
      await Promise.all([http.guarded.close(), http.trusted.close(), http.pictures.close()]);
    },
  };
}
