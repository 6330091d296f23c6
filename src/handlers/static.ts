import { unrecognized } from "../protocol/errors.ts";
import { endpoint } from "./http/endpoint.ts";
import { PAGE_HEADERS } from "./http/html-errors.ts";
import { html, redirect } from "./http/reply.ts";

const LOGIN = "client/login";

/** Whoever opens the server in a browser is sent to `web_client_location`, else to a page that says what this is. */
export const rootPage = endpoint({
  servlet: "RootOptionsRedirectResource",
  method: "GET",
  path: "/",
  auth: "none",
  handle: (ctx) => redirect(ctx.config.server.webClientLocation ?? "/_matrix/static/"),
});

/** That page, and the login fallback (client-server API, "Login fallback") for applications that know none of the ways of signing in. */
export const staticPages = endpoint({
  servlet: "StaticResource",
  method: "GET",
  path: "/_matrix/static/*file",
  auth: "none",
  handle(ctx, { params, url }) {
    const { file } = params as { file: string };
    if (file === "" || file === "index.html") return html(200, ctx.templates.render("static_index.html"), PAGE_HEADERS);
    if (file === LOGIN) return redirect(url.replace(`/${LOGIN}`, `/${LOGIN}/`));
    if (file === `${LOGIN}/` || file === `${LOGIN}/index.html`) return html(200, ctx.templates.render("login_fallback.html"), PAGE_HEADERS);
    throw unrecognized(404);
  },
});

export const staticRoutes = [rootPage, staticPages];
