import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/**
 * What processes use, read from Linux's /proc. Nothing here needs rights over the processes. On other systems every
 * function returns zeros, and the bench leaves the columns out.
 */

const TICKS_PER_SECOND = 100; // USER_HZ is 100 on every Linux that Node runs on
const PAGE_BYTES = 4096;

interface Stat {
  ppid: number;
  /** utime + stime, in seconds. */
  cpu: number;
  /** utime + stime of children that were waited for, in seconds. */
  childrenCpu: number;
  rssBytes: number;
}

function readStat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The command name (field 2) may hold spaces and brackets: the rest begins after the last bracket, with field 3.
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  return {
    ppid: fields[1]!,
    cpu: (fields[11]! + fields[12]!) / TICKS_PER_SECOND,
    childrenCpu: (fields[13]! + fields[14]!) / TICKS_PER_SECOND,
    rssBytes: fields[21]! * PAGE_BYTES,
  };
}

/** `pid` and all its living descendants. */
export function processTree(pid: number): number[] {
  const children = new Map<number, number[]>();
  let entries: string[];
  try {
    entries = readdirSync("/proc");
  } catch {
    return [pid];
  }
  for (const entry of entries) {
    if (!/^\d+$/.test(entry)) continue;
    const stat = readStat(Number(entry));
    if (stat === undefined) continue;
    const siblings = children.get(stat.ppid);
    if (siblings) siblings.push(Number(entry));
    else children.set(stat.ppid, [Number(entry)]);
  }
  const tree = [pid];
  for (let i = 0; i < tree.length; i++) tree.push(...(children.get(tree[i]!) ?? []));
  return tree;
}

/** CPU seconds that the processes have used since they started; those that are gone count as 0. */
export function cpuSeconds(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (readStat(pid)?.cpu ?? 0), 0);
}

/** CPU seconds by process. */
export function cpuByProcess(pids: readonly number[]): Map<number, number> {
  return new Map(pids.map((pid) => [pid, readStat(pid)?.cpu ?? 0]));
}

/** CPU seconds of a process tree, with those of children that have ended. */
export function treeCpuSeconds(pid: number): number {
  return processTree(pid).reduce((sum, each) => {
    const stat = readStat(each);
    return sum + (stat ? stat.cpu + stat.childrenCpu : 0);
  }, 0);
}

/** Resident bytes of a process tree. */
export function treeRssBytes(pid: number): number {
  return processTree(pid).reduce((sum, each) => sum + (readStat(each)?.rssBytes ?? 0), 0);
}

/** The process that listens on a TCP port of this machine, when it can be seen. */
export function processOfPort(port: number): number | undefined {
  const inodes = new Set<string>();
  for (const table of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    let text: string;
    try {
      text = readFileSync(table, "utf8");
    } catch {
      continue;
    }
    for (const line of text.split("\n").slice(1)) {
      const fields = line.trim().split(/\s+/);
      if (fields[3] === "0A" && parseInt(fields[1]!.split(":")[1]!, 16) === port) inodes.add(fields[9]!);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      for (const fd of readdirSync(`/proc/${entry}/fd`)) {
        const target = readlink(`/proc/${entry}/fd/${fd}`);
        const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
        if (inode !== undefined && inodes.has(inode)) return Number(entry);
      }
    } catch {
      // not ours to see, or gone
    }
  }
  return undefined;
}

function readlink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
