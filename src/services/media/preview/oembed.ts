import type { OembedProvider } from "../../../config/sections/oembed.ts";
import { isJsonObject, type JsonObject } from "../../../lib/json.ts";
import { decodeReferences, type Page, parseHtml } from "./html.ts";
import { describe, type OpenGraph, sourcesOf } from "./open-graph.ts";

/** What an oEmbed answer (https://oembed.com/) tells. */
export interface Oembed {
  readonly og: OpenGraph;
  readonly authorName: string | undefined;
  /** Milliseconds. */
  readonly cacheAge: number | undefined;
}

/** Finds who gives oEmbed answers for an address. Only JSON is read. */
export class OembedProviders {
  private readonly endpoints: readonly { readonly pattern: RegExp; readonly endpoint: string }[];

  constructor(providers: readonly OembedProvider[]) {
    this.endpoints = providers
      .filter(({ formats, apiEndpoint }) => (formats === undefined || formats.includes("json")) && !apiEndpoint.endsWith(".xml"))
      .flatMap(({ apiEndpoint, urlPatterns }) =>
        urlPatterns.map((pattern) => ({ pattern: new RegExp(`(?:${pattern})$`, "s"), endpoint: apiEndpoint.replaceAll("{format}", "json") })),
      );
  }

  /** The address of the answer for a page; undefined when the page itself is to be read. */
  addressFor(url: string): string | undefined {
    const found = this.endpoints.find(({ pattern }) => pattern.test(url));
    return found === undefined ? undefined : `${found.endpoint}?${new URLSearchParams({ url, format: "json" }).toString()}`;
  }
}

/** The address of the oEmbed answer that a page names. */
export function discoverOembed(page: Page): string | undefined {
  // Some write "alternative".
  for (const rel of ["alternate", "alternative"]) {
    const link = page.elements.find(
      ({ name, attributes }) =>
        name === "link" && attributes["rel"] === rel && attributes["type"] === "application/json+oembed" && attributes["href"] !== undefined,
    );
    if (link !== undefined) return link.attributes["href"];
  }
  return undefined;
}

const NOTHING: Oembed = { og: {}, authorName: undefined, cacheAge: undefined };

/** Reads an oEmbed answer about the page at `url`. What is no such answer tells nothing. */
export async function readOembed(url: string, body: Buffer): Promise<Oembed> {
  let oembed: unknown;
  try {
    oembed = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    return NOTHING;
  }
  // Required, but not always there, and sometimes a number.
  if (!isJsonObject(oembed) || !["1.0", 1, undefined].includes(oembed["version"] as string | number | undefined)) return NOTHING;
  const og: OpenGraph = { "og:url": url };
  const set = (name: string, value: string | undefined): void => void (value === undefined || (og[name] = value));
  const title = text(oembed, "title");
  set("og:title", title === undefined ? undefined : decodeReferences(title));
  set("og:site_name", text(oembed, "provider_name"));
  set("og:image", text(oembed, "thumbnail_url"));
  switch (oembed["type"]) {
    case "rich":
      await addFromHtml(og, text(oembed, "html"));
      break;
    case "photo":
      set("og:image", text(oembed, "url"));
      break;
    case "video":
      og["og:type"] = "video.other";
      await addFromHtml(og, text(oembed, "html"));
      for (const size of ["width", "height"]) {
        const value = oembed[size];
        if (Number.isInteger(value)) og[`og:video:${size}`] = value as number;
      }
      break;
    case "link":
      og["og:type"] = "website";
  }
  const age = Number(oembed["cache_age"] ?? Number.NaN);
  return { og, authorName: text(oembed, "author_name"), cacheAge: Number.isFinite(age) ? Math.trunc(age) * 1000 : undefined };
}

const text = (object: JsonObject, key: string): string | undefined => {
  const value = object[key];
  return typeof value === "string" && value !== "" ? value : undefined;
};

async function addFromHtml(og: OpenGraph, html: string | undefined): Promise<void> {
  const page = html === undefined ? undefined : await parseHtml(html);
  if (page === undefined) return;
  const image = sourcesOf(page, "img")[0];
  if (og["og:image"] === undefined && image !== undefined) og["og:image"] = image;
  const video = [...sourcesOf(page, "video"), ...sourcesOf(page, "embed")][0];
  if (video !== undefined) og["og:video"] = video;
  const description = describe(page);
  if (description !== undefined) og["og:description"] = description;
}
