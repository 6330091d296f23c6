import type { Terminal } from "./terminal.ts";

const WIDTH = 24;

/** One line at the bottom of a terminal that shows how far a command has come; nothing where nobody looks. */
export interface Progress {
  /** `done` of `total`, and what is being done. */
  show(done: number, total: number, what: string): void;
  /** Takes the line away. */
  end(): void;
}

/** A progress bar on a terminal; nothing elsewhere. */
export function progress(terminal: Terminal): Progress {
  const { status } = terminal;
  if (status === undefined) return { show: () => {}, end: () => {} };
  return {
    show(done, total, what) {
      const share = total <= 0 ? 1 : Math.min(1, Math.max(0, done / total));
      const filled = Math.round(share * WIDTH);
      status(`[${"#".repeat(filled)}${".".repeat(WIDTH - filled)}] ${String(Math.floor(share * 100)).padStart(3)}%  ${what}`);
    },
    end: () => status(""),
  };
}
