import type { ConfigReader } from "../reader.ts";

/** Invites that are accepted without asking the user (`auto_accept_invites`). */
export type AutoAcceptInvitesConfig = ReturnType<typeof parseAutoAcceptInvites>;

export function parseAutoAcceptInvites(root: ConfigReader) {
  const raw = root.object("auto_accept_invites");
  return {
    enabled: raw.boolean("enabled", false),
    onlyForDirectMessages: raw.boolean("only_for_direct_messages", false),
    onlyFromLocalUsers: raw.boolean("only_from_local_users", false),
    /** Instance name; undefined: the main process. */
    workerToRunOn: raw.string("worker_to_run_on"),
  };
}
