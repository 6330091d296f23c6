/** An option of Synapse that Myelin reads past. */
export interface UnsupportedOption {
  /** `never`: it has no meaning outside Synapse; `not-yet`: it would have one. */
  readonly support: "never" | "not-yet";
  readonly reason: string;
  /** Values with which the option changes nothing, so that it need not be named. */
  readonly harmless?: readonly unknown[];
}

const python = "it tunes the Python interpreter";
const manhole = "the manhole is a Python console";
const tracing = "there is no OpenTracing client";
const entriesStay = "entries leave a cache when newer ones need their place, whatever their age";
const sentry = "there is no Sentry client";

/** Every documented or known option of Synapse 1.160 that no section reads, by its path, with the reason. They are named at start when they are set. */
export const UNSUPPORTED_OPTIONS: ReadonlyMap<string, UnsupportedOption> = new Map<string, UnsupportedOption>([
  [
    "allow_underscore_prefixed_registration",
    { support: "never", reason: "Synapse has never read it; the option is allow_underscore_prefixed_localpart", harmless: [false] },
  ],
  [
    "caches.cache_autotuning",
    { support: "never", reason: "it needs jemalloc under Python; caches take memory for what they hold, and node limits the heap", harmless: [{}] },
  ],
  ["caches.cache_entry_ttl", { support: "never", reason: entriesStay, harmless: ["30m"] }],
  ["caches.expire_caches", { support: "never", reason: entriesStay, harmless: [true] }],
  ["caches.expiry_time", { support: "never", reason: entriesStay }],
  ["caches.sync_response_cache_duration", { support: "never", reason: "answers to /sync are not kept", harmless: ["2m", 0, "0s"] }],
  ["caches.track_memory_usage", { support: "never", reason: "it needs a Python library; sizes of caches are in the metrics", harmless: [false] }],
  ["gc_min_interval", { support: "never", reason: python }],
  ["gc_thresholds", { support: "never", reason: python }],
  ["manhole", { support: "never", reason: manhole }],
  ["manhole_settings", { support: "never", reason: manhole }],
  ["no_redirect_stdio", { support: "never", reason: "standard output is not redirected", harmless: [false] }],
  ["opentracing", { support: "not-yet", reason: tracing, harmless: [{ enabled: false }] }],
  ["replication_torture_level", { support: "never", reason: "it is for Synapse's own tests" }],
  ["sentry", { support: "not-yet", reason: sentry }],
  ["soft_file_limit", { support: "never", reason: "Node raises the limit of open files to what the system allows", harmless: [0] }],
  ["use_frozen_dicts", { support: "never", reason: python, harmless: [false] }],
  ["use_insecure_ssl_client_just_for_testing_do_not_use", { support: "never", reason: "certificates are checked; see federation_verify_certificates" }],
  ["worker_manhole", { support: "never", reason: manhole }],
]);
