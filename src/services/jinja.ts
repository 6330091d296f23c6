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
  return source.replace(/\{#[^]*?#\}|\{%[^]*?%\}(?!\})|\{\{[^]*?\}\}/g, (tag) => {
    if (tag.startsWith("{#")) return tag;
    return tag
      .replace(/^(\{%[-+]?\s*(?:include|import|from)\b[^]*?)\s+with(?:out)?\s+context(?=\s*[-+]?%\}$)/, "$1")
      .replace(/("[^"]*%[sd(][^"]*"|'[^']*%[sd(][^']*')\s*%\s*(\([^()]*\)|[\w.]+(?:\[[^\]]*\])?)/g, (_match, text: string, values: string) => {
        return `(${text}|format${values.startsWith("(") ? values.replace(/,\s*\)$/, ")") : `(${values})`})`;
      });
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

/** Python's `%`: `%s` and `%d` in order, `%(name)s` by name. */
function format(text: unknown, ...values: unknown[]): string {
  const named = (values.find((value) => typeof value === "object" && value !== null) ?? {}) as Record<string, unknown>;
  let next = 0;
  return String(text).replace(/%(?:%|\((\w+)\)[sd]|[sd])/g, (match, name: string | undefined) => {
    if (match === "%%") return "%";
    const value = name === undefined ? values[next++] : Object.hasOwn(named, name) ? named[name] : "";
    return value === undefined || value === null ? "" : typeof value === "object" ? String(value) : `${value as string | number}`;
  });
}

function mxcToHttp(baseurl: string, value: unknown, width: number, height: number, method: string): string {
  if (typeof value !== "string" || !value.startsWith("mxc://")) return "";
  const [media, fragment] = value.slice("mxc://".length).split("#", 2) as [string, string | undefined];
  const query = new URLSearchParams({ width: String(width), height: String(height), method });
  return `${baseurl}_matrix/media/v1/thumbnail/${media}?${query.toString()}${fragment === undefined ? "" : `#${fragment}`}`;
}
