import { z } from "zod";
import type { Config } from "../../../config/config.ts";

/** Where the routes about addresses of an account lie. */
export const VERSIONS = "/_matrix/client/(r0|v3|unstable)";

/** What the routes share that have a link or a code sent to an address. */
export const tokenRoute = {
  method: "POST",
  auth: "none",
  emptyBody: false,
  limit: "threepidValidation",
  when: (config: Config) => !config.mas.enabled,
} as const;

/** `client_secret` where Synapse answers M_BAD_JSON for one that is malformed. */
export const clientSecret = z
  .string()
  .max(255)
  .regex(/^[0-9a-zA-Z.=_-]+$/);
