import { parseDocument } from "htmlparser2";

/**
 * XML that an admin configured or a provider that the admin trusts sends: elements by their local names. Entities beyond the five of XML
 * and document types mean nothing here. Not for what must be proven by a signature.
 */
export interface XmlElement {
  /** Without the prefix. */
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: readonly XmlElement[];
  /** All text below, without comments. */
  readonly text: string;
}

interface Node {
  readonly type: string;
  readonly name?: string;
  readonly data?: string;
  readonly attribs?: Record<string, string>;
  readonly children?: readonly Node[];
}

/** The root element; undefined when there is none. */
export function parseXml(text: string): XmlElement | undefined {
  const document = parseDocument(text, { xmlMode: true }) as unknown as Node;
  const root = (document.children ?? []).find(({ type }) => type === "tag");
  return root === undefined ? undefined : element(root);
}

/** Children of that local name. */
export const childrenOf = (parent: XmlElement, name: string): XmlElement[] => parent.children.filter((child) => child.name === name);

function element(node: Node): XmlElement {
  return {
    name: local(node.name ?? ""),
    attributes: node.attribs ?? {},
    children: (node.children ?? []).filter(({ type }) => type === "tag").map(element),
    text: textOf(node),
  };
}

function textOf(node: Node): string {
  if (node.type === "text") return node.data ?? "";
  return node.type === "comment" ? "" : (node.children ?? []).map(textOf).join("");
}

const local = (name: string): string => name.slice(name.indexOf(":") + 1);

/** Text as it stands in XML, in elements and attributes. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
