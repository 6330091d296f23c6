import { ConfigError } from "./errors.ts";
import { ConfigReader, isMapping, ReadTracker, type ParseContext } from "./reader.ts";
import { parseAccountValidity, type AccountValidityConfig } from "./sections/account-validity.ts";
import { parseApi, type ApiConfig } from "./sections/api.ts";
import { parseAppservice, type AppServiceConfig } from "./sections/appservice.ts";
import { parseAuth, type AuthConfig } from "./sections/auth.ts";
import { parseAutoAcceptInvites, type AutoAcceptInvitesConfig } from "./sections/auto-accept-invites.ts";
import { parseBackgroundUpdates, type BackgroundUpdatesConfig } from "./sections/background-updates.ts";
import { parseCache, type CacheConfig } from "./sections/cache.ts";
import { parseCaptcha, type CaptchaConfig } from "./sections/captcha.ts";
import { parseCas, type CasConfig } from "./sections/cas.ts";
import { parseConsent, type ConsentConfig } from "./sections/consent.ts";
import { parseDatabase, type DatabaseConfig } from "./sections/database.ts";
import { parseEmail, type EmailConfig } from "./sections/emailconfig.ts";
import { parseExperimental, type ExperimentalConfig } from "./sections/experimental.ts";
import { parseFederation, type FederationConfig } from "./sections/federation.ts";
import { parseJwt, type JwtConfig } from "./sections/jwt.ts";
import { parseKey, type KeyConfig } from "./sections/key.ts";
import { parseLogging, type LoggingConfig } from "./sections/logger.ts";
import { checkMasConflicts, parseMas, type MasConfig } from "./sections/mas.ts";
import { parseMatrixRtc, type MatrixRtcConfig } from "./sections/matrixrtc.ts";
import { parseMetrics, type MetricsConfig } from "./sections/metrics.ts";
import { parseModules, type ModulesConfig } from "./sections/modules.ts";
import { parseMyelin, type MyelinConfig } from "./sections/myelin.ts";
import { parseOembed, type OembedConfig } from "./sections/oembed.ts";
import { parseOidc, type OidcConfig } from "./sections/oidc.ts";
import { parsePasswordProviders, type PasswordProvidersConfig } from "./sections/password-auth-providers.ts";
import { parsePushRules, type PushRulesConfig } from "./sections/push-rules.ts";
import { parsePush, type PushConfig } from "./sections/push.ts";
import { parseRatelimiting, type RatelimitConfig } from "./sections/ratelimiting.ts";
import { parseRedis, type RedisConfig } from "./sections/redis.ts";
import { parseRegistration, type RegistrationConfig } from "./sections/registration.ts";
import { parseMedia, type MediaConfig } from "./sections/repository.ts";
import { parseRetention, type RetentionConfig } from "./sections/retention.ts";
import { parseRoomDirectory, type RoomDirectoryConfig } from "./sections/room-directory.ts";
import { parseRoom, type RoomConfig } from "./sections/room.ts";
import { parseSaml2, type Saml2Config } from "./sections/saml2.ts";
import { parseServerNotices, type ServerNoticesConfig } from "./sections/server-notices.ts";
import { parseServer, type ServerConfig } from "./sections/server.ts";
import { parseSpamChecker, type SpamCheckerConfig } from "./sections/spam-checker.ts";
import { parseSso, type SsoConfig } from "./sections/sso.ts";
import { parseStats, type StatsConfig } from "./sections/stats.ts";
import { parseThirdPartyRules, type ThirdPartyRulesConfig } from "./sections/third-party-event-rules.ts";
import { parseTls, type TlsConfig } from "./sections/tls.ts";
import { parseUserDirectory, type UserDirectoryConfig } from "./sections/user-directory.ts";
import { parseUserTypes, type UserTypesConfig } from "./sections/user-types.ts";
import { parseVoip, type VoipConfig } from "./sections/voip.ts";
import { parseWorkers, type WorkersConfig } from "./sections/workers.ts";
import { noticesAboutOptions } from "./unknown-options.ts";
import { parseYaml } from "./yaml.ts";

type Readonlys<T> = T extends Uint8Array | ReadonlySet<unknown> | ((...args: never[]) => unknown)
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Readonlys<Item>[]
    : T extends object
      ? { readonly [K in keyof T]: Readonlys<T[K]> }
      : T;

/**
 * homeserver.yaml, read, checked and frozen: a property for each of Synapse's configuration sections. Durations are in milliseconds
 * (names end in `Ms`), sizes in bytes, paths absolute; what the admin may leave out without a default is `undefined`.
 */
