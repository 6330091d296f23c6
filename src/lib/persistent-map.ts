/**
 * An immutable map with string keys that shares structure with the map it was made from: `with` copies a path of a few small nodes,
 * whatever the size. (A compressed hash-array mapped trie, 32-way, as in "Optimizing Hash-Array Mapped Tries for Fast and Lean
 * Immutable JVM Collections", Steindorfer and Vinju 2015.) It is a `ReadonlyMap`, so readers need not know.
 *
 * Order of iteration is that of the hashes: stable for a given content, otherwise meaningless.
 */
export class PersistentMap<K extends string, V> implements ReadonlyMap<K, V> {
  private constructor(
    private readonly root: Node<V>,
    readonly size: number,
  ) {}

  static empty<K extends string, V>(): PersistentMap<K, V> {
    return EMPTY as PersistentMap<K, V>;
  }

  static from<K extends string, V>(entries: Iterable<readonly [K, V]>): PersistentMap<K, V> {
    return entries instanceof PersistentMap ? (entries as PersistentMap<K, V>) : PersistentMap.empty<K, V>().with(entries);
  }

  get(key: K): V | undefined {
    return lookup(this.root, key, hashOf(key));
  }

  has(key: K): boolean {
    return lookup(this.root, key, hashOf(key)) !== undefined;
  }

  /** The map with these entries added or replaced; itself when nothing changes. Values are never undefined. */
  with(entries: Iterable<readonly [K, V]>): PersistentMap<K, V> {
    const edit = {};
    let root = this.root;
    const change = { size: 0 };
    for (const [key, value] of entries) root = insert(root, key, value, hashOf(key), 0, edit, change);
    return root === this.root ? this : new PersistentMap<K, V>(root, this.size + change.size);
  }

  set(key: K, value: V): PersistentMap<K, V> {
    return this.with([[key, value]]);
  }

  /** The map without these keys; itself when it has none of them. */
  without(keys: Iterable<K>): PersistentMap<K, V> {
    let root = this.root;
    let size = this.size;
    for (const key of keys) {
      const next = remove(root, key, hashOf(key), 0);
      if (next !== root) size--;
      root = next;
    }
    return root === this.root ? this : new PersistentMap<K, V>(root, size);
  }

  /** Keys whose values differ (by ===) between the two maps. Costs what differs, where the maps share structure. */
  changedKeys(other: PersistentMap<K, V>): K[] {
    const keys: K[] = [];
    this.compareWith(other, (key) => keys.push(key));
    return keys;
  }

  /** Calls `differs` for each of the `changedKeys`, with this map's value and the other's. */
  compareWith(other: PersistentMap<K, V>, differs: (key: K, own: V | undefined, others: V | undefined) => void): void {
    compare(this.root, other.root, differs as Differs<V>);
  }

  *entries(): Generator<[K, V], undefined> {
    const stack: Node<V>[] = [this.root];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      for (let i = 0; i < node.data.length; i += 2) yield [node.data[i] as K, node.data[i + 1] as V];
      stack.push(...node.children);
    }
    return undefined;
  }

  *keys(): Generator<K, undefined> {
    for (const [key] of this.entries()) yield key;
    return undefined;
  }

  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value;
    return undefined;
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }

  forEach(fn: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) fn(value, key, this);
  }
}

/** Below the seventh level all bits of the hash are used: such a node is a plain list of entries with equal hashes. */
const DEEPEST = 30;

interface Node<V> {
  /** Who may still change this node in place: the bulk update that made it. */
  readonly edit: object | undefined;
  /** Which of the 32 places hold an entry, which a child. Both 0 in a list of colliding entries. */
  entryBits: number;
  childBits: number;
  /** key, value, key, value, ... in the order of the places. */
  data: (string | V)[];
  children: Node<V>[];
}

