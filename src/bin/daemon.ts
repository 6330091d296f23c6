import { spawn } from "node:child_process";

/** Set in the environment of the process in the background. */
const MARK = "MYELIN_DAEMON";

/** True in the process that went to the background. */
export function isDaemon(): boolean {
  return process.env[MARK] === "1";
}

/**
 * Starts this very command again in the background and waits until it serves, or has failed.
 * @returns the exit status of the command in the foreground
 */
export async function startInBackground(): Promise<number> {
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    detached: true,
    env: { ...process.env, [MARK]: "1" },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  child.stderr!.pipe(process.stderr, { end: false });
  return await new Promise((resolve) => {
    child.once("message", () => {
      child.stderr!.unpipe();
      child.stderr!.destroy();
      child.disconnect();
      child.unref();
      resolve(0);
    });
    child.once("exit", (code) => resolve(code ?? 1));
    child.once("error", () => resolve(1));
  });
}

/** In the background: tells the foreground that the server serves, and leaves its terminal and folder. */
export function detach(): void {
  process.stderr.on("error", () => {}); // nobody reads it any longer
  process.send?.("serving");
  process.disconnect?.();
  process.chdir("/");
  process.umask(0o027);
}
