import type { AccountHooks } from "../accounts/hooks.ts";
import { unbindAll } from "./bind.ts";
import { addRegisteredThreepid, takeProvenThreepid } from "./threepids.ts";

/** What addresses have to do with accounts that come and go. */
export const threepidHooks = {
  unbindThreepids: [unbindAll],
  takeValidatedThreepid: takeProvenThreepid,
  addThreepid: addRegisteredThreepid,
} satisfies Partial<AccountHooks>;
