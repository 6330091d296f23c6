import type { ConfigReader } from "../../../config/reader.ts";
import { MatrixError } from "../../../protocol/errors.ts";
import type { ModuleApi } from "../api.ts";
import type { ModuleEvent } from "../events.ts";

export interface AutoAcceptOptions {
  readonly onlyForDirectMessages: boolean;
  readonly onlyFromLocalUsers: boolean;
  /** Instance name; undefined: the main process. */
  readonly workerToRunOn: string | undefined;
}

const ATTEMPTS = 5;

/** `synapse_auto_accept_invite.InviteAutoAccepter`. @throws ConfigError */
export function inviteAutoAccepter(config: ConfigReader, api: ModuleApi): void {
  acceptInvites(api, {
    onlyForDirectMessages: config.boolean("accept_invites_only_for_direct_messages", false),
    onlyFromLocalUsers: config.boolean("accept_invites_only_from_local_users", false),
    workerToRunOn: config.string("worker_to_run_on"),
  });
}

/** Local users join what they are invited to, without being asked. */
export function acceptInvites(api: ModuleApi, options: AutoAcceptOptions): void {
  if (options.workerToRunOn !== api.worker_name) return;
  api.register_third_party_rules_callbacks({
    async on_new_event(event) {
      const { state_key: target } = event;
      if (event.membership !== "invite" || target === undefined || !api.is_mine(target)) return;
      const isDirect = event.content.is_direct !== undefined && event.content.is_direct !== false;
      if (options.onlyForDirectMessages && !isDirect) return;
      if (options.onlyFromLocalUsers && !api.is_mine(event.sender)) return;
      const user = await api.get_userinfo_by_id(target);
      if (user === undefined || user.is_deactivated || user.suspended || user.locked) return;
      // The inviting server may not have stored its own invite yet: nobody waits for the join, and it is tried again.
      api.run_as_background_process("retry_make_join", () => join(api, target, event));
      if (isDirect) await markDirect(api, target, event);
    },
  });
}

async function join(api: ModuleApi, userId: string, { room_id: roomId, sender }: ModuleEvent): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await api.sleep(2 ** (attempt - 1));
    try {
      await api.update_room_membership(userId, userId, roomId, "join", {}, api.is_mine(sender) ? [] : [sender.slice(sender.indexOf(":") + 1)]);
      return;
    } catch (error) {
      const expected = error instanceof MatrixError && error.status === 403;
      if (!expected) api.log.warn(`Could not accept the invite of ${userId} to ${roomId}`, { error });
    }
  }
}

/** Puts the room among the direct chats with the inviter. */
async function markDirect(api: ModuleApi, userId: string, { room_id: roomId, sender }: ModuleEvent): Promise<void> {
  const direct = (await api.account_data_manager.get_global(userId, "m.direct")) ?? {};
  const rooms = Array.isArray(direct[sender]) ? direct[sender] : [];
  if (!rooms.includes(roomId)) await api.account_data_manager.put_global(userId, "m.direct", { ...direct, [sender]: [...rooms, roomId] });
}
