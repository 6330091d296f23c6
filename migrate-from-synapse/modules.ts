/** What becomes of a Python module. */
export interface ModuleVerdict {
  readonly level: "note" | "warning" | "blocker";
  readonly why: string;
  readonly todo: string;
}

const WITHOUT = "Myelin runs no Python and has no stand-in for it.";

/** Well-known modules, by the beginning of the Python name. */
const KNOWN: readonly (readonly [prefix: string, verdict: ModuleVerdict])[] = [
  [
    "ldap_auth_provider.",
    { level: "blocker", why: "Users whose passwords are in LDAP could not sign in.", todo: "Give them passwords of this server, or wait for a stand-in." },
  ],
  [
    "rest_auth_provider.",
    {
      level: "blocker",
      why: "Users whose passwords another service checks could not sign in.",
      todo: "Give them passwords of this server, or wait for a stand-in.",
    },
  ],
  [
    "shared_secret_authenticator.",
    {
      level: "blocker",
      why: "Bridges that sign in for their users by it (double puppeting) could not do so anew.",
      todo: "Use an application service's login, or wait for a stand-in.",
    },
  ],
  [
    "synapse_auto_accept_invite.",
    { level: "warning", why: "Invites would not be accepted by themselves.", todo: "Set `auto_accept_invites`, which does the same in Synapse and in Myelin." },
  ],
  [
    "mjolnir.",
    {
      level: "warning",
      why: "Rooms are moderated by the bot still; what it stopped before it was sent is not stopped any more.",
      todo: "Run Mjolnir or Draupnir as a bot or an application service.",
    },
  ],
  [
    "draupnir.",
    {
      level: "warning",
      why: "Rooms are moderated by the bot still; what it stopped before it was sent is not stopped any more.",
      todo: "Run Draupnir as a bot or an application service.",
    },
  ],
];

export function verdictOn(module: string): ModuleVerdict {
  const known = KNOWN.find(([prefix]) => module.startsWith(prefix));
  if (known !== undefined) return known[1];
  return { level: "warning", why: WITHOUT, todo: "Find out what your users would miss, and remove it from the configuration when that is nothing." };
}
