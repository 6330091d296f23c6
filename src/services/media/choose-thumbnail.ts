import type { Thumbnail } from "../../storage/media/thumbnails.ts";

export interface WantedThumbnail {
  readonly width: number;
  readonly height: number;
  readonly method: string;
  readonly type: string;
}

/**
 * The stored thumbnail that comes nearest to what is asked for, as Synapse chooses: one that is large enough before one that is not; for
 * crops the right shape first, then nearness in size, then the type asked for, then the shorter file.
 */
export function chooseThumbnail(thumbnails: readonly Thumbnail[], wanted: WantedThumbnail): Thumbnail | undefined {
  const crop = wanted.method.toLowerCase() === "crop";
  let best: { rank: number[]; thumbnail: Thumbnail } | undefined;
  for (const thumbnail of thumbnails) {
    const { width, height } = thumbnail;
    if (thumbnail.method !== "scale" && !(crop && thumbnail.method === "crop")) continue;
    const tooSmall = width >= wanted.width || height >= wanted.height ? 0 : 1;
    const distance = Math.abs((wanted.width - width) * (wanted.height - height));
    const rest = [distance, thumbnail.type === wanted.type ? 0 : 1, thumbnail.length];
    const shape = [Math.abs(wanted.width * height - wanted.height * width), wanted.width <= width && wanted.height <= height ? 0 : 1];
    const rank = crop ? [tooSmall, ...shape, ...rest] : [tooSmall, ...rest];
    if (best === undefined || isBelow(rank, best.rank)) best = { rank, thumbnail };
  }
  return best?.thumbnail;
}

function isBelow(a: readonly number[], b: readonly number[]): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return false;
}