export interface Config {
  readonly accountValidity: Readonlys<AccountValidityConfig>;
  readonly api: Readonlys<ApiConfig>;
  readonly appservice: Readonlys<AppServiceConfig>;
  readonly auth: Readonlys<AuthConfig>;
  readonly autoAcceptInvites: Readonlys<AutoAcceptInvitesConfig>;
  readonly backgroundUpdates: Readonlys<BackgroundUpdatesConfig>;
  readonly caches: Readonlys<CacheConfig>;
  readonly captcha: Readonlys<CaptchaConfig>;
  readonly cas: Readonlys<CasConfig>;
  readonly consent: Readonlys<ConsentConfig>;
  readonly database: Readonlys<DatabaseConfig>;
  readonly email: Readonlys<EmailConfig>;
  readonly experimental: Readonlys<ExperimentalConfig>;
  readonly federation: Readonlys<FederationConfig>;
  readonly jwt: Readonlys<JwtConfig>;
  readonly key: Readonlys<KeyConfig>;
  readonly logging: Readonlys<LoggingConfig>;
  readonly mas: Readonlys<MasConfig>;
  readonly matrixRtc: Readonlys<MatrixRtcConfig>;
  readonly media: Readonlys<MediaConfig>;
  readonly metrics: Readonlys<MetricsConfig>;
  readonly modules: Readonlys<ModulesConfig>;
  readonly myelin: Readonlys<MyelinConfig>;
  readonly oembed: Readonlys<OembedConfig>;
  readonly oidc: Readonlys<OidcConfig>;
  readonly passwordProviders: Readonlys<PasswordProvidersConfig>;
  readonly push: Readonlys<PushConfig>;
  readonly pushRules: Readonlys<PushRulesConfig>;
  readonly ratelimiting: Readonlys<RatelimitConfig>;
  readonly redis: Readonlys<RedisConfig>;
  readonly registration: Readonlys<RegistrationConfig>;
  readonly retention: Readonlys<RetentionConfig>;
  readonly room: Readonlys<RoomConfig>;
  readonly roomDirectory: Readonlys<RoomDirectoryConfig>;
  readonly saml2: Readonlys<Saml2Config>;
  readonly server: Readonlys<ServerConfig>;
  readonly serverNotices: Readonlys<ServerNoticesConfig>;
  readonly spamChecker: Readonlys<SpamCheckerConfig>;
  readonly sso: Readonlys<SsoConfig>;
  readonly stats: Readonlys<StatsConfig>;
  readonly thirdPartyRules: Readonlys<ThirdPartyRulesConfig>;
  readonly tls: Readonlys<TlsConfig>;
  readonly userDirectory: Readonlys<UserDirectoryConfig>;
  readonly userTypes: Readonlys<UserTypesConfig>;
  readonly voip: Readonlys<VoipConfig>;
  readonly workers: Readonlys<WorkersConfig>;
  /** What the admin should know, one line each, logged when the server starts: deprecated, unsupported and unknown options. */
  readonly notices: readonly string[];
}

export interface ParseOptions {
  /** Where the signing key lies unless an option says otherwise. Absolute. */
  readonly configDir: string;
  /** Relative paths in the configuration count from here (Synapse: the working directory). Absolute. */
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** False with --no-secrets-in-config; default true. */
  readonly allowSecretsInConfig?: boolean;
}

/**
 * The configuration that a YAML text or an already read mapping describes.
 * @throws ConfigError for the first option that cannot be honoured
 */
export function parseConfig(rawYaml: string | Readonly<Record<string, unknown>>, options: ParseOptions): Config {
  return parseTracked(rawYaml, options, new ReadTracker());
}

/** As `parseConfig`, telling by `tracker` which options were asked for. */
export function parseTracked(rawYaml: string | Readonly<Record<string, unknown>>, options: ParseOptions, tracker: ReadTracker): Config {
  const values = typeof rawYaml === "string" ? parseYaml(rawYaml, "homeserver.yaml") : rawYaml;
  if (!isMapping(values)) throw new ConfigError("the configuration is no mapping of options");
  const notices: string[] = [];
  const raw = new ConfigReader(values, tracker);
  const ctx: ParseContext = { ...options, allowSecretsInConfig: options.allowSecretsInConfig ?? true, notice: (text) => notices.push(text) };
  const config = parseSections(raw, ctx);
  checkCombinations(config);
  return deepFreeze({ ...config, notices: [...notices, ...noticesAboutOptions(values, tracker)] });
}

