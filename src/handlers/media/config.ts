import { endpoint } from "../http/endpoint.ts";

export const mediaConfig = endpoint({
  servlet: "MediaConfigResource",
  method: "GET",
  path: ["/_matrix/media/(r0|v3|v1)/config", "/_matrix/client/v1/media/config"],
  auth: "user",
  when: (config) => config.media.canLoadMediaRepo,
  handle: async (ctx, { requester }) => (await ctx.modules.media.configFor(requester.userId)) ?? { "m.upload.size": ctx.config.media.maxUploadSize },
});

export const mediaConfigRoutes = [mediaConfig];
