/**
 * Command lines as Python's argparse takes them, since the commands keep Synapse's names and flags: `--long value`, `--long=value`,
 * unambiguous beginnings of long flags, `-x value`, `-xvalue`, bundled switches.
 */
export interface Flag {
  /** All spellings, such as ["-c", "--config-path"]. */
  readonly names: readonly string[];
  /** What stands for the value in the help; absent: a switch without value. */
  readonly value?: string;
  /** May be given several times. */
  readonly many?: boolean;
  readonly required?: boolean;
  readonly choices?: readonly string[];
  readonly help: string;
}

export interface Positional {
  readonly name: string;
  /** `?`: may be absent; `+`: one or more. */
  readonly count?: "?" | "+";
  readonly choices?: readonly string[];
  readonly help: string;
}

export interface CommandSpec<F extends Readonly<Record<string, Flag>>, P extends readonly Positional[]> {
  readonly name: string;
  readonly summary: string;
  readonly flags: F;
  readonly positionals?: P;
  /** Groups of flags of which only one may be given. */
  readonly exclusive?: readonly (readonly string[])[];
}

type FlagValue<S extends Flag> = S extends { value: string } ? (S extends { many: true } ? string[] : string | undefined) : boolean;
export type ParsedCommand<F extends Readonly<Record<string, Flag>>> = { [K in keyof F]: FlagValue<F[K]> } & {
  positionals: string[];
  given: ReadonlySet<string>;
};

/** A command line that the command does not understand: the message is for the user, who also gets the usage. */
export class UsageError extends Error {}

/** The help was asked for. */
export class HelpRequested extends Error {}

/** @throws UsageError, HelpRequested */
export function parseCommandLine<const F extends Readonly<Record<string, Flag>>, const P extends readonly Positional[]>(
  spec: CommandSpec<F, P>,
  argv: readonly string[],
): ParsedCommand<F> {
  const state: State = { values: new Map(), positionals: [] };
  const queue = [...argv];
  while (queue.length > 0) {
    const argument = queue.shift()!;
    if (argument === "--") state.positionals.push(...queue.splice(0));
    else if (argument.startsWith("--")) takeLong(spec, argument, queue, state);
    else if (/^-[^0-9]/.test(argument)) takeShort(spec, argument, queue, state);
    else state.positionals.push(argument);
  }
  check(spec, state);
  const result: Record<string, unknown> = { positionals: state.positionals, given: new Set(state.values.keys()) };
  for (const [key, flag] of Object.entries(spec.flags)) {
    const values = state.values.get(key) ?? [];
    result[key] = flag.value === undefined ? values.length > 0 : flag.many ? values : values.at(-1);
  }
  return result as ParsedCommand<F>;
}

/** The text that `--help` prints. */
export function helpText(spec: CommandSpec<Readonly<Record<string, Flag>>, readonly Positional[]>): string {
  const flags = Object.values(spec.flags);
  const positionals = spec.positionals ?? [];
  const usage = [
    ...(flags.length > 0 ? ["[options]"] : []),
    ...positionals.map((p) => (p.count === "?" ? `[${p.name}]` : p.count === "+" ? `${p.name} ...` : p.name)),
  ];
  const rows = [
    ...positionals.map((p) => [p.name, p.help + (p.choices ? ` (${p.choices.join(", ")})` : "")]),
    ...flags.map((flag) => [
      flag.names.map((name) => (flag.value === undefined ? name : `${name} ${flag.value}`)).join(", "),
      flag.help + (flag.choices ? ` (${flag.choices.join(", ")})` : ""),
    ]),
    ["-h, --help", "Show this text."],
  ] as [string, string][];
  return `Usage: ${spec.name} ${usage.join(" ")}\n\n${spec.summary}\n\n${rows.map(([left, right]) => `  ${left.padEnd(34)} ${right}`).join("\n")}\n`;
}

