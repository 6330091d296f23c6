import { SsoError } from "../answers.ts";
import { childrenOf, parseXml } from "../xml.ts";

/** What a CAS server says of a ticket. */
export interface CasIdentity {
  readonly username: string;
  readonly attributes: ReadonlyMap<string, readonly string[]>;
}

/** Reads the answer of `proxyValidate` (CAS protocol 3.0, section 2.5.2). @throws SsoError 401 when the ticket is not good */
export function readCasResponse(xml: string): CasIdentity {
  const root = parseXml(xml);
  if (root?.name !== "serviceResponse") throw refused("missing_service_response", "root of CAS response is not serviceResponse");
  const [outcome] = root.children;
  if (outcome?.name !== "authenticationSuccess") throw refused("unsucessful_response", "Unsuccessful CAS response");
  const users = childrenOf(outcome, "user");
  const username = users[0]?.text.trim() ?? "";
  if (users.length > 1 || username === "" || username.includes("\0")) throw refused("no_user", "CAS response does not contain user");
  const attributes = new Map<string, string[]>();
  for (const child of childrenOf(outcome, "attributes").flatMap(({ children }) => children))
    attributes.set(child.name, [...(attributes.get(child.name) ?? []), child.text]);
  return { username, attributes };
}

/** The protocol misspells it, and so do those who look for it. */
const refused = (error: string, description: string): SsoError => new SsoError(error, description, 401);
