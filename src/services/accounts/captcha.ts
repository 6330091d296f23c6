import { HttpError } from "../../outbound/http-client.ts";
import type { Context } from "../context.ts";

/** Whether reCAPTCHA says that a person gave this response. The host name is not looked at: clients show the puzzle wherever they run. */
export async function verifyCaptcha(ctx: Context, response: string, ip: string): Promise<boolean> {
  const { recaptchaPrivateKey: secret, recaptchaSiteverifyApi: url } = ctx.config.captcha;
  const log = ctx.log.named("synapse.handlers.ui_auth.checkers");
  if (secret === undefined) return false;
  try {
    const { success } = await ctx.http.trusted.object({ method: "POST", url, form: { secret, response, remoteip: ip } });
    return success === true;
  } catch (error) {
    if (error instanceof HttpError && error.body.success === true) return true;
    log.warn("Could not ask reCAPTCHA about a response", { error });
    return false;
  }
}
