import type { Round } from "./targets.ts";

export interface Result {
  scenario: string;
  what: string;
  target: string;
  rounds: Round[];
}

/** The figures of one scenario on one target. CPU in milliseconds an operation; undefined where it cannot be seen. */
export interface Figures {
  scenario: string;
  target: string;
  operations: number;
  perSecond: number;
  p50: number;
  p95: number;
  serverCpu: number | undefined;
  postgresCpu: number | undefined;
  /** To the first target: how many times faster, and what part of its CPU. */
  ratio: { perSecond: number; p50: number; p95: number; cpu: number | undefined } | undefined;
}

export function figures(results: readonly Result[]): Figures[] {
  const all: Figures[] = [];
  for (const { scenario, target, rounds } of results) {
    const latencies = rounds.flatMap((round) => round.latencies).sort((a, b) => a - b);
    const operations = latencies.length;
    const sum = (pick: (round: Round) => number | undefined): number => rounds.reduce((total, round) => total + (pick(round) ?? 0), 0);
    const seen = rounds.every((round) => round.cpu !== undefined) && operations > 0;
    const figure: Figures = {
      scenario,
      target,
      operations,
      perSecond: operations / sum((round) => round.seconds),
      p50: quantile(latencies, 0.5),
      p95: quantile(latencies, 0.95),
      serverCpu: seen ? (1000 * sum((round) => round.cpu!.server)) / operations : undefined,
      postgresCpu: seen ? (1000 * sum((round) => round.cpu!.postgres + round.cpu!.shared)) / operations : undefined,
      ratio: undefined,
    };
    const first = all.find((each) => each.scenario === scenario);
    if (first !== undefined) {
      const cpu = (each: Figures): number | undefined => (each.serverCpu === undefined ? undefined : each.serverCpu + (each.postgresCpu ?? 0));
      const [own, other] = [cpu(figure), cpu(first)];
      figure.ratio = {
        perSecond: figure.perSecond / first.perSecond,
        p50: first.p50 / figure.p50,
        p95: first.p95 / figure.p95,
        cpu: own === undefined || other === undefined ? undefined : other / own,
      };
    }
    all.push(figure);
  }
  return all;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
}

export interface Memory {
  target: string;
  idle: number | undefined;
  after: number | undefined;
  startupMs: number | undefined;
}

/** A markdown table of the figures, one row a scenario and target, with ratios to the first target (more is better). */
export function markdown(all: readonly Figures[], memory: readonly Memory[]): string {
  const n = (value: number | undefined, digits = 1): string => (value === undefined || Number.isNaN(value) ? "" : value.toFixed(digits));
  const times = (value: number | undefined): string => (value === undefined || Number.isNaN(value) ? "" : `${value.toFixed(1)}×`);
  const lines = [
    "| what | server | ops | ops/s | p50 ms | p95 ms | server CPU ms/op | Postgres CPU ms/op | ops/s | p50 | p95 | CPU |",
    "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ...all.map(
      (each) =>
        `| ${each.scenario} | ${each.target} | ${each.operations} | ${n(each.perSecond)} | ${n(each.p50)} | ${n(each.p95)} | ${n(each.serverCpu, 2)} | ${n(each.postgresCpu, 2)} | ${times(each.ratio?.perSecond)} | ${times(each.ratio?.p50)} | ${times(each.ratio?.p95)} | ${times(each.ratio?.cpu)} |`,
    ),
    "",
    "| server | start s | memory idle MB | memory after MB |",
    "|---|--:|--:|--:|",
    ...memory.map(
      (each) =>
        `| ${each.target} | ${n(each.startupMs === undefined ? undefined : each.startupMs / 1000)} | ${n(each.idle === undefined ? undefined : each.idle / 1e6, 0)} | ${n(each.after === undefined ? undefined : each.after / 1e6, 0)} |`,
    ),
  ];
  return `${lines.join("\n")}\n`;
}
