/** What a finished request tells the access log. Times in seconds. */
export interface AccessLogEntry {
  /** The client's address, or the socket's path. */
  readonly ip: string;
  readonly siteTag: string;
  /** The user or server that made the request; undefined: nobody was authenticated. */
  readonly requester: string | undefined;
  /** Who was authenticated, where that is another one (an admin acting as a user, an appservice). */
  readonly authenticatedEntity: string | undefined;
  /** From the request's arrival to the end of its handler. */
  readonly processingSeconds: number;
  /** From the end of its handler to the last byte sent. */
  readonly sendingSeconds: number;
  readonly cpuUserSeconds: number;
  readonly cpuSystemSeconds: number;
  /** Waiting for a connection. */
  readonly dbSchedulingSeconds: number;
  readonly dbTransactionSeconds: number;
  readonly dbTransactionCount: number;
  readonly bytesSent: number;
  readonly status: number;
  /** False when the client went away before the end. */
  readonly finished: boolean;
  readonly method: string;
  /** Path and query as received. */
  readonly uri: string;
  /** "HTTP/1.1" */
  readonly protocol: string;
  readonly userAgent: string | undefined;
  /** Events read from the database. */
  readonly dbEventCount: number;
}

/** The line of a finished request in Synapse's layout, which log analysers parse; secrets in the address are replaced. */
export function accessLogLine(entry: AccessLogEntry): string {
  const sec = (seconds: number): string => `${seconds.toFixed(3)}sec`;
  const who = entry.authenticatedEntity === undefined ? (entry.requester ?? "None") : `${entry.authenticatedEntity}|${entry.requester ?? "None"}`;
  return (
    `${entry.ip} - ${entry.siteTag} - {${who}} Processed request: ${sec(entry.processingSeconds)}/${sec(entry.sendingSeconds)}` +
    ` ru=(${sec(entry.cpuUserSeconds)}, ${sec(entry.cpuSystemSeconds)})` +
    ` db=(${sec(entry.dbSchedulingSeconds)}/${sec(entry.dbTransactionSeconds)}/${entry.dbTransactionCount})` +
    ` ${entry.bytesSent}B ${entry.status}${entry.finished ? "" : "!"} "${entry.method} ${redactUri(entry.uri)} ${entry.protocol}"` +
    ` "${entry.userAgent ?? "-"}" [${entry.dbEventCount} dbevts]`
  );
}

/** The name of the access logger of a listener. */
export function accessLoggerName(tls: boolean, siteTag: string): string {
  return `synapse.access.${tls ? "https" : "http"}.${siteTag}`;
}

/** The address without the values of tokens and secrets. */
export function redactUri(uri: string): string {
  return uri.replace(/([?&](?:access(?:_|%5f)token|client(?:_|%5f)secret|(?:login|logout)?token)=)[^&]*/gi, "$1<redacted>");
}
