import { Parser } from "htmlparser2";

/** Elements that a message may have in a mail; of others only what is in them is shown. Headings of the first two levels shout. */
const ELEMENTS: ReadonlySet<string> = new Set(
  "font del h3 h4 h5 h6 blockquote p a ul ol nl li b i u strong em strike code hr br div table thead caption tbody tr th td pre".split(" "),
);
const VOID: ReadonlySet<string> = new Set(["hr", "br"]);
/** What is in these is no text for a reader. */
const SILENT: ReadonlySet<string> = new Set(["script", "style", "template", "title", "iframe", "noscript", "textarea", "mx-reply"]);
const MAX_DEPTH = 64;
const URL_IN_TEXT = /\bhttps?:\/\/[^\s<>"'`]+/gi;
const TRAILING = /[.,;:!?)\]}]+$/;

/** A text as HTML: escaped, with the addresses in it as links. */
export function textAsHtml(text: string): string {
  let html = "";
  let at = 0;
  for (const match of text.matchAll(URL_IN_TEXT)) {
    const url = match[0].replace(TRAILING, "");
    html += `${escape(text.slice(at, match.index))}<a href="${escape(url)}" rel="nofollow">${escape(url)}</a>`;
    at = match.index + url.length;
  }
  return html + escape(text.slice(at));
}

/** A message's HTML with nothing in it but harmless elements, and links to http, https and mailto; bare addresses become links. */
export function safeHtml(source: string): string {
  const open: string[] = [];
  let silent = 0;
  let html = "";
  const parser = new Parser(
    {
      onopentag(name, attributes) {
        if (SILENT.has(name)) silent++;
        if (silent > 0 || !ELEMENTS.has(name) || open.length >= MAX_DEPTH) return;
        html += `<${name}${attributesOf(name, attributes)}>`;
        if (!VOID.has(name)) open.push(name);
      },
      onclosetag(name) {
        if (SILENT.has(name)) silent = Math.max(0, silent - 1);
        const at = open.lastIndexOf(name);
        if (silent > 0 || at < 0) return;
        for (const inner of open.splice(at).reverse()) html += `</${inner}>`;
      },
      ontext(text) {
        if (silent === 0) html += open.includes("a") ? escape(text) : textAsHtml(text);
      },
    },
    { decodeEntities: true },
  );
  parser.end(source);
  for (const name of open.reverse()) html += `</${name}>`;
  return html;
}

function attributesOf(name: string, attributes: Readonly<Record<string, string>>): string {
  if (name === "font") return /^(?:#[\da-f]{3,8}|[a-z]{1,30})$/i.test(attributes.color ?? "") ? ` color="${attributes.color}"` : "";
  if (name !== "a") return "";
  const { href } = attributes;
  return href !== undefined && /^(?:https?:\/\/|mailto:)[^\s]+$/i.test(href) ? ` href="${escape(href)}" rel="nofollow"` : "";
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escape = (text: string): string => text.replace(/[&<>"']/g, (char) => ESCAPES[char]!);
