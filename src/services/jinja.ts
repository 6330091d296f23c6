import nunjucks from "nunjucks";
import { strftime } from "../lib/strftime.ts";

/** What Jinja2 has and nunjucks has not, as far as templates use it that admins wrote (or copied) for Synapse. */

// Slices (`name[1:]`) and the methods of Python's lists and mappings. A slice of a text is a text, though nunjucks makes a list of it.
nunjucks.installJinjaCompat();
const runtime = nunjucks.runtime as unknown as { memberLookup(...args: unknown[]): unknown };
const lookup = runtime.memberLookup;
runtime.memberLookup = (...args) => {
  const value: unknown = lookup(...args);
  return args.length === 4 && typeof args[0] === "string" ? (value as string[]).join("") : value;
};

/**
 * Reads Jinja2 templates: `include ... with(out) context` includes with context, as nunjucks always does, and `"text" % value` formats.
 */
export class JinjaLoader extends nunjucks.FileSystemLoader {
  override getSource(name: string): nunjucks.LoaderSource {
    const source = super.getSource(name);
    return source === null ? source : { ...source, src: fromJinja(source.src) };
  }
}

/** A Jinja2 template as nunjucks reads it. Only what stands in `{% %}` and `{{ }}` is touched. */
export function fromJinja(source: string): string {
  // Jinja2 drops the line break at the end of a template.
  return source.replace(/\r?\n$/, "").replace(/\{#[^]*?#\}|\{%[^]*?%\}(?!\})|\{\{[^]*?\}\}/g, (tag) => {
    if (tag.startsWith("{#")) return tag;
    return tag
      .replace(/^(\{%[-+]?\s*(?:include|import|from)\b[^]*?)\s+with(?:out)?\s+context(?=\s*[-+]?%\}$)/, "$1")
      .replace(
        /("[^"]*%[-+ 0\d.]*[sdifx(][^"]*"|'[^']*%[-+ 0\d.]*[sdifx(][^']*')\s*%\s*(\((?:[^()]|\([^()]*\))*\)|"[^"]*"|'[^']*'|[\w.]+(?:\[[^\]]*\])?)/g,
        (_match, text: string, values: string) => {
          return `(${text}|format${values.startsWith("(") ? values.replace(/,\s*\)$/, ")") : `(${values})`})`;
        },
      );
  });
}

/** Synapse's filters, and Jinja2's `format`. */
export function addJinjaFilters(environment: nunjucks.Environment, publicBaseurl: string): void {
  environment.addFilter("format", format);
  environment.addFilter("format_ts", (value: number, pattern: string) => strftime(new Date(value), pattern));
  environment.addFilter("mxc_to_http", (value: unknown, width: number, height: number, method = "crop") =>
    mxcToHttp(publicBaseurl, value, width, height, method as string),
  );
  environment.addFilter("localpart_from_email", (address: string) => address.slice(0, Math.max(0, address.lastIndexOf("@"))) || address);
}

/** Python's `%`: `%s`, `%d`, `%.1f` and their like in order, `%(name)s` by name. */
function format(text: unknown, ...values: unknown[]): string {
  const named = (values.find((value) => typeof value === "object" && value !== null) ?? {}) as Record<string, unknown>;
  let next = 0;
  return String(text).replace(
    /%(?:%|(?:\((\w+)\))?([-+ 0]*)(\d*)(?:\.(\d+))?([sdifx]))/g,
    (match, name: string | undefined, flags: string, width: string, precision: string | undefined, kind: string) => {
      if (match === "%%") return "%";
      const value = name === undefined ? values[next++] : Object.hasOwn(named, name) ? named[name] : "";
      const shown = formatOne(value, kind, precision === undefined ? undefined : Number(precision));
      const size = Math.min(Number(width), 1_000);
      return flags.includes("-") ? shown.padEnd(size) : shown.padStart(size, flags.includes("0") ? "0" : " ");
    },
  );
}

function formatOne(value: unknown, kind: string, precision: number | undefined): string {
  if (value === undefined || value === null) return "";
  if (kind === "f") return Number(value).toFixed(Math.min(precision ?? 6, 20));
  if (kind === "x") return Math.trunc(Number(value)).toString(16);
  if (kind !== "s" && typeof value === "number") return String(Math.trunc(value));
  const text = typeof value === "object" ? String(value) : `${value as string | number}`;
  return precision === undefined || kind !== "s" ? text : text.slice(0, precision);
}

function mxcToHttp(baseurl: string, value: unknown, width: number, height: number, method: string): string {
  if (typeof value !== "string" || !value.startsWith("mxc://")) return "";
  const [media, fragment] = value.slice("mxc://".length).split("#", 2) as [string, string | undefined];
  const query = new URLSearchParams({ width: String(width), height: String(height), method });
  return `${baseurl}_matrix/media/v1/thumbnail/${media}?${query.toString()}${fragment === undefined ? "" : `#${fragment}`}`;
}
