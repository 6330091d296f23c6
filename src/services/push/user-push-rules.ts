import type { Config } from "../../config/config.ts";
import type { ReadHandle } from "../../storage/database.ts";

export class UserPushRules {
  constructor(
    private readonly read: ReadHandle,
    private readonly config: Config,
  ) {}
  async forClient(_userId: string): Promise<unknown> {
    void this.read;
    void this.config;
    return { global: { override: [], content: [], room: [], sender: [], underride: [] } };
  }
}
