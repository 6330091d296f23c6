import { resolve } from "node:path";
import { z } from "zod";
import { ConfigError } from "../errors.ts";
import type { ConfigReader, ParseContext } from "../reader.ts";
import { readConfigFile } from "../reader.ts";

/** oEmbed providers for URL previews (`oembed`). */
export type OembedConfig = ReturnType<typeof parseOembed>;

export interface OembedProvider {
  readonly apiEndpoint: string;
  /** Source texts of regular expressions that match from the start of an address. */
  readonly urlPatterns: readonly string[];
  readonly formats: readonly string[] | undefined;
}

const providerList = z.array(
  z.object({
    provider_name: z.string(),
    provider_url: z.string(),
    endpoints: z.array(z.object({ schemes: z.array(z.string()), url: z.string(), formats: z.array(z.string()).optional() })),
  }),
);

/** From the public oEmbed registry: the providers that need it, because their pages say nothing to a crawler. */
const DEFAULT_PROVIDERS: z.infer<typeof providerList> = [
  {
    provider_name: "X",
    provider_url: "https://x.com/",
    endpoints: [{ schemes: ["https://x.com/*", "https://x.com/*/status/*", "https://*.x.com/*/status/*"], url: "https://publish.x.com/oembed" }],
  },
  {
    provider_name: "YouTube Shorts",
    provider_url: "http://www.youtube.com/",
    endpoints: [{ schemes: ["https://youtube.com/shorts/*", "https://*.youtube.com/shorts/*"], url: "https://www.youtube.com/oembed" }],
  },
];

export function parseOembed(root: ConfigReader, ctx: ParseContext): { readonly providers: readonly OembedProvider[] } {
  const raw = root.object("oembed");
  const providers = raw.boolean("disable_default_providers", false) ? [] : compile(DEFAULT_PROVIDERS, "oembed");
  for (const [index, file] of raw.strings("additional_providers").entries()) {
    const path = `oembed.additional_providers[${index}]`;
    providers.push(...compile(readProviders(resolve(ctx.dataDir, file), path), path));
  }
  return { providers };
}

function readProviders(file: string, path: string): z.infer<typeof providerList> {
  let json: unknown;
  try {
    json = JSON.parse(readConfigFile(file, path));
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`the file ${file} is no JSON`, path);
  }
  const result = providerList.safeParse(json);
  if (!result.success) throw new ConfigError(`the file ${file} is no oEmbed provider list (${result.error.issues[0]?.path.join(".")})`, path);
  return result.data;
}

function compile(providers: z.infer<typeof providerList>, path: string): OembedProvider[] {
  return providers.flatMap((provider) =>
    provider.endpoints.map((endpoint) => {
      if (!/^https?:/.test(endpoint.url)) throw new ConfigError(`found the endpoint ${endpoint.url}, wanted http or https`, path);
      return { apiEndpoint: endpoint.url, urlPatterns: endpoint.schemes.map((glob) => globPattern(glob, path)), formats: endpoint.formats };
    }),
  );
}

/** `*` stands for letters, digits, - and _ in the host, for anything elsewhere. */
function globPattern(glob: string, path: string): string {
  const match = /^(https?):\/\/([^/]*)(.*)$/.exec(glob);
  if (match === null) throw new ConfigError(`found the pattern ${glob}, wanted one that begins with http or https`, path);
  const quote = (text: string, star: string): string =>
    text
      .split("*")
      .map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"))
      .join(star);
  return `^${match[1]}://${quote(match[2]!, "[a-zA-Z0-9_-]+")}${quote(match[3]!, ".+")}`;
}
