import type { Context } from "../context.ts";
import { emptyState, type State } from "../../storage/state/snapshot.ts";
import type { ReadHandle, Txn } from "../../storage/database.ts";
import {
  compressorLevels,
  compressorProgress,
  type GroupLayout,
  groupsToCompress,
  hasCompressorTables,
  leavingGroups,
  makeCompressorTables,
  nextGroupToCompress,
  rewriteGroups,
  saveCompressorRoom,
  saveLowestUncompressed,
} from "../../storage/state/compression.ts";
import { groupChains, groupRows } from "../../storage/state/groups.ts";
import { emptyLevels, type Level, planLevels, type StoredGroup } from "./levels.ts";

export interface CompressionOptions {
  /** Groups of a room that are looked at together, in memory. */
  readonly chunkSize: number;
  /** How many such chunks are done. */
  readonly chunks: number;
  /** Sizes of the levels, lowest first. */
  readonly levels: readonly number[];
  /** Looks and writes nothing; an estimate, since its chunks do not build on each other's changes. */
  readonly dryRun: boolean;
}

/** What came of one chunk. */
export interface ChunkReport {
  readonly roomId: string;
  readonly groups: number;
  readonly rowsBefore: number;
  /** As before, where nothing was gained and the chunk stayed as it was. */
  readonly rowsAfter: number;
  readonly changed: number;
  /** Why the chunk was left alone, for an admin. */
  readonly skipped?: string;
}

export type CompressionContext = Pick<Context, "read" | "transaction">;

export const DEFAULT_LEVELS: readonly number[] = [100, 50, 25];

/**
 * Stores state groups with fewer rows, chunk by chunk, going on where the run before stopped. What a group stands for never changes: each
 * chunk is read back and compared before it is committed. A homeserver may run meanwhile.
 * @param onChunk  called after each chunk
 * @returns true when nothing is left to do
 */
export async function compressStateGroups(
  ctx: CompressionContext,
  options: CompressionOptions,
  onChunk: (report: ChunkReport) => void = () => {},
  signal?: AbortSignal,
): Promise<boolean> {
  if (!options.dryRun) await ctx.transaction("make_compressor_tables", (txn) => makeCompressorTables(txn));
  const stored = await hasCompressorTables(ctx.read);
  const begin = stored ? await compressorProgress(ctx.read) : { lowest: 0, lastInRoom: new Map<string, number>() };
  const lastInRoom = new Map(begin.lastInRoom);
  const dryLevels = new Map<string, Level[]>();
  let { lowest } = begin;
  for (let done = 0; done < options.chunks; done++) {
    if (signal?.aborted === true) return false;
    const next = await nextGroupToCompress(ctx.read, { lowest, lastInRoom });
    if (next === undefined) return true;
    lowest = next.group;
    const { roomId } = next;
    const outcome = await ctx.transaction(
      "compress_state_groups",
      async (txn) => {
        const levels = dryLevels.get(roomId) ?? (stored ? await storedLevels(txn, roomId, options.levels) : emptyLevels(options.levels));
        const chunk = await compressChunk(txn, roomId, lastInRoom.get(roomId) ?? -1, levels, options);
        if (!options.dryRun) {
          await saveCompressorRoom(txn, roomId, chunk.levels, chunk.last);
          await saveLowestUncompressed(txn, next.group);
        }
        return chunk;
      },
      { readOnly: options.dryRun },
    );
    lastInRoom.set(roomId, outcome.last);
    if (options.dryRun) dryLevels.set(roomId, outcome.levels);
    onChunk(outcome.report);
  }
  return (await nextGroupToCompress(ctx.read, { lowest, lastInRoom })) === undefined;
}

/** The levels of the run before, unless those were of other sizes. */
async function storedLevels(h: ReadHandle, roomId: string, sizes: readonly number[]): Promise<Level[]> {
  const levels = await compressorLevels(h, roomId);
  const same = levels.length === sizes.length && levels.every(({ maxLength }, index) => maxLength === sizes[index]);
  const leaving = await leavingGroups(
    h,
    levels.flatMap(({ head }) => (head === undefined ? [] : [head])),
  );
  return same && leaving.size === 0 ? levels : emptyLevels(sizes);
}

interface ChunkOutcome {
  readonly report: ChunkReport;
  readonly levels: Level[];
  readonly last: number;
}

