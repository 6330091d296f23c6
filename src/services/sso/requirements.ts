import type { AttributeRequirement } from "../../config/sections/sso.ts";
import { SsoError } from "./answers.ts";

/** @throws SsoError when an attribute that users must have is missing, or has none of the values wanted */
export function checkRequirements(attributes: ReadonlyMap<string, readonly unknown[]>, requirements: readonly AttributeRequirement[]): void {
  for (const { attribute, value, oneOf } of requirements) {
    const values = attributes.get(attribute);
    const anyValue = value === undefined && oneOf === undefined;
    const met = values !== undefined && (anyValue || (value !== undefined && values.includes(value)) || oneOf?.some((one) => values.includes(one)) === true);
    if (!met) throw new SsoError("unauthorised", "You are not authorised to log in here.", 400, new Error(`the attribute ${attribute} is not as required`));
  }
}
