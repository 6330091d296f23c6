import { adminRoutes } from "./admin/routes.ts";
import { redactRoutes } from "./client/room/redact.ts";
import { sendRoutes } from "./client/room/send.ts";
import { stateRoutes } from "./client/room/state.ts";
import { accountStatus, deactivate, getThreepids, password, whoami } from "./client/account.ts";
import { requestTokenRoutes } from "./client/account/request-token.ts";
import { threepidRoutes } from "./client/account/threepid.ts";
import { accountValidityRoutes } from "./client/account-validity.ts";
import { registerTokenRoutes } from "./client/register-request-token.ts";
import { consentRoutes } from "./consent.ts";
import { passwordResetRoutes } from "./synapse/client/password-reset.ts";
import { authMetadataRoutes } from "./client/auth-metadata.ts";
import { authFallbackPage, authFallbackSubmit } from "./client/auth.ts";
import { accountModerationRoutes } from "./client/account-moderation.ts";
import { capabilities } from "./client/capabilities.ts";
import { rendezvousRoutes } from "./client/rendezvous.ts";
import { delayedEventRoutes } from "./client/delayed-events.ts";
import { deleteDevice, deleteDevices, getDevice, getDevices, putDevice } from "./client/devices.ts";
import { casTicket, getLogin, postLogin, refresh, ssoRedirect, ssoRedirectToIdp } from "./client/login.ts";
import { requestLoginToken } from "./client/login-token-request.ts";
import { logout, logoutAll } from "./client/logout.ts";
import { requestOpenIdToken } from "./client/openid.ts";
import { passwordPolicy } from "./client/password-policy.ts";
import { getProfile, profileFields } from "./client/profile.ts";
import { register, registrationTokenValidity, usernameAvailable } from "./client/register.ts";
import { slidingSyncRoutes } from "./client/sliding-sync.ts";
import { syncRoutes } from "./client/sync.ts";
import { matrixRtcRoutes } from "./client/matrixrtc.ts";
import { retentionRoutes } from "./client/retention.ts";
import { tokenRefreshRoutes } from "./client/tokenrefresh.ts";
import { versions } from "./client/versions.ts";
import { accountDataRoutes } from "./client/account-data.ts";
import { dehydratedDeviceRoutes } from "./client/dehydrated-device.ts";
import { filterRoutes } from "./client/filter.ts";
import { keyRoutes } from "./client/keys.ts";
import { notificationRoutes } from "./client/notifications.ts";
import { presenceRoutes } from "./client/presence.ts";
import { pusherRoutes } from "./client/pusher.ts";
import { pushRuleRoutes } from "./client/push-rule.ts";
import { readMarkerRoutes } from "./client/read-marker.ts";
import { receiptRoutes } from "./client/receipts.ts";
import { roomKeyRoutes } from "./client/room-keys.ts";
import { typingRoutes } from "./client/room/typing.ts";
import { sendToDeviceRoutes } from "./client/sendtodevice.ts";
import { tagRoutes } from "./client/tags.ts";
import { threadSubscriptionRoutes } from "./client/thread-subscriptions.ts";
import { directoryRoutes } from "./client/directory.ts";
import { eventRoutes } from "./client/events.ts";
import { initialSyncRoutes } from "./client/initial-sync.ts";
import { knockRoutes } from "./client/knock.ts";
import { mutualRoomRoutes } from "./client/mutual-rooms.ts";
import { relationRoutes } from "./client/relations.ts";
import { reportRoutes } from "./client/reporting.ts";
import { aliasRoutes } from "./client/room/aliases.ts";
import { createRoutes } from "./client/room/create.ts";
import { hierarchyRoutes } from "./client/room/hierarchy.ts";
import { memberRoutes } from "./client/room/members.ts";
import { membershipRoutes } from "./client/room/membership.ts";
import { messageRoutes } from "./client/room/messages.ts";
import { publicRoomRoutes } from "./client/room/public-rooms.ts";
import { searchRoutes } from "./client/room/search.ts";
import { roomMembershipRoutes } from "./client/room-membership.ts";
import { upgradeRoutes } from "./client/room-upgrade-rest-servlet.ts";
import { userDirectoryRoutes } from "./client/user-directory.ts";
import { voipRoutes } from "./client/voip.ts";
import { appservicePingRoutes } from "./client/appservice-ping.ts";
import { thirdPartyRoutes } from "./client/thirdparty.ts";
import { masDeviceRoutes } from "./synapse/mas/devices.ts";
import { masUserRoutes } from "./synapse/mas/users.ts";
import { newUserConsentRoutes } from "./synapse/client/new-user-consent.ts";
import { backchannelLogoutRoutes } from "./synapse/client/oidc/backchannel-logout-resource.ts";
import { oidcCallbackRoutes } from "./synapse/client/oidc/callback-resource.ts";
import { pickIdpRoutes } from "./synapse/client/pick-idp.ts";
import { pickUsernameRoutes } from "./synapse/client/pick-username.ts";
import { samlMetadataRoutes } from "./synapse/client/saml2/metadata-resource.ts";
import { samlResponseRoutes } from "./synapse/client/saml2/response-resource.ts";
import { ssoRegisterRoutes } from "./synapse/client/sso-register.ts";
import { unsubscribeRoutes } from "./synapse/client/unsubscribe.ts";
import { historyRoutes } from "./federation/history.ts";
import { federationMediaRoutes } from "./federation/media.ts";
import { membershipRoutes as federationMembershipRoutes } from "./federation/membership.ts";
import { queryRoutes } from "./federation/query.ts";
import { transactionRoutes } from "./federation/send.ts";
import { health } from "./health.ts";
import { metricsRoutes } from "./metrics.ts";
import { staticRoutes } from "./static.ts";
import { federationWhitelist } from "./synapse/client/federation-whitelist.ts";
import { mediaUploadLimitExceeded } from "./synapse/client/media-upload-limit-exceeded.ts";
import { wellKnownRoutes } from "./well-known.ts";
import { localKeyRoutes } from "./key/local-key.ts";
import { remoteKeyRoutes } from "./key/remote-key.ts";
import { mediaConfigRoutes } from "./media/config.ts";
import { downloadRoutes } from "./media/download.ts";
import { previewUrlRoutes } from "./media/preview-url.ts";
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
  ssoRedirect,
  ssoRedirectToIdp,
  casTicket,
  ...pickIdpRoutes,
  ...pickUsernameRoutes,
  ...newUserConsentRoutes,
  ...ssoRegisterRoutes,
  ...oidcCallbackRoutes,
  ...backchannelLogoutRoutes,
  ...samlMetadataRoutes,
  ...samlResponseRoutes,
  logout,
  logoutAll,
  register,
  usernameAvailable,
  registrationTokenValidity,
  getRegistrationNonce,
  registerWithSharedSecret,
  authFallbackPage,
  authFallbackSubmit,
  ...authMetadataRoutes,
  ...masUserRoutes,
  ...masDeviceRoutes,
  whoami,
  password,
  deactivate,
  getThreepids,
  ...threepidRoutes,
  ...requestTokenRoutes,
  ...registerTokenRoutes,
  ...passwordResetRoutes,
  ...accountValidityRoutes,
  ...consentRoutes,
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
  ...accountModerationRoutes,
  versions,
  // rooms
  ...createRoutes,
  ...membershipRoutes,
  ...knockRoutes,
  ...roomMembershipRoutes,
  ...upgradeRoutes,
  ...memberRoutes,
  ...messageRoutes,
  ...relationRoutes,
  ...aliasRoutes,
  ...directoryRoutes,
  ...publicRoomRoutes,
  ...hierarchyRoutes,
  ...searchRoutes,
  ...initialSyncRoutes,
  ...eventRoutes,
  ...mutualRoomRoutes,
  ...reportRoutes,
  ...userDirectoryRoutes,
  // sending
  ...sendRoutes,
  ...stateRoutes,
  ...redactRoutes,
  ...delayedEventRoutes,
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
  ...pusherRoutes,
  ...notificationRoutes,
  ...threadSubscriptionRoutes,
  // media
  ...uploadRoutes,
  ...downloadRoutes,
  ...thumbnailRoutes,
  ...mediaConfigRoutes,
  ...previewUrlRoutes,
  // sync
  ...syncRoutes,
  ...slidingSyncRoutes,
  // federation
  ...transactionRoutes,
  ...historyRoutes,
  ...federationMembershipRoutes,
  ...queryRoutes,
  ...federationMediaRoutes,
  // keys
  ...localKeyRoutes,
  ...remoteKeyRoutes,
  // administration
  ...adminRoutes,
  // small ones
  ...rendezvousRoutes,
  ...voipRoutes,
  ...appservicePingRoutes,
  ...thirdPartyRoutes,
  ...unsubscribeRoutes,
  ...matrixRtcRoutes,
  ...retentionRoutes,
  ...tokenRefreshRoutes,
  ...wellKnownRoutes,
  federationWhitelist,
  mediaUploadLimitExceeded,
  ...staticRoutes,
  ...metricsRoutes,
];