const ROOT: Node<never> = { edit: undefined, entryBits: 0, childBits: 0, data: [], children: [] };
const EMPTY: unknown = Object.assign(Object.create(PersistentMap.prototype) as object, { root: ROOT, size: 0 });

/** 32-bit FNV-1a over UTF-16 code units, with a final mix because the trie reads the low bits first. */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  hash = Math.imul(hash, 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}

function popCount(bits: number): number {
  bits -= (bits >>> 1) & 0x55555555;
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

function lookup<V>(root: Node<V>, key: string, hash: number): V | undefined {
  let node = root;
  for (let shift = 0; shift <= DEEPEST; shift += 5) {
    const bit = 1 << ((hash >>> shift) & 31);
    if ((node.entryBits & bit) !== 0) {
      const at = 2 * popCount(node.entryBits & (bit - 1));
      return node.data[at] === key ? (node.data[at + 1] as V) : undefined;
    }
    if ((node.childBits & bit) === 0) return undefined;
    node = node.children[popCount(node.childBits & (bit - 1))]!;
  }
  for (let i = 0; i < node.data.length; i += 2) if (node.data[i] === key) return node.data[i + 1] as V;
  return undefined;
}

function editable<V>(node: Node<V>, edit: object | undefined): Node<V> {
  if (edit !== undefined && node.edit === edit) return node;
  return { edit, entryBits: node.entryBits, childBits: node.childBits, data: node.data.slice(), children: node.children.slice() };
}

function insert<V>(node: Node<V>, key: string, value: V, hash: number, shift: number, edit: object | undefined, change: { size: number }): Node<V> {
  if (shift > DEEPEST) {
    for (let i = 0; i < node.data.length; i += 2) {
      if (node.data[i] !== key) continue;
      if (node.data[i + 1] === value) return node;
      const copy = editable(node, edit);
      copy.data[i + 1] = value;
      return copy;
    }
    const copy = editable(node, edit);
    copy.data.push(key, value);
    change.size++;
    return copy;
  }
  const bit = 1 << ((hash >>> shift) & 31);
  if ((node.childBits & bit) !== 0) {
    const at = popCount(node.childBits & (bit - 1));
    const child = insert(node.children[at]!, key, value, hash, shift + 5, edit, change);
    if (child === node.children[at]) return node;
    const copy = editable(node, edit);
    copy.children[at] = child;
    return copy;
  }
  const at = 2 * popCount(node.entryBits & (bit - 1));
  if ((node.entryBits & bit) === 0) {
    const copy = editable(node, edit);
    copy.data.splice(at, 0, key, value);
    copy.entryBits |= bit;
    change.size++;
    return copy;
  }
  const oldKey = node.data[at] as string;
  const oldValue = node.data[at + 1] as V;
  if (oldKey === key) {
    if (oldValue === value) return node;
    const copy = editable(node, edit);
    copy.data[at + 1] = value;
    return copy;
  }
  // Two keys in one place: both move a level down.
  let child: Node<V> = { edit, entryBits: 0, childBits: 0, data: [], children: [] };
  const moved = { size: 0 };
  child = insert(child, oldKey, oldValue, hashOf(oldKey), shift + 5, edit, moved);
  child = insert(child, key, value, hash, shift + 5, edit, moved);
  change.size++;
  const copy = editable(node, edit);
  copy.data.splice(at, 2);
  copy.entryBits &= ~bit;
  copy.children.splice(popCount(copy.childBits & (bit - 1)), 0, child);
  copy.childBits |= bit;
  return copy;
}

function remove<V>(node: Node<V>, key: string, hash: number, shift: number): Node<V> {
  if (shift > DEEPEST) {
    for (let i = 0; i < node.data.length; i += 2) {
      if (node.data[i] !== key) continue;
      const copy = editable(node, undefined);
      copy.data.splice(i, 2);
      return copy;
    }
    return node;
  }
  const bit = 1 << ((hash >>> shift) & 31);
  if ((node.entryBits & bit) !== 0) {
    const at = 2 * popCount(node.entryBits & (bit - 1));
    if (node.data[at] !== key) return node;
    const copy = editable(node, undefined);
    copy.data.splice(at, 2);
    copy.entryBits &= ~bit;
    return copy;
  }
  if ((node.childBits & bit) === 0) return node;
  const at = popCount(node.childBits & (bit - 1));
  const child = remove(node.children[at]!, key, hash, shift + 5);
  if (child === node.children[at]) return node;
  const copy = editable(node, undefined);
  if (child.children.length === 0 && child.data.length <= 2) {
    copy.children.splice(at, 1);
    copy.childBits &= ~bit;
    if (child.data.length === 2) {
      copy.data.splice(2 * popCount(copy.entryBits & (bit - 1)), 0, child.data[0]!, child.data[1]!);
      copy.entryBits |= bit;
    }
  } else {
    copy.children[at] = child;
  }
  return copy;
}

function collect<V>(node: Node<V>, into: Map<string, V>): Map<string, V> {
  for (let i = 0; i < node.data.length; i += 2) into.set(node.data[i] as string, node.data[i + 1] as V);
  for (const child of node.children) collect(child, into);
  return into;
}

type Differs<V> = (key: string, inA: V | undefined, inB: V | undefined) => void;

function compareMaps<V>(a: Map<string, V>, b: Map<string, V>, differs: Differs<V>): void {
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other !== value) differs(key, value, other);
  }
  for (const [key, value] of b) if (!a.has(key)) differs(key, undefined, value);
}

