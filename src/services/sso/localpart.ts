/**
 * A user name of another system as a localpart (appendices of the specification, "Mapping from other character sets"): lower case,
 * other characters than those permitted as `=` and their bytes in hex, and so a leading underscore.
 */
export function localpartFrom(username: string): string {
  const lower = username.replace(/[A-Z]+/g, (capitals) => capitals.toLowerCase());
  const escaped = lower.replace(/[^a-z0-9._\-/+]/gu, (character) =>
    [...Buffer.from(character, "utf8")].map((byte) => `=${byte.toString(16).padStart(2, "0")}`).join(""),
  );
  return escaped.replace(/^_/, "=5f");
}

/** As `localpartFrom`, but with a dot for what is not permitted, and without a leading underscore (SAML's `dotreplace`). */
export function dottedLocalpartFrom(username: string): string {
  return username
    .toLowerCase()
    .replace(/[^a-z0-9._=\-/+]/gu, ".")
    .replace(/^_/, "");
}
