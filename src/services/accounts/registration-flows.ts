import type { Config } from "../../config/config.ts";

/** Whether phone numbers can be verified: by another server, or by codes that this one sends. */
export const canVerifyMsisdn = ({ myelin, registration }: Config): boolean => registration.threepidDelegateMsisdn !== undefined || myelin.sms !== undefined;

/** The flows through which an account can be registered, by the config (as Synapse computes them). */
export function registrationFlows(config: Config): string[][] {
  const { captcha, consent, email, registration } = config;
  const emailOffered = email.canVerifyEmail;
  const msisdnOffered = canVerifyMsisdn(config) && !registration.disableMsisdnRegistration;
  const emailRequired = registration.registrationsRequire3pid.includes("email");
  const msisdnRequired = registration.registrationsRequire3pid.includes("msisdn") && !registration.disableMsisdnRegistration;
  const flows: string[][] = [];
  if (!emailRequired && !msisdnRequired) flows.push(["m.login.dummy"]);
  if (emailOffered && !msisdnRequired) flows.push(["m.login.email.identity"]);
  if (msisdnOffered && !emailRequired) flows.push(["m.login.msisdn"]);
  if (emailOffered && msisdnOffered) flows.push(["m.login.msisdn", "m.login.email.identity"]);
  if (registration.enableRegistrationToken3pidBypass) flows.push(["m.login.registration_token"]);
  if (consent.requireAtRegistration) for (const flow of flows) flow.unshift("m.login.terms");
  if (captcha.enableRegistrationCaptcha) for (const flow of flows) flow.unshift("m.login.recaptcha");
  if (registration.registrationRequiresToken)
    for (const flow of flows) if (!flow.includes("m.login.registration_token")) flow.unshift("m.login.registration_token");
  return flows;
}
