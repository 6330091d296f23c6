import { MatrixError } from "../../protocol/errors.ts";

/** Credentials were refused: as an answer to a login, or reported within a user-interactive authentication that goes on. */
export class LoginError extends MatrixError {
  override name = "LoginError";
}

export const badCredentials = (): LoginError => new LoginError(403, "M_FORBIDDEN", "Invalid username or password");