function compare<V>(a: Node<V>, b: Node<V>, differs: Differs<V>): void {
  if (a === b) return;
  if (a.entryBits === 0 && a.childBits === 0 && b.entryBits === 0 && b.childBits === 0) {
    compareMaps(collect(a, new Map()), collect(b, new Map()), differs);
    return;
  }
  for (let used = a.entryBits | a.childBits | b.entryBits | b.childBits; used !== 0; used &= used - 1) {
    const bit = used & -used;
    const inA = a.childBits & bit ? a.children[popCount(a.childBits & (bit - 1))] : undefined;
    const inB = b.childBits & bit ? b.children[popCount(b.childBits & (bit - 1))] : undefined;
    if (inA !== undefined && inB !== undefined) compare(inA, inB, differs);
    else if (inA === undefined && inB === undefined) compareEntries(a, b, bit, differs);
    else compareMaps(below(a, bit, inA), below(b, bit, inB), differs);
  }
}

/** What two nodes hold at one place, where neither has a child. */
function compareEntries<V>(a: Node<V>, b: Node<V>, bit: number, differs: Differs<V>): void {
  const atA = (a.entryBits & bit) === 0 ? -1 : 2 * popCount(a.entryBits & (bit - 1));
  const atB = (b.entryBits & bit) === 0 ? -1 : 2 * popCount(b.entryBits & (bit - 1));
  const keyA = atA < 0 ? undefined : (a.data[atA] as string);
  const keyB = atB < 0 ? undefined : (b.data[atB] as string);
  const [valueA, valueB] = [a.data[atA + 1] as V, b.data[atB + 1] as V];
  if (keyA === keyB) {
    if (keyA !== undefined && valueA !== valueB) differs(keyA, valueA, valueB);
    return;
  }
  if (keyA !== undefined) differs(keyA, valueA, undefined);
  if (keyB !== undefined) differs(keyB, undefined, valueB);
}

/** Everything below one place of a node. */
function below<V>(node: Node<V>, bit: number, child: Node<V> | undefined): Map<string, V> {
  if (child !== undefined) return collect(child, new Map());
  if ((node.entryBits & bit) === 0) return new Map();
  const at = 2 * popCount(node.entryBits & (bit - 1));
  return new Map([[node.data[at] as string, node.data[at + 1] as V]]);
}
