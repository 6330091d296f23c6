import type { Json, JsonObject } from "../lib/json.ts";
import { compileGlob, type Glob } from "./glob.ts";

/** Which servers may take part in a room: an m.room.server_acl event, compiled once for each such event. */
export class ServerAcl {
  private readonly allowIpLiterals: boolean;
  private readonly allow: readonly Glob[];
  private readonly deny: readonly Glob[];

  /** Content of any type is accepted; what is malformed counts as absent. */
  constructor(content: JsonObject) {
    this.allowIpLiterals = content.allow_ip_literals !== false;
    this.allow = globs(content.allow);
    this.deny = globs(content.deny);
  }

  /**
   * Client-server API, "Server Access Control Lists (ACLs)". The port does not count; entries that name one, as Synapse
   * understands them, hold for that very name too.
   */
  allows(serverName: string): boolean {
    const host = serverName.replace(/:\d{1,5}$/, "");
    if (!this.allowIpLiterals && isIpLiteral(host)) return false;
    const matches = (glob: Glob): boolean => glob.matches(host) || (host !== serverName && glob.matches(serverName));
    return !this.deny.some(matches) && this.allow.some(matches);
  }
}

function globs(value: Json | undefined): Glob[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string").map((item) => compileGlob(item)) : [];
}

const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;

const isIpLiteral = (host: string): boolean => host.startsWith("[") || IPV4.test(host);
