import type { JsonObject } from "../../../lib/json.ts";
import type { Logger } from "../../../lib/log.ts";

export interface AccountDataCallbacks {
  /** Global data has no room; what was deleted has empty content. */
  on_account_data_updated?(userId: string, roomId: string | undefined, type: string, content: JsonObject): void | Promise<void>;
}

/** Modules that want to know of changed account data. */
export class AccountDataModules {
  private readonly modules: AccountDataCallbacks[] = [];

  constructor(private readonly log: Logger) {}

  register(callbacks: AccountDataCallbacks): void {
    this.modules.push(callbacks);
  }

  async updated(userId: string, roomId: string | undefined, type: string, content: JsonObject): Promise<void> {
    for (const module of this.modules) {
      try {
        await module.on_account_data_updated?.(userId, roomId, type, content);
      } catch (error) {
        this.log.error("The module callback on_account_data_updated failed", { error });
      }
    }
  }
}
