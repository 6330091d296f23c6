import type { ConfigReader, ParseContext } from "../reader.ts";

/** What all single sign-on providers share (`sso`). */
export type SsoConfig = ReturnType<typeof parseSso>;

/** An attribute that a user must have: any value, this value, or one of these. */
export interface AttributeRequirement {
  readonly attribute: string;
  readonly value: string | undefined;
  readonly oneOf: readonly string[] | undefined;
}

export function parseSso(root: ConfigReader, ctx: ParseContext, publicBaseurl: string) {
  const raw = root.object("sso");
  return {
    templateDir: raw.filePath("template_dir", ctx),
    /** Prefixes of redirect addresses that need no confirmation; the login fallback page is among them. */
    clientWhitelist: [...raw.strings("client_whitelist"), `${publicBaseurl}_matrix/static/client/login`],
    updateProfileInformation: raw.boolean("update_profile_information", false),
  };
}

export function parseAttributeRequirements(raw: ConfigReader): AttributeRequirement[] {
  return raw.objects("attribute_requirements").map((reader) => ({
    attribute: reader.requiredString("attribute"),
    value: reader.string("value"),
    oneOf: reader.optionalStrings("one_of"),
  }));
}
