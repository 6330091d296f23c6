import type { Report } from "./check.ts";
import { bytes, count, type Finding, type Level, LEVELS, thousands } from "./finding.ts";

export interface Look {
  /** Columns; at least 60 are used. */
  readonly width: number;
  readonly colours: boolean;
  /** Lists what is well, too. */
  readonly verbose: boolean;
}

const COLOURS: Readonly<Record<Level | "dim" | "bold", string>> = { blocker: "31", warning: "33", note: "36", ok: "32", dim: "2", bold: "1" };
const MARKS: Readonly<Record<Level, string>> = { blocker: "x", warning: "!", note: "-", ok: "+" };
const HEADINGS: Readonly<Record<Level, string>> = { blocker: "Blockers", warning: "Warnings", note: "Notes", ok: "In order" };

/** The report for people: each finding with its reason and what to do, the worst first, the verdict at the end. */
export function renderText(report: Report, look: Look): string {
  const width = Math.max(60, Math.min(look.width, 120));
  const paint = (style: keyof typeof COLOURS, text: string): string => (look.colours ? `\u001b[${COLOURS[style]}m${text}\u001b[0m` : text);
  const lines: string[] = [];
  const say = (text: string, first = "", rest = first): void => void lines.push(...wrap(text, width, first, rest));
  const heading = (text: string): void => void lines.push("", paint("bold", text));

  lines.push(paint("bold", title(report)));
  for (const line of facts(report)) say(line, "  ", "    ");
  for (const level of LEVELS) {
    const found = report.findings.filter((each) => each.level === level);
    if (found.length === 0) continue;
    if (level === "ok" && !look.verbose) {
      heading(HEADINGS.ok);
      const checks = new Set(found.map(({ check }) => check)).size;
      say(`${count(checks, "check")} found nothing to say (--verbose lists them).`, `${paint("ok", MARKS.ok)} `, "  ");
      continue;
    }
    heading(HEADINGS[level]);
    for (const each of found) lines.push(...renderFinding(each, width, paint));
  }
  if (report.processes.length > 0 && report.verdict !== "blocked") {
    heading("What Myelin runs instead");
    for (const { name, command, listeners, relay } of report.processes) {
      say(`${name}: ${command}${relay ? " (passes requests on to main; not needed where the reverse proxy asks main itself)" : ""}`, "  ", "    ");
      for (const listener of listeners) say(listener, "    ", "      ");
    }
  }
  lines.push("", ...verdict(report, width, paint));
  return `${lines.join("\n")}\n`;
}

type Paint = (style: keyof typeof COLOURS, text: string) => string;

function renderFinding(each: Finding, width: number, paint: Paint): string[] {
  const mark = `${paint(each.level, MARKS[each.level])} `;
  const lines = wrap(`${each.what} [${each.id}]`, width, "  ", "  ");
  lines[0] = mark + lines[0]!.slice(2);
  if (each.why !== undefined) lines.push(...wrap(each.why, width, "    Why: ", "         "));
  if (each.todo !== undefined) lines.push(...wrap(each.todo, width, "    Do:  ", "         "));
  for (const example of each.examples ?? []) lines.push(...wrap(example, width, "      ", "        ").map((line) => paint("dim", line)));
  return lines;
}

function title({ target, serverName, deep }: Report): string {
  const what = target === "myelin" ? "From Synapse to Myelin" : "Back from Myelin to Synapse";
  return `${what}${serverName === undefined ? "" : `: ${serverName}`}${deep ? ", samples verified" : ""}`;
}

function facts({ configFiles, database }: Report): string[] {
  const lines = configFiles.length > 0 ? [`Configuration: ${configFiles.join(", ")}`] : [];
  if (database === undefined) return lines;
  const { name, postgres, schemaVersion, events, rooms, users } = database;
  lines.push(`Database: ${name}, ${bytes(database.bytes)}, Postgres ${postgres}${schemaVersion === undefined ? "" : `, schema ${schemaVersion}`}`);
  if (events > 0) lines.push(`About ${thousands(events)} events, ${thousands(rooms)} rooms, ${thousands(users)} accounts`);
  return lines;
}

function verdict(report: Report, width: number, paint: Paint): string[] {
  const number = (level: Level): number => report.findings.filter((each) => each.level === level).length;
  const numbers = `${count(number("blocker"), "blocker")}, ${count(number("warning"), "warning")}, ${count(number("note"), "note")}`;
  const next =
    report.target === "myelin" ? "Stop Synapse and all its workers, back up the database, start Myelin." : "Stop Myelin, check once more, start Synapse 1.160.";
  const words = {
    ready: ["ok", `READY: ${numbers}. ${next}`],
    warnings: ["warning", `READY WITH WARNINGS: ${numbers}. Read the warnings; what they speak of will be so after the swap. ${next}`],
    blocked: ["blocker", `NOT READY: ${numbers}. See to the blockers first, then check again.`],
  } as const;
  const [style, text] = words[report.verdict];
  const seconds = (report.elapsedMs / 1000).toFixed(1);
  return [...wrap(text, width, "", "").map((line) => paint(style, line)), paint("dim", `Nothing was changed. ${seconds} s, exit status ${report.exitStatus}.`)];
}

/** Lines of at most `width` columns, broken at spaces; a word that is longer stands alone. */
export function wrap(text: string, width: number, first: string, rest: string): string[] {
  const lines: string[] = [];
  let line = first;
  let empty = true;
  for (const word of text.replace(/\s+/g, " ").trim().split(" ")) {
    if (!empty && visible(line) + 1 + word.length > width) {
      lines.push(line);
      line = rest;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  lines.push(line);
  return lines;
}

/** Colours take no columns. */
const visible = (text: string): number => text.replace(/\u001b\[\d+m/g, "").length;

/** The report for programs: the same, as one JSON object. */
export function renderJson(report: Report): string {
  const counts = Object.fromEntries(LEVELS.map((level) => [level, report.findings.filter((each) => each.level === level).length]));
  return `${JSON.stringify({ ...report, counts }, null, 2)}\n`;
}
