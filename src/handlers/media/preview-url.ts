import { JsonText } from "../../lib/json.ts";
import { forbidden, unrecognized } from "../../protocol/errors.ts";
import { endpoint } from "../http/endpoint.ts";

export const previewUrl = endpoint({
  servlet: "PreviewUrlResource",
  method: "GET",
  path: ["/_matrix/media/(r0|v3|v1)/preview_url", "/_matrix/client/v1/media/preview_url"],
  auth: "user",
  when: (config) => config.media.canLoadMediaRepo,
  async handle(ctx, { requester, query }) {
    if (ctx.urlPreviews === undefined) throw ctx.config.experimental.msc4452Enabled ? forbidden("URL Previews are disabled") : unrecognized(404);
    const url = query.requiredString("url");
    return new JsonText(await ctx.urlPreviews.preview(url, requester.userId, query.integer("ts", ctx.clock.now())));
  },
});

export const previewUrlRoutes = [previewUrl];
