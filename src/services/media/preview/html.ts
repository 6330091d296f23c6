import { setImmediate as nextTurn } from "node:timers/promises";
import { Parser } from "htmlparser2";

/** An element of a page. Adjacent pieces of text are one. */
export interface Element {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: (Element | string)[];
}

/** A page: the root holds what has no element around it. */
export interface Page {
  readonly root: Element;
  /** All elements in the order in which they begin. */
  readonly elements: readonly Element[];
}

const MAX_DEPTH = 256;
const MAX_ELEMENTS = 200_000;
/** How much is parsed before other work has its turn, characters. */
const CHUNK = 128 * 1024;

const HEAD_CONTENT = new Set(["title", "meta", "link", "script", "style", "base", "noscript", "template"]);

class TooMuch extends Error {}

/** Builds the tree. Nesting and number of elements are bounded, so that a page costs no more than its length. */
class TreeBuilder {
  readonly root: Element = { name: "", attributes: {}, children: [] };
  readonly elements: Element[] = [];
  private readonly open: Element[] = [this.root];
  private joinText = false;

  onopentag(name: string, attributes: Record<string, string>): void {
    this.joinText = false;
    if (this.top.name === "head" && !HEAD_CONTENT.has(name)) this.open.pop();
    if (this.open.length > MAX_DEPTH || this.elements.length >= MAX_ELEMENTS) throw new TooMuch();
    const element: Element = { name, attributes, children: [] };
    this.top.children.push(element);
    this.elements.push(element);
    this.open.push(element);
  }

  onclosetag(name: string): void {
    this.joinText = false;
    const at = this.open.findLastIndex((element) => element.name === name);
    if (at > 0) this.open.length = at;
  }

  ontext(text: string): void {
    if (this.top.name === "head" && text.trim() !== "") this.open.pop();
    const { children } = this.top;
    const last = children.length - 1;
    if (this.joinText && typeof children[last] === "string") children[last] += text;
    else children.push(text);
    this.joinText = true;
  }

  oncomment(): void {
    this.joinText = false;
  }

  private get top(): Element {
    return this.open[this.open.length - 1]!;
  }
}

/** Parses a page, however broken, up to where it is nested too deeply or has too many elements. undefined when nothing is on it. */
export async function parseHtml(text: string): Promise<Page | undefined> {
  const tree = new TreeBuilder();
  const parser = new Parser(tree, { decodeEntities: true, lowerCaseTags: true, lowerCaseAttributeNames: true });
  try {
    for (let at = 0; at < text.length; at += CHUNK) {
      if (at > 0) await nextTurn();
      parser.write(text.slice(at, at + CHUNK));
    }
    parser.end();
  } catch (error) {
    if (!(error instanceof TooMuch)) throw error;
  }
  const isEmpty =
    tree.elements.every(({ name, children }) => (name === "html" || name === "body") && children.every(isBlank)) && tree.root.children.every(isBlank);
  return isEmpty ? undefined : { root: tree.root, elements: tree.elements };
}

const isBlank = (child: Element | string): boolean => typeof child !== "string" || /^[\s\ufffd]*$/.test(child);

/** The text with its character references replaced. */
export function decodeReferences(text: string): string {
  let decoded = "";
  const parser = new Parser({ ontext: (part) => void (decoded += part) }, { decodeEntities: true });
  parser.end(text.replaceAll("<", "&lt;"));
  return decoded;
}

/** Parts of a page that say nothing about what it is about, and what only old browsers show. */
const NOT_CONTENT = new Set([
  "header",
  "nav",
  "aside",
  "footer",
  "script",
  "noscript",
  "style",
  "svg",
  "iframe",
  "video",
  "canvas",
  "img",
  "picture",
  "head",
  "title",
]);
const NOT_CONTENT_ROLES = new Set(["directory", "menu", "menubar", "toolbar"]);

/** The texts of a page in reading order, without menus, scripts and the like. */
export function* textsOf(page: Page): Generator<string> {
  const stack: { readonly element: Element; next: number }[] = [{ element: page.root, next: 0 }];
  while (stack.length > 0) {
    const at = stack[stack.length - 1]!;
    const child = at.element.children[at.next++];
    if (child === undefined) stack.pop();
    else if (typeof child === "string") yield child;
    else if (isContent(child)) stack.push({ element: child, next: 0 });
  }
}

const isContent = ({ name, attributes }: Element): boolean => !NOT_CONTENT.has(name) && !NOT_CONTENT_ROLES.has(attributes["role"] ?? "");
