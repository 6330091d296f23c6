/**
 * The nodes of a graph so that each comes after all that it points to, and otherwise the smallest by `compare` first: Kahn's
 * algorithm with a heap. Edges to nodes that are not keys of the graph are not followed. Nodes on a cycle are left out.
 */
export function reverseTopologicalSort<T>(graph: ReadonlyMap<T, readonly T[]>, compare: (a: T, b: T) => number): T[] {
  const outgoing = new Map<T, number>();
  const incoming = new Map<T, T[]>();
  for (const [node, edges] of graph) {
    const targets = new Set(edges);
    let count = 0;
    for (const target of targets) {
      if (!graph.has(target)) continue;
      count++;
      const sources = incoming.get(target);
      if (sources === undefined) incoming.set(target, [node]);
      else sources.push(node);
    }
    outgoing.set(node, count);
  }
  const ready = new Heap(compare);
  for (const [node, count] of outgoing) if (count === 0) ready.push(node);
  const sorted: T[] = [];
  for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
    sorted.push(node);
    for (const source of incoming.get(node) ?? []) {
      const left = outgoing.get(source)! - 1;
      outgoing.set(source, left);
      if (left === 0) ready.push(source);
    }
  }
  return sorted;
}

/** A binary heap, smallest first. */
class Heap<T> {
  private readonly items: T[] = [];

  constructor(private readonly compare: (a: T, b: T) => number) {}

  push(item: T): void {
    const { items } = this;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.compare(items[parent]!, item) <= 0) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const { items } = this;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && this.compare(items[child + 1]!, items[child]!) < 0) child++;
      if (this.compare(last, items[child]!) <= 0) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