function parseSections(raw: ConfigReader, ctx: ParseContext): Omit<Config, "notices"> {
  const server = parseServer(raw, ctx);
  const workers = parseWorkers(raw, ctx);
  const mas = parseMas(raw, ctx);
  const tls = parseTls(
    raw,
    ctx,
    [...server.listeners, ...workers.listeners].some((listener) => listener.tls),
  );
  const registration = parseRegistration(raw, ctx, server.serverName, mas.enabled);
  return {
    accountValidity: parseAccountValidity(raw, ctx),
    api: parseApi(raw),
    appservice: parseAppservice(raw, ctx, server.serverName),
    auth: parseAuth(raw, mas.enabled),
    autoAcceptInvites: parseAutoAcceptInvites(raw),
    backgroundUpdates: parseBackgroundUpdates(raw),
    caches: parseCache(raw, ctx),
    captcha: parseCaptcha(raw, ctx),
    cas: parseCas(raw, server.publicBaseurl),
    consent: parseConsent(raw, ctx),
    database: parseDatabase(raw, ctx),
    email: parseEmail(raw, ctx),
    experimental: parseExperimental(raw, mas.enabled),
    federation: parseFederation(raw),
    jwt: parseJwt(raw),
    key: parseKey(raw, ctx, {
      serverName: server.serverName,
      registrationSharedSecret: registration.registrationSharedSecret,
      verifyCertificates: tls.federationVerifyCertificates,
    }),
    logging: parseLogging(raw, ctx),
    mas,
    matrixRtc: parseMatrixRtc(raw),
    media: parseMedia(raw, ctx),
    metrics: parseMetrics(raw),
    modules: parseModules(raw, ctx),
    myelin: parseMyelin(raw, ctx),
    oembed: parseOembed(raw, ctx),
    oidc: parseOidc(raw, ctx, server.publicBaseurl),
    passwordProviders: parsePasswordProviders(raw),
    push: parsePush(raw, ctx),
    pushRules: parsePushRules(raw),
    ratelimiting: parseRatelimiting(raw),
    redis: parseRedis(raw, ctx),
    registration,
    retention: parseRetention(raw),
    room: parseRoom(raw),
    roomDirectory: parseRoomDirectory(raw),
    saml2: parseSaml2(raw, ctx, server.publicBaseurl),
    server,
    serverNotices: parseServerNotices(raw, server.serverName),
    spamChecker: parseSpamChecker(raw),
    sso: parseSso(raw, ctx, server.publicBaseurl),
    stats: parseStats(raw, ctx),
    thirdPartyRules: parseThirdPartyRules(raw),
    tls,
    userDirectory: parseUserDirectory(raw),
    userTypes: parseUserTypes(raw),
    voip: parseVoip(raw, ctx),
    workers,
  };
}

/** Options that are fine by themselves but not together, as Synapse refuses them. */
function checkCombinations(config: Omit<Config, "notices">): void {
  const { registration, captcha, auth } = config;
  checkMasConflicts(config.mas.enabled, [
    ["password_config.enabled", auth.passwordEnabledForLogin || auth.passwordEnabledForReauth],
    ["enable_registration", registration.enableRegistration],
    ["user_consent", config.consent.version !== undefined],
    ["oidc_providers", config.oidc.enabled],
    ["saml2_config", config.saml2.enabled],
    ["cas_config", config.cas.enabled],
    ["jwt_config", config.jwt.enabled],
    ["password_providers", config.passwordProviders.providers.length > 0],
    ["enable_registration_captcha", captcha.enableRegistrationCaptcha],
    ["login_via_existing_session.enabled", auth.loginViaExistingEnabled],
    ["refresh_token_lifetime", registration.refreshTokenLifetimeMs !== undefined],
    ["nonrefreshable_access_token_lifetime", registration.nonrefreshableAccessTokenLifetimeMs !== undefined],
    ["session_lifetime", registration.sessionLifetimeMs !== undefined],
    ["enable_3pid_changes", registration.enable3pidChanges],
  ]);
  if (config.consent.serverNoticeContent !== undefined) {
    if (config.serverNotices.userId === undefined)
      throw new ConfigError("is missing; user_consent.server_notice_content is sent as a server notice", "server_notices");
    if (config.consent.serverNoticeContent.body === undefined) throw new ConfigError("must hold a 'body'", "user_consent.server_notice_content");
  }
  if (config.consent.version !== undefined && config.key.formSecret === undefined) {
    throw new ConfigError("is missing; the links to the terms are signed with it, since there is a user_consent section", "form_secret");
  }
  const consentListener = config.server.listeners.findIndex(({ resources }) => resources.some(({ names }) => names.includes("consent")));
  if (consentListener >= 0 && config.workers.isMain && config.consent.version === undefined)
    throw new ConfigError("serves the page of the terms (consent), but there is no user_consent section", `listeners[${consentListener}].resources`);
  const verified = captcha.enableRegistrationCaptcha || registration.registrationsRequire3pid.length > 0 || registration.registrationRequiresToken;
  if (registration.enableRegistration && !registration.enableRegistrationWithoutVerification && !verified) {
    throw new ConfigError(
      "is true without any verification, which invites spam: require an e-mail address, a captcha or a token, or set enable_registration_without_verification: true",
      "enable_registration",
    );
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) deepFreeze(item);
  return Object.freeze(value);
}
