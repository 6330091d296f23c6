import { redactRoutes } from "./client/room/redact.ts";
import { sendRoutes } from "./client/room/send.ts";
import { stateRoutes } from "./client/room/state.ts";
import { accountStatus, deactivate, getThreepids, password, whoami } from "./client/account.ts";
import { authFallbackPage, authFallbackSubmit } from "./client/auth.ts";
import { capabilities } from "./client/capabilities.ts";
import { deleteDevice, deleteDevices, getDevice, getDevices, putDevice } from "./client/devices.ts";
import { getLogin, postLogin, refresh } from "./client/login.ts";
import { requestLoginToken } from "./client/login-token-request.ts";
import { logout, logoutAll } from "./client/logout.ts";
import { requestOpenIdToken } from "./client/openid.ts";
import { passwordPolicy } from "./client/password-policy.ts";
import { getProfile, profileFields } from "./client/profile.ts";
import { register, registrationTokenValidity, usernameAvailable } from "./client/register.ts";
import { slidingSyncRoutes } from "./client/sliding-sync.ts";
import { syncRoutes } from "./client/sync.ts";
import { versions } from "./client/versions.ts";
import { accountDataRoutes } from "./client/account-data.ts";
import { dehydratedDeviceRoutes } from "./client/dehydrated-device.ts";
import { filterRoutes } from "./client/filter.ts";
import { keyRoutes } from "./client/keys.ts";
import { presenceRoutes } from "./client/presence.ts";
import { pushRuleRoutes } from "./client/push-rule.ts";
import { readMarkerRoutes } from "./client/read-marker.ts";
import { receiptRoutes } from "./client/receipts.ts";
import { roomKeyRoutes } from "./client/room-keys.ts";
import { typingRoutes } from "./client/room/typing.ts";
import { sendToDeviceRoutes } from "./client/sendtodevice.ts";
import { tagRoutes } from "./client/tags.ts";
import { health } from "./health.ts";
import { mediaConfigRoutes } from "./media/config.ts";
import { downloadRoutes } from "./media/download.ts";
import { thumbnailRoutes } from "./media/thumbnail.ts";
import { uploadRoutes } from "./media/upload.ts";
import type { Endpoint } from "./http/endpoint.ts";
import { getRegistrationNonce, registerWithSharedSecret } from "./synapse/register.ts";

/** Every route of the server. */
export const routes: readonly Endpoint[] = [
  health,
  // accounts
  getLogin,
  postLogin,
  refresh,
  logout,
  logoutAll,
  register,
  usernameAvailable,
  registrationTokenValidity,
  getRegistrationNonce,
  registerWithSharedSecret,
  authFallbackPage,
  authFallbackSubmit,
  whoami,
  password,
  deactivate,
  getThreepids,
  accountStatus,
  passwordPolicy,
  requestLoginToken,
  requestOpenIdToken,
  getDevices,
  getDevice,
  putDevice,
  deleteDevice,
  deleteDevices,
  getProfile,
  ...profileFields,
  capabilities,
  versions,
  // sending
  ...sendRoutes,
  ...stateRoutes,
  ...redactRoutes,
  // per-user and ephemeral data
  ...accountDataRoutes,
  ...tagRoutes,
  ...filterRoutes,
  ...pushRuleRoutes,
  ...receiptRoutes,
  ...readMarkerRoutes,
  ...typingRoutes,
  ...presenceRoutes,
  ...keyRoutes,
  ...sendToDeviceRoutes,
  ...roomKeyRoutes,
  ...dehydratedDeviceRoutes,
  // media
  ...uploadRoutes,
  ...downloadRoutes,
  ...thumbnailRoutes,
  ...mediaConfigRoutes,
  // sync
  ...syncRoutes,
  ...slidingSyncRoutes,
];
