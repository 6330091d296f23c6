import type { Element, Page } from "./html.ts";
import { textsOf } from "./html.ts";
import { summarise } from "./summary.ts";

/** What a preview says: names of the Open Graph protocol (https://ogp.me/) and Matrix's own `matrix:image:size`. null: looked for and not found. */
export type OpenGraph = Record<string, string | number | null>;

const MAX_TAGS = 50;

/** Reads what a page says about itself: Open Graph, then Twitter cards, then what its title, pictures and text tell (as Synapse chooses). */
export function openGraphOf(page: Page): OpenGraph {
  const og: OpenGraph = {
    ...metaTags(page, "name", "twitter:", openGraphName),
    ...metaTags(page, "property", "og:"),
    ...metaTags(page, "property", "article:"),
    ...metaTags(page, "property", "profile:"),
  };
  if (og["og:title"] === undefined) og["og:title"] = titleOf(page) ?? null;
  if (og["og:image"] === undefined) {
    const image = imageOf(page);
    if (image !== undefined) og["og:image"] = image;
  }
  const described = og["og:description"];
  if (typeof described === "string") og["og:description"] = summarise([described]) ?? null;
  else og["og:description"] = metaContent(page, "name", "description") ?? describe(page) ?? null;
  return og;
}

/** A summary of the text on a page. */
export const describe = (page: Page): string | undefined => summarise(textsOf(page));

/** Sources of the elements of a name. */
export const sourcesOf = (page: Page, name: string): string[] =>
  page.elements.filter((element) => element.name === name).flatMap(({ attributes }) => attributes["src"] ?? []);

/** A page with more tags of a kind than anyone needs has none. */
function metaTags(page: Page, attribute: "name" | "property", prefix: string, rename: (key: string) => string | undefined = (key) => key): OpenGraph {
  const found = new Map<string, string>();
  for (const { name, attributes } of page.elements) {
    const key = attributes[attribute];
    if (name !== "meta" || !key?.startsWith(prefix) || !attributes["content"]) continue;
    if (found.size >= MAX_TAGS) return {};
    const renamed = rename(key);
    if (renamed !== undefined) found.set(renamed, attributes["content"]);
  }
  return Object.fromEntries(found);
}

function openGraphName(key: string): string | undefined {
  if (key === "twitter:card" || key === "twitter:creator") return undefined;
  return key === "twitter:site" ? "og:site_name" : `og:${key.slice("twitter:".length)}`;
}

/** The text of the title or of the first heading of each size, whichever comes first. */
function titleOf(page: Page): string | undefined {
  const seen = new Set<string>();
  for (const element of page.elements) {
    if (!["title", "h1", "h2", "h3"].includes(element.name) || seen.has(element.name)) continue;
    seen.add(element.name);
    const text = element.children.find((child) => typeof child === "string");
    if (text !== undefined) return text.trim();
  }
  return undefined;
}

/** A picture that the page names; else its largest one, its first one, its icon. */
function imageOf(page: Page): string | undefined {
  const named = metaContent(page, "itemprop", "image");
  if (named !== undefined) return named;
  const images = page.elements.filter(({ name, attributes }) => name === "img" && attributes["src"] !== undefined);
  let largest: { area: number; image: Element } | undefined;
  for (const image of images) {
    const [width, height] = [pixels(image.attributes["width"]), pixels(image.attributes["height"])];
    // Smaller ones count visits or make room.
    if (width > 10 && height > 10 && width * height > (largest?.area ?? 0)) largest = { area: width * height, image };
  }
  const image = largest?.image ?? images[0];
  if (image !== undefined) return image.attributes["src"];
  return page.elements.find(({ name, attributes }) => name === "link" && attributes["rel"]?.includes("icon") && attributes["href"] !== undefined)?.attributes[
    "href"
  ];
}

const pixels = (text: string | undefined): number => (text !== undefined && /^\s*(\d+(\.\d*)?|\.\d+)\s*$/.test(text) ? Number(text) : 0);

function metaContent(page: Page, attribute: string, value: string): string | undefined {
  return page.elements.find(({ name, attributes }) => name === "meta" && attributes[attribute]?.toLowerCase() === value && attributes["content"])?.attributes[
    "content"
  ];
}