async function compressChunk(txn: Txn, roomId: string, after: number, levels: Level[], options: CompressionOptions): Promise<ChunkOutcome> {
  const { groups, last = after } = await groupsToCompress(txn, roomId, after, options.chunkSize);
  const heads = levels.flatMap(({ head }) => (head === undefined ? [] : [head]));
  const loaded = await loadGroups(txn, [...groups, ...heads]);
  const untouched = (skipped: string, rows: number): ChunkOutcome => ({
    report: { roomId, groups: groups.length, rowsBefore: rows, rowsAfter: rows, changed: 0, skipped },
    levels: emptyLevels(options.levels),
    last,
  });
  if (loaded.problem !== undefined) return untouched(loaded.problem, 0);
  const chunk = groups.map((group) => loaded.groups.get(group)!);
  const others = new Map([...loaded.groups.values()].filter(({ group }) => !groups.includes(group)).map(({ group, state }) => [group, state]));
  const plan = planLevels(chunk, levels, others, loaded.depths);
  if (plan.rowsAfter > plan.rowsBefore) return untouched("nothing to gain", plan.rowsBefore);
  if (!options.dryRun && plan.changes.length > 0) {
    await rewriteGroups(txn, roomId, plan.changes);
    await verify(txn, chunk, plan.changes);
  }
  const { rowsBefore, rowsAfter } = plan;
  return { report: { roomId, groups: groups.length, rowsBefore, rowsAfter, changed: plan.changes.length }, levels: [...plan.levels], last };
}

interface LoadedGroups {
  readonly groups: ReadonlyMap<number, StoredGroup>;
  /** How many groups lie below each. */
  readonly depths: ReadonlyMap<number, number>;
  /** Why these groups must not be touched. */
  readonly problem?: string;
}

/** Groups, and all that they build on, with their states. */
async function loadGroups(h: ReadHandle, wanted: readonly number[]): Promise<LoadedGroups> {
  const chains = await groupChains(h, wanted);
  const { rows: rowsOf } = await groupRows(
    h,
    chains.map(({ group }) => group),
    undefined,
  );
  const groups = new Map<number, StoredGroup>();
  const depths = new Map<number, number>();
  const stop = (problem: string): LoadedGroups => ({ groups, depths, problem });
  let previous: State = emptyState;
  for (const { group, base } of chains) {
    if (groups.has(group)) return stop(`state group ${group} builds on more than one`);
    const below = base === undefined ? undefined : groups.get(base);
    if (base !== undefined && below === undefined) return stop(`state group ${group} builds on ${base}, which is missing or newer`);
    const rows = rowsOf.get(group) ?? [];
    if (new Set(rows.map(([key]) => key)).size !== rows.length) return stop(`state group ${group} has the same entry twice`);
    const state = below === undefined ? sharing(previous, rows) : below.state.with(rows);
    groups.set(group, { group, base, rows: rows.length, state });
    depths.set(group, base === undefined ? 0 : depths.get(base)! + 1);
    previous = state;
  }
  const missing = wanted.find((group) => !groups.has(group));
  return missing === undefined ? { groups, depths } : stop(`state group ${missing} is gone`);
}

/** The state of these rows, made of another one that is probably like it, so that the two share what is equal and compare quickly. */
function sharing(like: State, rows: readonly (readonly [Parameters<State["get"]>[0], string])[]): State {
  const wanted = new Map(rows);
  const gone = [...like.keys()].filter((key) => !wanted.has(key));
  if (gone.length > wanted.size / 2) return emptyState.with(rows);
  return like.without(gone).with(rows.filter(([key, eventId]) => like.get(key) !== eventId));
}

/** Reads the groups back as they are stored now. @throws Error when one stands for anything else than before: nothing is committed */
async function verify(h: ReadHandle, chunk: readonly StoredGroup[], changes: readonly GroupLayout[]): Promise<void> {
  const after = await loadGroups(
    h,
    chunk.map(({ group }) => group),
  );
  if (after.problem !== undefined) throw new Error(`Compressing state groups went wrong (${after.problem}); ${changes.length} changes are undone`);
  for (const { group, state } of chunk) {
    const now = after.groups.get(group)!.state;
    if (now.size !== state.size || now.changedKeys(state).length > 0) {
      throw new Error(`Compressing state groups would have changed state group ${group}; ${changes.length} changes are undone`);
    }
  }
}

/** One round of the job that `myelin.state_compression` switches on. */
export async function compressAsConfigured(ctx: Pick<Context, "config" | "read" | "transaction" | "log">, signal?: AbortSignal): Promise<void> {
  const options = ctx.config.myelin.stateCompression;
  if (options === undefined) return;
  let [saved, chunks] = [0, 0];
  const log = ctx.log.named("synapse.state_compression");
  const count = (report: ChunkReport): void => {
    saved += report.rowsBefore - report.rowsAfter;
    chunks++;
    if (report.skipped !== undefined && report.rowsBefore === 0) log.warn(`States of ${report.roomId} are left as they are: ${report.skipped}`);
  };
  const all = await compressStateGroups(ctx, { ...options, levels: DEFAULT_LEVELS, dryRun: false }, count, signal);
  if (chunks > 0) log.info(`Compressed ${chunks} chunks of state groups: ${saved} rows saved${all ? ", nothing is left to do" : ""}`);
}
