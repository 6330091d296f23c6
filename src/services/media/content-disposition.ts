/** The file name of a `Content-Disposition` header (RFC 6266), `filename*` first; undefined when it has none that can be stored. */
export function fileNameOf(header: string | undefined): string | undefined {
  if (header === undefined || header.length > 4_096) return undefined;
  const extended = /(?:^|;)\s*filename\*\s*=\s*utf-8''([^;\s]*)/i.exec(header)?.[1];
  const plain = /(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"\s]+))/i.exec(header);
  return storable(decode(extended)) ?? storable(decode((plain?.[1]?.replace(/\\(.)/g, "$1") ?? plain?.[2]) || undefined));
}

/** Percent-encoded UTF-8; many servers write plain names like that, too. */
function decode(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const storable = (name: string | undefined): string | undefined =>
  name === undefined || name === "" || /[\u0000-\u001f]/.test(name) ? undefined : name.slice(0, 1_000);
