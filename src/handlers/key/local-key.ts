import { keyDocument } from "../../services/federation/own-keys.ts";
import { endpoint } from "../http/endpoint.ts";

export const localKey = endpoint({
  servlet: "LocalKey",
  method: "GET",
  path: ["/_matrix/key/v2/server", "/_matrix/key/v2/server/:keyId"],
  auth: "none",
  handle: (ctx) => keyDocument(ctx),
});

export const localKeyRoutes = [localKey];
