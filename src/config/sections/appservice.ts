import { resolve } from "node:path";
import { loadAppservice, type AppserviceRegistration } from "../appservice-file.ts";
import { ConfigError } from "../errors.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";

/** Application services (`appservice`). */
export type AppServiceConfig = ReturnType<typeof parseAppservice>;

export function parseAppservice(raw: ConfigReader, ctx: ParseContext, serverName: string) {
  const useLegacyAuthorization = raw.boolean("use_appservice_legacy_authorization", false);
  if (useLegacyAuthorization) ctx.notice("use_appservice_legacy_authorization puts tokens into addresses, where they end up in logs; it is deprecated");
  return {
    registrations: loadAll(raw.strings("app_service_config_files"), ctx, serverName),
    trackAppserviceUserIps: raw.boolean("track_appservice_user_ips", false),
    /** Tokens are sent as query parameters, too. */
    useLegacyAuthorization,
  };
}

function loadAll(files: readonly string[], ctx: ParseContext, serverName: string): AppserviceRegistration[] {
  const services: AppserviceRegistration[] = [];
  const fileOfId = new Map<string, string>();
  const fileOfToken = new Map<string, string>();
  for (const [index, name] of files.entries()) {
    const option = `app_service_config_files[${index}]`;
    const file = resolve(ctx.dataDir, name);
    const service = loadAppservice(file, option, serverName);
    const sameId = fileOfId.get(service.id);
    if (sameId !== undefined) throw new ConfigError(`the id ${service.id} stands in ${sameId} and in ${file}; ids must differ`, option);
    const sameToken = fileOfToken.get(service.asToken);
    if (sameToken !== undefined) throw new ConfigError(`${sameToken} and ${file} have the same as_token; tokens must differ`, option);
    fileOfId.set(service.id, file);
    fileOfToken.set(service.asToken, file);
    services.push(service);
  }
  return services;
}
