import type { Context } from "../context.ts";
import type { BrowserRedirect } from "./answers.ts";

/** What a login is for: to come back to a client with a login token, or to pass the stage of an interactive authentication. */
export type Purpose = { readonly clientRedirectUrl: string } | { readonly uiAuthSessionId: string };

/** An identity provider of the configuration. */
export interface IdentityProvider {
  /** As it stands in `user_external_ids.auth_provider`: "saml", "cas", "oidc-github". */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** An mxc address. */
  readonly icon: string | undefined;
  /** By which clients choose how to show it (MSC2858). */
  readonly brand: string | undefined;
  /**
   * Where the provider lets people log in. `parameter` reads the query of the request that asks for it.
   * @throws SsoError 503 when the provider is out of order
   */
  begin(ctx: Context, purpose: Purpose, parameter: (name: string) => string | undefined): Promise<BrowserRedirect>;
}

/** The provider as templates know it. */
export function providerValues({ id, name, icon, brand }: IdentityProvider): Record<string, unknown> {
  return { idp_id: id, idp_name: name, idp_icon: icon ?? null, idp_brand: brand ?? null };
}

/** Attributes of a user, as a provider's answer was mapped. */
export interface UserAttributes {
  /** undefined: the user picks it. */
  readonly localpart: string | undefined;
  /** The user confirms or changes the localpart. */
  readonly confirmLocalpart?: boolean;
  readonly displayName: string | undefined;
  /** Address of a picture. */
  readonly picture?: string | undefined;
  readonly emails: readonly string[];
}
