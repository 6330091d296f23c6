import { createInterface } from "node:readline";
import { Writable } from "node:stream";

/** The process as a command sees it. */
export interface Terminal {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Absolute. */
  readonly workingDirectory: string;
  /** True when somebody sits at the keyboard. */
  readonly interactive: boolean;
  /** Width of the terminal that standard output goes to; absent where that is a file or a pipe. */
  readonly columns?: number;
  /** A line to standard output. */
  print(line: string): void;
  /** A line to standard error. */
  warn(line: string): void;
  /** Text as it is to standard output. */
  write(text: string): void;
  /** Shows a line that the next one replaces, "" to take it away; absent where standard error is no terminal. */
  readonly status?: (line: string) => void;
  /** The next line of standard input, without its end; "" at its end. */
  readLine(): Promise<string>;
  /** Asks at the terminal. */
  ask(question: string): Promise<string>;
  /** As `ask`, without showing what is typed. */
  askSecret(question: string): Promise<string>;
}

/** Cut to one line of the terminal: a longer one could not be taken away again. */
function showStatus(line: string): void {
  process.stderr.write(`\r\u001b[K${line.slice(0, Math.max(0, process.stderr.columns - 1))}`);
}

/** The terminal of this process. */
export function processTerminal(argv: readonly string[]): Terminal {
  const question = async (text: string, hidden: boolean): Promise<string> => {
    process.stderr.write(text);
    const output = hidden ? new Writable({ write: (_chunk, _encoding, done) => done() }) : process.stderr;
    const lines = createInterface({ input: process.stdin, output, terminal: hidden && process.stdin.isTTY });
    try {
      for await (const line of lines) return line;
      return "";
    } finally {
      lines.close();
      if (hidden && process.stdin.isTTY) process.stderr.write("\n");
    }
  };
  return {
    argv,
    env: process.env,
    workingDirectory: process.cwd(),
    interactive: process.stdin.isTTY,
    ...(process.stdout.isTTY ? { columns: process.stdout.columns } : {}),
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) => void process.stderr.write(`${line}\n`),
    write: (text) => void process.stdout.write(text),
    ...(process.stderr.isTTY ? { status: showStatus } : {}),
    readLine: () => question("", false),
    ask: (text) => question(text, false),
    askSecret: (text) => question(text, true),
  };
}
