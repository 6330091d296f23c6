/**
 * What the authorisation rules say of an event. `rule` is the number in the list of room version 12 ("Authorisation rules"),
 * whatever the version of the room; rules that only older versions have begin with that version, as in `v1 11.3`.
 */
export type AuthResult = { readonly allowed: true } | AuthRefusal;

export interface AuthRefusal {
  readonly allowed: false;
  readonly rule: string;
  /** For logs, `rejections`, and as `error` of the response where a client sent the event. */
  readonly reason: string;
  /** Status and errcode of that response. */
  readonly status: 400 | 403;
  readonly errcode: "M_FORBIDDEN" | "M_BAD_JSON" | "M_UNKNOWN";
  /** MSC3848: why it is forbidden, as `org.matrix.msc3848.unstable.errcode` where that option is on. */
  readonly detail?: "M_INSUFFICIENT_POWER" | "M_NOT_JOINED" | "M_ALREADY_JOINED" | undefined;
}

export const ALLOWED: AuthResult = { allowed: true };

/** A refusal by the specification's rule of that number. */
export function refuse(rule: string, reason: string, detail?: AuthRefusal["detail"]): AuthRefusal {
  return { allowed: false, rule, reason, status: 403, errcode: "M_FORBIDDEN", ...(detail && { detail }) };
}

/** A refusal because of the form of the event. */
export function malformed(rule: string, reason: string, errcode: "M_BAD_JSON" | "M_UNKNOWN" = "M_UNKNOWN"): AuthRefusal {
  return { allowed: false, rule, reason, status: 400, errcode };
}
