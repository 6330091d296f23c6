import { whoami } from "./client/account.ts";
import { getLogin, postLogin, refresh } from "./client/login.ts";
import { logout, logoutAll } from "./client/logout.ts";
import { register, registrationTokenValidity, usernameAvailable } from "./client/register.ts";
import { health } from "./health.ts";
import type { Endpoint } from "./http/endpoint.ts";
import { getRegistrationNonce, registerWithSharedSecret } from "./synapse/register.ts";

/** Every route of the server. */
export const routes: readonly Endpoint[] = [
  health,
  // accounts
  getLogin,
  postLogin,
  refresh,
  logout,
  logoutAll,
  register,
  usernameAvailable,
  registrationTokenValidity,
  getRegistrationNonce,
  registerWithSharedSecret,
  whoami,
];
