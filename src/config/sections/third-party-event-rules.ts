import type { ConfigReader } from "../reader.ts";
import { parseModule, type ModuleConfig } from "./modules.ts";

/** The module that judges events, in the old form (`thirdpartyrules`). */
export type ThirdPartyRulesConfig = ReturnType<typeof parseThirdPartyRules>;

export function parseThirdPartyRules(root: ConfigReader): { readonly modules: readonly ModuleConfig[] } {
  const reader = root.optionalObject("third_party_event_rules");
  return { modules: reader === undefined ? [] : [parseModule(reader)] };
}
