import { endpoint } from "../http/endpoint.ts";

/** Transports for MatrixRTC calls (MSC4143). */
export const rtcTransports = endpoint({
  servlet: "MatrixRTCRestServlet",
  method: "GET",
  path: "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports",
  auth: "user",
  when: (config) => config.experimental.msc4143Enabled,
  handle: (ctx) => (ctx.config.matrixRtc.transports.length > 0 ? { rtc_transports: ctx.config.matrixRtc.transports } : {}),
});

export const matrixRtcRoutes = [rtcTransports];
