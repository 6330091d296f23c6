import { queryOne, type ReadHandle } from "../../src/storage/database.ts";
import type { Random } from "../../src/lib/random.ts";

/** A stretch of ids, both ends included. */
export interface Block {
  readonly from: number;
  readonly to: number;
}

export interface Sampling {
  /** How many of the newest ids. */
  readonly newest: number;
  /** How many stretches elsewhere, and how long each is. */
  readonly blocks: number;
  readonly length: number;
}

/** All ids between the least and the greatest where they are few, else the newest and stretches at random, which do not overlap. */
export function chooseBlocks(range: { least: number | null; greatest: number | null }, { newest, blocks, length }: Sampling, random: Random): Block[] {
  const { least, greatest } = range;
  if (least === null || greatest === null) return [];
  if (greatest - least < newest + blocks * length) return [{ from: least, to: greatest }];
  const chosen: Block[] = [{ from: greatest - newest + 1, to: greatest }];
  const slots = Math.floor((greatest - newest - least) / length);
  const taken = new Set<number>();
  while (taken.size < Math.min(blocks, slots)) taken.add(random.below(slots));
  for (const slot of taken) chosen.push({ from: least + slot * length, to: least + (slot + 1) * length - 1 });
  return chosen;
}

/** `$1` and `$2` of statements that read `WINDOW`. */
export const blockParameters = (blocks: readonly Block[]): [number[], number[]] => [blocks.map(({ from }) => from), blocks.map(({ to }) => to)];

/** The stretches as a table. */
export const WINDOW = "unnest($1::bigint[], $2::bigint[]) AS w (low, high)";

export async function eventRange(h: ReadHandle): Promise<{ least: number | null; greatest: number | null }> {
  return (await queryOne(h, "SELECT (SELECT min(stream_ordering) FROM events) AS least, (SELECT max(stream_ordering) FROM events) AS greatest"))!;
}

export async function stateGroupRange(h: ReadHandle): Promise<{ least: number | null; greatest: number | null }> {
  return (await queryOne(h, "SELECT (SELECT min(id) FROM state_groups) AS least, (SELECT max(id) FROM state_groups) AS greatest"))!;
}
