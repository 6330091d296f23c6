import type { Config } from "../../config/config.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Random } from "../../lib/random.ts";
import { Turns } from "../../lib/turns.ts";
import { CasProvider } from "./cas/provider.ts";
import { ExtraAttributes } from "./extra-attributes.ts";
import { MappingSessions } from "./mapping-sessions.ts";
import { OidcProvider } from "./oidc/provider.ts";
import type { IdentityProvider } from "./provider.ts";
import { SamlProvider } from "./saml/provider.ts";

/** The identity providers of the configuration, and the logins under way. */
export class SingleSignOn {
  /** By id, in Synapse's order: OpenID Connect, CAS, SAML. */
  readonly providers: ReadonlyMap<string, IdentityProvider>;
  readonly oidc: ReadonlyMap<string, OidcProvider>;
  readonly cas: CasProvider | undefined;
  readonly saml: SamlProvider | undefined;
  readonly sessions: MappingSessions;
  readonly extraAttributes: ExtraAttributes;
  private readonly turns = new Map<string, Turns>();

  /** @throws ConfigError for templates and settings that cannot be used */
  constructor(config: Pick<Config, "cas" | "oidc" | "saml2" | "server">, clock: Clock, random: Random) {
    this.sessions = new MappingSessions(clock, random);
    this.extraAttributes = new ExtraAttributes(clock);
    this.cas = config.cas.enabled ? new CasProvider(config.cas) : undefined;
    this.saml = config.saml2.enabled ? new SamlProvider(config.saml2) : undefined;
    this.oidc = new Map(
      config.oidc.providers.map((provider) => [provider.idpId, new OidcProvider(provider, config.oidc.callbackUrl, config.server.publicBaseurl)]),
    );
    const providers = [...this.oidc.values(), this.cas, this.saml].filter((provider) => provider !== undefined);
    this.providers = new Map(providers.map((provider) => [provider.id, provider]));
  }

  /** One login of a provider after the other, so that nobody becomes two users. */
  async inTurn<T>(providerId: string, work: () => Promise<T>): Promise<T> {
    let turns = this.turns.get(providerId);
    if (turns === undefined) this.turns.set(providerId, (turns = new Turns(1)));
    return await turns.run(work);
  }
}
