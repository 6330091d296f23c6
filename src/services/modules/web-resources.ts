import type { IncomingHttpHeaders } from "node:http";
import { isJsonObject, type JsonObject } from "../../lib/json.ts";
import { MatrixError } from "../../protocol/errors.ts";

/** A request for a path that a module has taken. */
export class ModuleRequest {
  constructor(
    readonly method: string,
    /** Without the query. */
    readonly path: string,
    readonly query: URLSearchParams,
    readonly headers: IncomingHttpHeaders,
    readonly body: Buffer,
    /** The client's address. */
    readonly ip: string,
    readonly user_agent: string,
  ) {}

  /** The body as a JSON object. @throws MatrixError 400 M_NOT_JSON, M_BAD_JSON */
  json(): JsonObject {
    let value: unknown;
    try {
      value = JSON.parse(this.body.toString("utf8"));
    } catch {
      throw new MatrixError(400, "M_NOT_JSON", "Content not JSON.");
    }
    if (!isJsonObject(value)) throw new MatrixError(400, "M_BAD_JSON", "Content must be a JSON object.");
    return value;
  }
}

/** What a module answers. An object is sent as JSON, a text as HTML unless a header says otherwise. */
export interface ModuleResponse {
  /** Default 200. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: JsonObject | readonly unknown[] | string | Buffer;
}

export type WebResource = (request: ModuleRequest) => ModuleResponse | Promise<ModuleResponse>;

/** Paths that modules serve: each with all that is below it. The longest one that fits counts. */
export class WebResources {
  private readonly resources = new Map<string, WebResource>();

  /** The first module that takes a path has it, as in Synapse. @throws Error for what is no absolute path */
  register(path: string, resource: WebResource): void {
    if (!path.startsWith("/")) throw new Error(`${path} is no absolute path`);
    const clean = path.replace(/\/+$/, "");
    if (!this.resources.has(clean)) this.resources.set(clean, resource);
  }

  find(path: string): WebResource | undefined {
    if (this.resources.size === 0) return undefined;
    let best: string | undefined;
    for (const prefix of this.resources.keys()) if ((path === prefix || path.startsWith(`${prefix}/`)) && prefix.length >= (best?.length ?? 0)) best = prefix;
    return best === undefined ? undefined : this.resources.get(best);
  }
}
