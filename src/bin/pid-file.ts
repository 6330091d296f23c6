import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { isRunning } from "../lib/processes.ts";
import { CommandFailed } from "./command.ts";

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
