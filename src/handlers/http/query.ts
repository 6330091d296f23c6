import { invalidParam, missingParam } from "../../protocol/errors.ts";

/** Query parameters, read with Synapse's rules and error codes: the first value of a repeated name counts. */
export class Query {
  private readonly params: URLSearchParams;
  constructor(search: string) {
    this.params = new URLSearchParams(search);
  }

  string(name: string): string | undefined;
  string(name: string, fallback: string): string;
  string(name: string, fallback?: string): string | undefined {
    return this.params.get(name) ?? fallback;
  }

  requiredString(name: string): string {
    const value = this.params.get(name);
    if (value === null) throw missingParam(`Missing string query parameter '${name}'`);
    return value;
  }

  /** All values of a repeated name. */
  strings(name: string): string[] {
    return this.params.getAll(name);
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T | undefined;
  oneOf<T extends string>(name: string, allowed: readonly T[], fallback: T): T;
  oneOf<T extends string>(name: string, allowed: readonly T[], fallback?: T): T | undefined {
    const value = this.params.get(name);
    if (value === null) return fallback;
    if (!(allowed as readonly string[]).includes(value))
      throw invalidParam(`Query parameter '${name}' must be one of [${allowed.map((one) => `'${one}'`).join(", ")}]`);
    return value as T;
  }

  /** Numbers beyond 53 bits become the outermost ones: as limits and times they mean the same. */
  integer(name: string): number | undefined;
  integer(name: string, fallback: number): number;
  integer(name: string, fallback?: number): number | undefined {
    const value = this.params.get(name);
    if (value === null) return fallback;
    if (!/^\s*[+-]?\d+\s*$/.test(value)) throw invalidParam(`Query parameter ${name} must be an integer`);
    return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Number(value)));
  }

  /** As `integer`, refusing negative values. */
  natural(name: string): number | undefined;
  natural(name: string, fallback: number): number;
  natural(name: string, fallback?: number): number | undefined {
    const value = this.integer(name);
    if (value !== undefined && value < 0) throw invalidParam(`Query parameter ${name} must be a positive integer.`);
    return value ?? fallback;
  }

  boolean(name: string): boolean | undefined;
  boolean(name: string, fallback: boolean): boolean;
  boolean(name: string, fallback?: boolean): boolean | undefined {
    const value = this.params.get(name);
    if (value === null) return fallback;
    if (value === "true") return true;
    if (value === "false") return false;
    throw invalidParam(`Boolean query parameter '${name}' must be one of ['true', 'false']`);
  }

  has(name: string): boolean {
    return this.params.has(name);
  }
}
