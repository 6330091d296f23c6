import nunjucks from "nunjucks";
import type { Config } from "../../../config/config.ts";
import { ConfigError } from "../../../config/errors.ts";
import type { JsonObject } from "../../../lib/json.ts";
import { addJinjaFilters, fromJinja } from "../../jinja.ts";
import { mappingError } from "../answers.ts";
import { localpartFrom } from "../localpart.ts";
import type { UserAttributes } from "../provider.ts";

/** What a provider says of a user: the claims of the ID token, or of the userinfo endpoint. */
export type Claims = Readonly<JsonObject>;

type Template = (claims: Claims) => string;

/** Makes users of claims by the admin's templates (`user_mapping_provider`), as Synapse's `JinjaOidcMappingProvider`. */
export class OidcMapping {
  private readonly subject: Template;
  private readonly picture: Template;
  private readonly localpart: Template | undefined;
  private readonly displayName: Template | undefined;
  private readonly email: Template | undefined;
  private readonly extra: readonly (readonly [name: string, template: Template])[];
  private readonly confirmLocalpart: boolean;

  /** @throws ConfigError for templates that are none */
  constructor({ idpId, userMappingProvider: config }: Pick<Config["oidc"]["providers"][number], "idpId" | "userMappingProvider">, publicBaseurl: string) {
    const compile = (option: string, source: string): Template =>
      compileTemplate(source, `oidc_providers (${idpId}).user_mapping_provider.config.${option}`, publicBaseurl);
    const optional = (option: string, source: string | undefined): Template | undefined => (source === undefined ? undefined : compile(option, source));
    this.subject = compile("subject_template", config.subjectTemplate);
    this.picture = compile("picture_template", config.pictureTemplate);
    this.localpart = optional("localpart_template", config.localpartTemplate);
    this.displayName = optional("display_name_template", config.displayNameTemplate);
    this.email = optional("email_template", config.emailTemplate);
    this.extra = Object.entries(config.extraAttributes).map(([name, source]) => [name, compile(`extra_attributes.${name}`, source)] as const);
    this.confirmLocalpart = config.confirmLocalpart;
  }

  /** The id at the provider that never changes. @throws SsoError when the claims have none */
  remoteUserId(claims: Claims): string {
    const id = rendered(this.subject, claims);
    // An empty id, or Python's word for nothing, would be everybody's.
    if (id === "" || id.includes("\0")) throw mappingError("Failed to extract subject from OIDC response");
    return id;
  }

  /** True when users are known by their `sub`, as logout tokens name them. */
  usesSubject(): boolean {
    return rendered(this.subject, { sub: "thisisasubject" }) === "thisisasubject";
  }

  /** `failures` is put behind localparts that are taken. @throws SsoError */
  attributes(claims: Claims, failures: number): UserAttributes {
    const localpart = this.localpart === undefined ? undefined : localpartFrom(rendered(this.localpart, claims)) + (failures > 0 ? String(failures) : "");
    const email = this.email === undefined ? "" : rendered(this.email, claims);
    return {
      localpart,
      confirmLocalpart: this.confirmLocalpart,
      displayName: (this.displayName === undefined ? "" : rendered(this.displayName, claims)) || undefined,
      picture: rendered(this.picture, claims) || undefined,
      emails: email === "" ? [] : [email],
    };
  }

  /** What the client is told at login. */
  extraAttributes(claims: Claims): Record<string, string> {
    return Object.fromEntries(this.extra.map(([name, template]) => [name, rendered(template, claims)]));
  }
}

/** Values are text to the templates, whatever they look like: only the admin writes templates. */
function compileTemplate(source: string, option: string, publicBaseurl: string): Template {
  const environment = new nunjucks.Environment(null, { autoescape: false });
  addJinjaFilters(environment, publicBaseurl);
  try {
    const template = new nunjucks.Template(fromJinja(source), environment, undefined, true);
    return (claims) => template.render({ user: claims });
  } catch (error) {
    throw new ConfigError(`is no Jinja2 template (${(error as Error).message.split("\n").at(-1)!.trim()})`, option);
  }
}

function rendered(template: Template, claims: Claims): string {
  try {
    return template(claims).trim();
  } catch (error) {
    throw mappingError("Could not extract user attributes from SSO response.", error);
  }
}
