import type * as PhoneNumbers from "libphonenumber-js/max";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { lazyModule } from "../../lib/lazy-module.ts";
import { invalidParam, MatrixError, missingParam } from "../../protocol/errors.ts";

const phoneNumbers = lazyModule<typeof PhoneNumbers>("libphonenumber-js/max");

/** How a client says who logs in, after normalisation. */
export type LoginIdentifier =
  { readonly type: "user"; readonly user: string } | { readonly type: "threepid"; readonly medium: string; readonly address: string };

/**
 * The identifier of a login or reauthentication: `identifier` with m.id.user, m.id.thirdparty or m.id.phone, or the older `user`,
 * `medium` and `address` beside the type.
 * @throws MatrixError 400
 */
export function readIdentifier(submission: JsonObject): LoginIdentifier {
  let identifier = submission["identifier"] ?? {};
  if (submission["user"]) identifier = { type: "m.id.user", user: submission["user"] };
  if (submission["medium"] && submission["address"]) identifier = { type: "m.id.thirdparty", medium: submission["medium"], address: submission["address"] };
  if (!isJsonObject(identifier) || Object.keys(identifier).length === 0) throw invalidParam("Invalid login submission");
  switch (identifier["type"]) {
    case undefined:
      throw missingParam("'identifier' dict has no key 'type'");
    case "m.id.user":
      return { type: "user", user: readUser(identifier) };
    case "m.id.thirdparty":
      return readThreepid(identifier);
    case "m.id.phone":
      return { type: "threepid", medium: "msisdn", address: readPhone(identifier) };
    default:
      throw new MatrixError(400, "M_UNKNOWN", "Unknown login identifier type");
  }
}

function readUser(identifier: JsonObject): string {
  const user = identifier["user"];
  if (user === undefined || user === null || user === "") throw new MatrixError(400, "M_UNKNOWN", "User identifier is missing 'user' key");
  if (typeof user !== "string" || user.includes("\0")) throw invalidParam("Bad parameter: user");
  return user;
}

function readThreepid(identifier: JsonObject): LoginIdentifier {
  const { medium, address } = identifier;
  if (medium === undefined || medium === null || address === undefined || address === null)
    throw new MatrixError(400, "M_UNKNOWN", "Invalid thirdparty identifier");
  if (typeof medium !== "string" || typeof address !== "string" || medium.includes("\0") || address.includes("\0"))
    throw invalidParam("Invalid thirdparty identifier");
  return { type: "threepid", medium, address: medium === "email" ? canonicalEmail(address) : address };
}

function readPhone(identifier: JsonObject): string {
  const { country } = identifier;
  const number = identifier["phone"] ?? identifier["number"];
  if (typeof country !== "string" || typeof number !== "string") throw invalidParam("Invalid phone-type identifier");
  return phoneToMsisdn(country, number);
}

/** The number in international form without the plus, as seen from the country (two letters). @throws MatrixError 400 M_INVALID_PARAM */
export function phoneToMsisdn(country: string, number: string): string {
  try {
    return phoneNumbers()
      .parsePhoneNumberWithError(number, country.toUpperCase() as PhoneNumbers.CountryCode)
      .number.slice(1);
  } catch {
    throw invalidParam("Unable to parse phone number");
  }
}

const MAX_EMAIL_LENGTH = 500;

/** An e-mail address as it is compared and stored: trimmed, case-folded. @throws MatrixError 400 M_UNKNOWN */
export function canonicalEmail(address: string): string {
  const parts = address.trim().split("@");
  if (parts.length !== 2) throw new MatrixError(400, "M_UNKNOWN", "Unable to parse email address");
  return `${foldCase(parts[0]!)}@${parts[1]!.toLowerCase()}`;
}

/** As `canonicalEmail`, for an address that mails are to be sent to: with bounds on its length, and nothing in it but one address. */
export function validEmail(address: string): string {
  const canonical = canonicalEmail(address);
  if (canonical.length < 3 || canonical.length > MAX_EMAIL_LENGTH || /[\s\p{Cc}<>,;]|^@|@$/u.test(canonical))
    throw new MatrixError(400, "M_UNKNOWN", "Unable to parse email address");
  return canonical;
}

/** Unicode's full case folding, near enough: by way of upper case, so that "ß" is "ss"; the dotless i stays itself. */
function foldCase(text: string): string {
  return text
    .split("ı")
    .map((part) => part.toUpperCase().toLowerCase())
    .join("ı")
    .replaceAll("ς", "σ");
}
