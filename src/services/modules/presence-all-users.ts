/** What a module that routes presence answers for a user who gets everybody's. */
export const PRESENCE_ALL_USERS = "ALL";
