import { health } from "./health.ts";
import type { Endpoint } from "./http/endpoint.ts";

/** Every route of the server. */
export const routes: readonly Endpoint[] = [health];
