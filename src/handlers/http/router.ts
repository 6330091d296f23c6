import type { Endpoint } from "./endpoint.ts";

/**
 * Finds the endpoint of a path by its segments. Matching is exact: no junk before or after, no doubled slashes, no dot segments;
 * a literal segment wins over a parameter, a parameter over a `*rest`.
 */
interface Node {
  readonly literals: Map<string, Node>;
  param: Node | undefined;
  rest: Leaf[] | undefined;
  leaves: Leaf[];
}

interface Leaf {
  readonly endpoint: Endpoint;
  readonly path: string;
  readonly names: readonly string[];
  readonly fixed: readonly Fixed[];
}

/** A literal that stands for a parameter's value (`:action=join|leave`). */
interface Fixed {
  readonly name: string;
  readonly value: string;
}

export interface Match {
  readonly endpoint: Endpoint;
  readonly params: Record<string, string>;
}

const newNode = (): Node => ({ literals: new Map(), param: undefined, rest: undefined, leaves: [] });

export class Router {
  private readonly root = newNode();

  /** @throws Error when two endpoints claim the same method and path */
  constructor(endpoints: readonly Endpoint[]) {
    for (const endpoint of endpoints) for (const path of endpoint.paths) this.add(endpoint, path);
  }

  /** The endpoint for `method` and the raw path (still percent-encoded, no query), or why there is none. */
  find(method: string, path: string): Match | "not found" | "wrong method" {
    const segments = path.split("/");
    const values: string[] = [];
    let pathExists = false;

    const visit = (node: Node, index: number): Match | undefined => {
      if (index === segments.length) return this.pick(node.leaves, method, values, () => (pathExists = true));
      const segment = segments[index]!;
      const literal = node.literals.get(segment);
      if (literal !== undefined) {
        const found = visit(literal, index + 1);
        if (found !== undefined) return found;
      }
      if (node.param !== undefined && segment !== "" && segment !== "." && segment !== "..") {
        values.push(decode(segment));
        const found = visit(node.param, index + 1);
        if (found !== undefined) return found;
        values.pop();
      }
      if (node.rest !== undefined) {
        values.push(decode(segments.slice(index).join("/")));
        const found = this.pick(node.rest, method, values, () => (pathExists = true));
        if (found !== undefined) return found;
        values.pop();
      }
      return undefined;
    };

    return visit(this.root, 0) ?? (pathExists ? "wrong method" : "not found");
  }

  private pick(leaves: readonly Leaf[], method: string, values: readonly string[], seen: () => void): Match | undefined {
    for (const leaf of leaves) {
      seen();
      if (!(leaf.endpoint.methods as readonly string[]).includes(method)) continue;
      const params: Record<string, string> = {};
      for (let i = 0; i < leaf.names.length; i++) params[leaf.names[i]!] = values[i]!;
      for (const { name, value } of leaf.fixed) params[name] = value;
      return { endpoint: leaf.endpoint, params };
    }
    return undefined;
  }

  private add(endpoint: Endpoint, path: string): void {
    for (const { path: concrete, fixed } of enumerate(path)) this.addConcrete(endpoint, concrete, fixed);
  }

  private addConcrete(endpoint: Endpoint, path: string, fixed: readonly Fixed[]): void {
    const names: string[] = [];
    let node = this.root;
    for (const segment of path.split("/")) {
      if (segment.startsWith("*")) {
        names.push(segment.slice(1));
        (node.rest ??= []).push({ endpoint, path, names, fixed });
        return;
      }
      if (segment.startsWith(":")) {
        names.push(segment.slice(1));
        node = node.param ??= newNode();
      } else {
        let next = node.literals.get(segment);
        if (next === undefined) node.literals.set(segment, (next = newNode()));
        node = next;
      }
    }
    const clash = node.leaves.find((leaf) => leaf.endpoint.methods.some((method) => endpoint.methods.includes(method)));
    if (clash !== undefined) throw new Error(`Two endpoints for ${endpoint.methods.join("|")} ${path}: ${clash.endpoint.servlet} and ${endpoint.servlet}`);
    node.leaves.push({ endpoint, path, names, fixed });
  }
}

/** `/x/:action=join|leave` -> `/x/join` and `/x/leave`, each with the parameter's value; `/:path=files/*` -> `/files/*path`. */
function enumerate(path: string): { path: string; fixed: Fixed[] }[] {
  const rest = /:(\w+)=([^/|]+)\/\*$/.exec(path);
  if (rest !== null) return enumerate(`${path.slice(0, rest.index)}${rest[2]}/*${rest[1]}`);
  const match = /:(\w+)=([^/]+)/.exec(path);
  if (match === null) return [{ path, fixed: [] }];
  return match[2]!.split("|").flatMap((value) => {
    const rest = path.slice(0, match.index) + value + path.slice(match.index + match[0].length);
    return enumerate(rest).map((inner) => ({ path: inner.path, fixed: [{ name: match[1]!, value }, ...inner.fixed] }));
  });
}

/** Percent-decoding that leaves malformed sequences as they are. */
function decode(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}
