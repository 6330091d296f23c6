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

/** Whose paths a listener serves: none, those of all listeners, or its own by its place in `listeners`. Those of no listener are everywhere but at "none". */
export type ListenerPaths = "none" | "all" | number;

/** Paths that modules serve: each with all that is below it. The longest one that fits counts. */
export class WebResources {
  private readonly resources: { readonly prefix: string; readonly resource: WebResource; readonly listener: number | undefined }[] = [];

  /**
   * The first module that takes a path has it, as in Synapse. `listener`: the place in `listeners` of the one that has it; undefined: all have it.
   * @throws Error for what is no absolute path
   */
  register(path: string, resource: WebResource, listener?: number): void {
    if (!path.startsWith("/")) throw new Error(`${path} is no absolute path`);
    const prefix = path.replace(/\/+$/, "");
    if (!this.resources.some((known) => known.prefix === prefix && known.listener === listener)) this.resources.push({ prefix, resource, listener });
  }

  find(path: string, paths: ListenerPaths): WebResource | undefined {
    if (paths === "none") return undefined;
    let best: (typeof this.resources)[number] | undefined;
    for (const known of this.resources) {
      const { prefix, listener } = known;
      if (listener !== undefined && paths !== "all" && listener !== paths) continue;
      if (path !== prefix && !path.startsWith(`${prefix}/`)) continue;
      // What a module takes for all listeners goes before what one of them has under the same path.
      if (best === undefined || prefix.length > best.prefix.length || (prefix.length === best.prefix.length && listener === undefined)) best = known;
    }
    return best?.resource;
  }
}
