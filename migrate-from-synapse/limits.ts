import type { Config } from "../src/config/config.ts";
import type { Level } from "./finding.ts";

/** Something that Synapse does by its configuration and Myelin does not do yet. */
export interface Limit {
  readonly id: string;
  readonly level: Exclude<Level, "ok">;
  /** What in the configuration asks for it; empty: nothing does. */
  readonly asked: (config: Config) => readonly string[];
  readonly what: string;
  readonly why: string;
  readonly todo: string;
  /** The line of README's table of limits that says the same; a test compares, so that neither outlives the other. */
  readonly readme: RegExp;
}

/** Options that are read and understood, and ask for what is not built yet. */
export const LIMITS: readonly Limit[] = [
  {
    id: "sso",
    level: "blocker",
    asked: ({ oidc, saml2, cas }) => [
      ...oidc.providers.map(({ idpId }) => `oidc_providers: ${idpId}`),
      ...(saml2.enabled ? ["saml2_config"] : []),
      ...(cas.enabled ? ["cas_config"] : []),
    ],
    what: "Users sign in by single sign-on, which Myelin does not offer yet",
    why: "Who is signed in stays so; nobody could sign in anew.",
    todo: "Wait for a release of Myelin that has it.",
    readme: /^\| .*(?:OpenID Connect|Single sign-on)/m,
  },
  {
    id: "workers",
    level: "note",
    asked: ({ redis, workers }) => [
      ...(redis.enabled ? ["redis"] : []),
      ...(Object.keys(workers.instanceMap).some((name) => name !== "master") ? ["instance_map"] : []),
    ],
    what: "Synapse runs with workers here; Myelin serves everything by one process",
    why: "One process takes the place of all of them; Redis is not used.",
    todo: "Stop all workers together with Synapse, and lead their addresses to the main process (see the list of processes).",
    readme: /^\| .*Workers/m,
  },
];
