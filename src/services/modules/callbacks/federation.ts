import type { Logger } from "../../../lib/log.ts";
import type { MatrixEvent } from "../../../protocol/event/event.ts";
import { ModuleEvent } from "../events.ts";

/** How events got to another server. Only `/send` was acknowledged by it. */
export type DeliveryMethod = "/send" | "/backfill" | "/get_missing_events" | "/event" | "/state" | "/send_join" | "/event_auth";

export interface FederationDelivery {
  readonly server_name: string;
  readonly events: readonly ModuleEvent[];
  readonly method: DeliveryMethod;
}

export interface FederationCallbacks {
  on_event_delivered_over_federation?(delivery: FederationDelivery): void | Promise<void>;
}

/** Modules that want to know what other servers got. */
export class FederationModules {
  private readonly modules: FederationCallbacks[] = [];

  constructor(private readonly log: Logger) {}

  register(callbacks: FederationCallbacks): void {
    this.modules.push(callbacks);
  }

  get wantDeliveries(): boolean {
    return this.modules.some((module) => module.on_event_delivered_over_federation !== undefined);
  }

  async delivered(server: string, events: Iterable<MatrixEvent>, method: DeliveryMethod): Promise<void> {
    if (!this.wantDeliveries) return;
    const views = [...events].map((event) => new ModuleEvent(event));
    if (views.length === 0) return;
    for (const module of this.modules) {
      try {
        await module.on_event_delivered_over_federation?.({ server_name: server, events: views, method });
      } catch (error) {
        this.log.error("The module callback on_event_delivered_over_federation failed", { error });
      }
    }
  }
}
