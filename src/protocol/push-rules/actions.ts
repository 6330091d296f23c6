import { isJsonObject, stringify, stringifyAscii, type Json } from "../../lib/json.ts";
import type { PushAction } from "./rules.ts";

/** The lists that `event_push_actions.actions` stands for when it is empty. */
const DEFAULT_NOTIFY: readonly PushAction[] = ["notify", { set_tweak: "highlight", value: false }];
const DEFAULT_HIGHLIGHT: readonly PushAction[] = ["notify", { set_tweak: "sound", value: "default" }, { set_tweak: "highlight" }];

/** True when the actions highlight the event: the tweak `highlight`, whose value is true when it is absent. */
export function isHighlight(actions: readonly PushAction[]): boolean {
  const tweak = actions.find((action) => isJsonObject(action) && action.set_tweak === "highlight");
  return isJsonObject(tweak) && Boolean(tweak.value ?? true);
}

/** Text for `event_push_actions.actions`: empty for the usual lists. */
export function storedActions(actions: readonly PushAction[]): string {
  const usual = isHighlight(actions) ? DEFAULT_HIGHLIGHT : DEFAULT_NOTIFY;
  return stringify(actions) === stringify(usual) ? "" : stringifyAscii(actions);
}

/** The actions that a row stands for. `parsed` is its JSON, undefined for the empty text. */
export function actionsOfRow(parsed: Json | undefined, highlight: boolean): readonly PushAction[] {
  if (Array.isArray(parsed)) return parsed;
  return highlight ? DEFAULT_HIGHLIGHT : DEFAULT_NOTIFY;
}
