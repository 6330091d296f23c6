import type { AccountHooks } from "../accounts/hooks.ts";
import { providersOf, startUiAuth } from "./ui-auth.ts";

/** Single sign-on's part in logins and interactive authentication. */
export const ssoHooks: Pick<AccountHooks, "identityProviders" | "identityProvidersOf" | "startSsoAuth" | "tokenLogin"> = {
  identityProviders: (ctx) =>
    [...ctx.sso.providers.values()].map(({ id, name, icon, brand }) => ({
      id,
      name,
      ...(icon === undefined ? {} : { icon }),
      ...(brand === undefined ? {} : { brand }),
    })),
  identityProvidersOf: async (ctx, userId) => (await providersOf(ctx, userId)).map(({ id }) => id),
  startSsoAuth: (ctx, { session, idpId }) => startUiAuth(ctx, { session, idpId }),
  tokenLogin: [
    (ctx, answer) => {
      const attributes = ctx.sso.extraAttributes.get(answer["user_id"] as string);
      // What a provider says never stands in for what the client needs to know.
      for (const [name, value] of Object.entries(attributes ?? {})) if (!Object.hasOwn(answer, name)) answer[name] = value;
      return Promise.resolve();
    },
  ],
};
