import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { CommandFailed } from "./command.ts";

/** True while a process of that number lives; a zombie does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true;
  }
}

/** The process that a pid file names; undefined without file or number. */
export function readPid(file: string): number | undefined {
  if (!existsSync(file)) return undefined;
  const pid = Number(readFileSync(file, "utf8").trim());
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

/**
 * Writes the own process number, without line end as Synapse.
 * @returns a function that removes the file
 * @throws CommandFailed while the process in the file lives
 */
export function takePidFile(file: string): () => void {
  const other = readPid(file);
  if (other !== undefined && other !== process.pid && isRunning(other))
    throw new CommandFailed(`${file} belongs to the running process ${other}: stop that one first`);
  writeFileSync(file, String(process.pid));
  return () => {
    if (readPid(file) === process.pid) rmSync(file, { force: true });
  };
}
