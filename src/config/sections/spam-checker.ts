import type { ConfigReader } from "../reader.ts";
import { parseModule, type ModuleConfig } from "./modules.ts";

/** Spam checkers in the old form, one or a list (`spamchecker`). */
export type SpamCheckerConfig = ReturnType<typeof parseSpamChecker>;

export function parseSpamChecker(root: ConfigReader): { readonly modules: readonly ModuleConfig[] } {
  const value = root.value("spam_checker");
  if (value === undefined) return { modules: [] };
  return { modules: Array.isArray(value) ? root.objects("spam_checker").map(parseModule) : [parseModule(root.object("spam_checker"))] };
}
