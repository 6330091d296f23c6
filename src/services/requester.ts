/** Who makes a request, as the access token says. */
export interface Requester {
  readonly userId: string;
  /** undefined for tokens without a device: appservice users, an admin acting as a user. */
  readonly deviceId: string | undefined;
  /** `access_tokens.id`; undefined for guests, appservices and delegated authentication. */
  readonly accessTokenId: number | undefined;
  readonly isGuest: boolean;
  /** The appservice whose token was used. */
  readonly appserviceId: string | undefined;
  /** The user whose authority the request has: the admin where an admin acts as another user, else `userId`. */
  readonly authenticatedEntity: string;
  /** Shadow-banned users get answers as if they had acted. */
  readonly shadowBanned: boolean;
  /** OAuth scopes (delegated authentication); empty otherwise. */
  readonly scope: readonly string[];
}

/** Somebody who acts without an access token: the user themselves, unless `given` says who has the authority, or more. */
export function requesterFor(userId: string, given: Partial<Omit<Requester, "userId">> = {}): Requester {
  return {
    userId,
    deviceId: undefined,
    accessTokenId: undefined,
    isGuest: false,
    appserviceId: undefined,
    authenticatedEntity: userId,
    shadowBanned: false,
    scope: [],
    ...given,
  };
}