interface State {
  readonly values: Map<string, string[]>;
  readonly positionals: string[];
}
type AnySpec = CommandSpec<Readonly<Record<string, Flag>>, readonly Positional[]>;

function takeLong(spec: AnySpec, argument: string, queue: string[], state: State): void {
  const [name, inline] = splitOnce(argument, "=");
  const all = Object.entries(spec.flags).flatMap(([key, flag]) => flag.names.map((spelling) => [spelling, key] as const));
  const matches = all.some(([spelling]) => spelling === name)
    ? all.filter(([spelling]) => spelling === name)
    : all.filter(([spelling]) => spelling.startsWith(name));
  const keys = new Set(matches.map(([, key]) => key));
  if ("--help".startsWith(name) && name.length > 2 && keys.size === 0) throw new HelpRequested();
  if (keys.size === 0) throw new UsageError(`unknown option ${name}`);
  if (keys.size > 1) throw new UsageError(`${name} could be ${matches.map(([spelling]) => spelling).join(" or ")}`);
  const key = [...keys][0]!;
  if (spec.flags[key]!.value === undefined) {
    if (inline !== undefined) throw new UsageError(`${name} takes no value`);
    store(state, key, "");
  } else store(state, key, inline ?? nextValue(queue, name));
}

function takeShort(spec: AnySpec, argument: string, queue: string[], state: State): void {
  for (let rest = argument.slice(1); rest !== "";) {
    const name = `-${rest[0]}`;
    rest = rest.slice(1);
    const entry = Object.entries(spec.flags).find(([, flag]) => flag.names.includes(name));
    if (entry === undefined) {
      if (name === "-h") throw new HelpRequested();
      throw new UsageError(`unknown option ${name}`);
    }
    const [key, flag] = entry;
    if (flag.value === undefined) store(state, key, "");
    else {
      store(state, key, rest === "" ? nextValue(queue, name) : rest.replace(/^=/, ""));
      rest = "";
    }
  }
}

function nextValue(queue: string[], name: string): string {
  const value = queue[0];
  if (value === undefined || (/^-[^0-9]/.test(value) && value !== "-")) throw new UsageError(`${name} needs a value`);
  return queue.shift()!;
}

function store(state: State, key: string, value: string): void {
  state.values.set(key, [...(state.values.get(key) ?? []), value]);
}

function check(spec: AnySpec, state: State): void {
  for (const [key, flag] of Object.entries(spec.flags)) {
    const values = state.values.get(key) ?? [];
    if (flag.required && values.length === 0) throw new UsageError(`${flag.names.at(-1)} is required`);
    const wrong = values.find((value) => flag.choices !== undefined && !flag.choices.includes(value));
    if (wrong !== undefined) throw new UsageError(`${flag.names.at(-1)}: found ${wrong}, wanted one of ${flag.choices!.join(", ")}`);
  }
  for (const group of spec.exclusive ?? []) {
    const given = group.filter((key) => state.values.has(key));
    if (given.length > 1) throw new UsageError(`${given.map((key) => spec.flags[key]!.names.at(-1)).join(" and ")} cannot be given together`);
  }
  const positionals = spec.positionals ?? [];
  const least = positionals.filter((positional) => positional.count !== "?").length;
  const isOpen = positionals.some((positional) => positional.count === "+");
  if (state.positionals.length < least) throw new UsageError(`${positionals[state.positionals.length]!.name} is missing`);
  if (!isOpen && state.positionals.length > positionals.length) throw new UsageError(`unexpected argument ${state.positionals[positionals.length]}`);
  positionals.forEach((positional, index) => {
    const value = state.positionals[index];
    if (value !== undefined && positional.choices !== undefined && !positional.choices.includes(value)) {
      throw new UsageError(`${positional.name}: found ${value}, wanted one of ${positional.choices.join(", ")}`);
    }
  });
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const index = text.indexOf(separator);
  return index === -1 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}
