import { createHmac } from "node:crypto";
import type { Context } from "../context.ts";

/** The link to the page with the terms, signed for the user (`form_secret`), as Synapse makes it. */
export function consentUri(ctx: Pick<Context, "config">, localpart: string): string {
  return `${ctx.config.server.publicBaseurl}_matrix/consent?${new URLSearchParams({ u: localpart, h: consentMac(ctx, localpart) }).toString()}`;
}

/** The signature of such a link; a start without `form_secret` is refused where there are terms. */
export function consentMac(ctx: Pick<Context, "config">, user: string): string {
  const { formSecret } = ctx.config.key;
  if (formSecret === undefined) throw new Error("form_secret is missing");
  return createHmac("sha256", formSecret).update(user).digest("hex");
}
