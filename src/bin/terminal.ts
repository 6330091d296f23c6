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
  /** A line to standard output. */
  print(line: string): void;
  /** A line to standard error. */
  warn(line: string): void;
  /** Text as it is to standard output. */
  write(text: string): void;
  /** The next line of standard input, without its end; "" at its end. */
  readLine(): Promise<string>;
  /** Asks at the terminal. */
  ask(question: string): Promise<string>;
  /** As `ask`, without showing what is typed. */
  askSecret(question: string): Promise<string>;
}

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
    print: (line) => void process.stdout.write(`${line}\n`),
    warn: (line) => void process.stderr.write(`${line}\n`),
    write: (text) => void process.stdout.write(text),
    readLine: () => question("", false),
    ask: (text) => question(text, false),
    askSecret: (text) => question(text, true),
  };
}
