import { RE2JS } from "re2js";
import ipaddr from "ipaddr.js";
import type { AppserviceNamespace, AppserviceRegistration } from "../../config/appservice-file.ts";
import type { AppserviceIdentities, AppserviceIdentity } from "../accounts/hooks.ts";

/**
 * The registered application services as accounts see them: by token and id, with their users. With `managesDevices` all of them manage the
 * devices of their users (MSC4190), as where accounts are delegated: nobody logs in there.
 */
export function appserviceIdentities(registrations: readonly AppserviceRegistration[], managesDevices = false): AppserviceIdentities {
  const all = registrations.map((registration) => identity(managesDevices ? { ...registration, msc4190: true } : registration));
  const byToken = new Map(registrations.map(({ asToken }, index) => [asToken, all[index]!]));
  const byId = new Map(all.map((appservice) => [appservice.id, appservice]));
  return { all: () => all, byToken: (token) => byToken.get(token), byId: (id) => byId.get(id), provideAlias: () => Promise.resolve(false) };
}

function identity(registration: AppserviceRegistration): AppserviceIdentity {
  const { id, sender, rateLimited, ipRangeWhitelist } = registration;
  const compile = (namespaces: readonly AppserviceNamespace[]) =>
    namespaces.map((namespace) => ({ exclusive: namespace.exclusive, matches: matcher(namespace) }));
  const users = compile(registration.namespaces.users);
  const aliases = compile(registration.namespaces.aliases);
  const ranges = ipRangeWhitelist?.map((range) => ipaddr.parseCIDR(range));
  return {
    id,
    sender,
    rateLimited,
    deviceManagement: registration.msc4190,
    scopes: registration.scopes,
    interestedInUser: (userId) => userId === sender || users.some(({ matches }) => matches(userId)),
    ownsUser: (userId) => userId === sender || users.some(({ exclusive, matches }) => exclusive && matches(userId)),
    interestedInAlias: (alias) => aliases.some(({ matches }) => matches(alias)),
    ownsAlias: (alias) => aliases.some(({ exclusive, matches }) => exclusive && matches(alias)),
    acceptsAddress: (ip) => ranges === undefined || ranges.some((range) => inRange(ip, range)),
  };
}

/** Matches from the start of an identifier, in linear time where RE2 knows the syntax; lookaheads and the like are left to JavaScript. */
export function matcher({ regex }: Pick<AppserviceNamespace, "regex">): (text: string) => boolean {
  try {
    const compiled = RE2JS.compile(regex);
    return (text) => compiled.matcher(text).lookingAt();
  } catch {
    const compiled = new RegExp(`^(?:${regex.replaceAll("(?P<", "(?<")})`);
    return (text) => compiled.test(text);
  }
}

function inRange(ip: string, range: [ipaddr.IPv4 | ipaddr.IPv6, number]): boolean {
  if (!ipaddr.isValid(ip)) return false;
  const address = ipaddr.process(ip);
  return address.kind() === range[0].kind() && address.match(range);
}
