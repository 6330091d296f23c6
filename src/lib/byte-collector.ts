/** Pieces of at least this many bytes are kept as they come. */
const LARGE = 16 * 1024;
const SLAB = 64 * 1024;
const NOTHING = Buffer.alloc(0);

/**
 * Bytes that come in pieces of any size, held in little more memory than they take: a million pieces of one byte each are not a million
 * buffers.
 */
export class ByteCollector {
  /** Bytes so far. */
  size = 0;
  private readonly kept: Buffer[] = [];
  private slab: Buffer = NOTHING;
  /** Of the slab: what is in `kept` already, and what was written. */
  private from = 0;
  private to = 0;

  add(piece: Buffer): void {
    const isFirst = this.size === 0; // often the only one
    this.size += piece.length;
    if (isFirst || piece.length >= LARGE) {
      this.flush();
      this.kept.push(piece);
      return;
    }
    if (this.to + piece.length > this.slab.length) {
      this.flush();
      this.slab = Buffer.allocUnsafeSlow(SLAB);
      this.from = this.to = 0;
    }
    piece.copy(this.slab, this.to);
    this.to += piece.length;
  }

  /** All that came, in order. */
  bytes(): Buffer {
    this.flush();
    return this.kept.length === 1 ? this.kept[0]! : Buffer.concat(this.kept, this.size);
  }

  /** How many buffers are held. */
  get buffers(): number {
    return this.kept.length;
  }

  private flush(): void {
    if (this.to > this.from) this.kept.push(this.slab.subarray(this.from, this.to));
    this.from = this.to;
  }
}
