import type { ConfigReader, ParseContext } from "../reader.ts";

/** reCAPTCHA at registration (`captcha`). */
export type CaptchaConfig = ReturnType<typeof parseCaptcha>;

export function parseCaptcha(raw: ConfigReader, ctx: ParseContext) {
  return {
    recaptchaPrivateKey: raw.secret("recaptcha_private_key", "recaptcha_private_key_path", ctx),
    recaptchaPublicKey: raw.secret("recaptcha_public_key", "recaptcha_public_key_path", ctx),
    enableRegistrationCaptcha: raw.boolean("enable_registration_captcha", false),
    recaptchaSiteverifyApi: raw.string("recaptcha_siteverify_api", "https://www.recaptcha.net/recaptcha/api/siteverify"),
  };
}
