import type { Pusher } from "../../../storage/push/pushers.ts";

/** A pusher at work, whatever it pushes to. */
export interface RunningPusher {
  readonly row: Pusher;
  /** Synapse's class of this kind: the label in the metrics. */
  readonly kind: "HttpPusher" | "EmailPusher";
  /** Something may notify the user. */
  wake(): void;
  /** The user read something. */
  sendBadge(): Promise<void>;
  /** Begins nothing any more. */
  stop(): void;
  /** Resolves when nothing is under way. */
  settled(): Promise<void>;
}
