import type { Endpoint } from "../http/endpoint.ts";
import { backgroundUpdateRoutes } from "./background-updates.ts";
import { deviceRoutes } from "./devices.ts";
import { getFeatures, putFeatures } from "./experimental-features.ts";
import { federationRoutes } from "./federation.ts";
import { mediaRoutes } from "./media.ts";
import { registrationTokenRoutes } from "./registration-tokens.ts";
import { reportRoutes } from "./reports.ts";
import { roomActionRoutes } from "./rooms/actions.ts";
import { roomDeletionRoutes } from "./rooms/deletion.ts";
import { roomListRoutes } from "./rooms/list.ts";
import { roomTimelineRoutes } from "./rooms/timeline.ts";
import { scheduledTasks } from "./scheduled-tasks.ts";
import { putNotice, sendNotice } from "./server-notice-servlet.ts";
import { serverVersion } from "./server-version.ts";
import { statisticsRoutes } from "./statistics.ts";
import { adminUsernameAvailable } from "./username-available.ts";
import { accountRoutes } from "./users/accounts.ts";
import { actionRoutes } from "./users/actions.ts";
import { factRoutes } from "./users/facts.ts";

/** The admin API (`/_synapse/admin`). */
export const adminRoutes: readonly Endpoint[] = [
  ...accountRoutes,
  ...actionRoutes,
  ...factRoutes,
  ...deviceRoutes,
  ...roomListRoutes,
  ...roomTimelineRoutes,
  ...roomActionRoutes,
  ...roomDeletionRoutes,
  ...mediaRoutes,
  ...registrationTokenRoutes,
  ...reportRoutes,
  ...federationRoutes,
  ...backgroundUpdateRoutes,
  ...statisticsRoutes,
  getFeatures,
  putFeatures,
  scheduledTasks,
  adminUsernameAvailable,
  sendNotice,
  putNotice,
  serverVersion,
];
