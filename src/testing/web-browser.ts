import http from "node:http";

/** What a page or redirect looked like to the browser. */
export interface Visit {
  readonly url: string;
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
  /** Where it wants the browser to go; absolute. */
  readonly location: string | undefined;
}

/**
 * A browser without a window: keeps cookies by host and path, follows redirects. Names that have no address (`https://test`) are looked up in
 * `hosts`, as a reverse proxy in front of the server would.
 */
export class WebBrowser {
  readonly cookies: { host: string; name: string; value: string; path: string }[] = [];
  userAgent = "Test browser";

  constructor(private readonly hosts: Readonly<Record<string, string>>) {}

  get(url: string): Promise<Visit> {
    return this.request("GET", url, undefined);
  }

  /** Posts a form. */
  post(url: string, form: Readonly<Record<string, string>> | string): Promise<Visit> {
    return this.request("POST", url, typeof form === "string" ? form : new URLSearchParams(form).toString());
  }

  /** Follows redirects until a page, or until `stop` says that the next address is not to be visited. */
  async follow(first: Visit, stop: (url: string) => boolean = () => false): Promise<Visit> {
    let visit = first;
    for (let hops = 0; visit.location !== undefined && !stop(visit.location); hops++) {
      if (hops > 20) throw new Error(`Too many redirects, the last one to ${visit.location}`);
      visit = await this.get(visit.location);
    }
    return visit;
  }

  /** The value of a cookie, whatever its path. */
  cookie(name: string): string | undefined {
    return this.cookies.findLast((cookie) => cookie.name === name)?.value;
  }

  private async request(method: string, url: string, body: string | undefined): Promise<Visit> {
    const target = new URL(url);
    const real = new URL(this.hosts[target.origin] ?? target.origin);
    const cookies = this.cookies.filter(({ host, path }) => host === target.host && target.pathname.startsWith(path));
    const headers: Record<string, string> = {
      host: target.host,
      "x-forwarded-for": "127.0.0.1",
      "x-forwarded-proto": target.protocol.slice(0, -1),
      "user-agent": this.userAgent,
    };
    if (cookies.length > 0) headers["cookie"] = cookies.map(({ name, value }) => `${name}=${value}`).join("; ");
    if (body !== undefined) {
      headers["content-type"] = "application/x-www-form-urlencoded";
      headers["content-length"] = String(Buffer.byteLength(body));
    }
    const options = { host: real.hostname, port: real.port, method, path: target.pathname + target.search, headers, agent: false as const };
    const answer = await new Promise<{ status: number; headers: http.IncomingHttpHeaders; text: string }>((resolve, reject) => {
      const request = http.request(options, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve({ status: response.statusCode!, headers: response.headers, text: Buffer.concat(chunks).toString("utf8") }));
        response.on("error", reject);
      });
      request.on("error", reject);
      request.end(body);
    });
    for (const line of answer.headers["set-cookie"] ?? []) this.keep(target.host, line);
    const { location } = answer.headers;
    return { url, ...answer, location: location === undefined ? undefined : new URL(location, url).toString() };
  }

  private keep(host: string, line: string): void {
    const [pair, ...attributes] = line.split(";").map((part) => part.trim());
    const at = pair!.indexOf("=");
    const [name, value] = [pair!.slice(0, at), pair!.slice(at + 1)];
    const attribute = (key: string): string | undefined => attributes.find((one) => one.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1);
    const path = attribute("path") ?? "/";
    const index = this.cookies.findIndex((cookie) => cookie.host === host && cookie.name === name && cookie.path === path);
    if (index >= 0) this.cookies.splice(index, 1);
    const expires = attribute("expires");
    if (value !== "" && !(expires !== undefined && Date.parse(expires) === 0)) this.cookies.push({ host, name, value, path });
  }
}
