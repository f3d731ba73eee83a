/** @module A growing list of pieces of borders: which places they are, and whose. */

/** Numbers of a piece: its first place, its edges, its country. */
const PIECE = 3;

export class PieceList {
  #words: Uint32Array = new Uint32Array(PIECE * 16);
  #length = 0;
  /** Of all pieces. */
  edges = 0;

  get length(): number {
    return this.#length;
  }

  clear(): void {
    this.#length = 0;
    this.edges = 0;
  }

  /** Adds a piece; one that goes on where the last one ended makes that one longer. */
  add(first: number, edges: number, country: number): void {
    this.edges += edges;
    const words = this.#words;
    const last = PIECE * (this.#length - 1);
    if (last >= 0 && words[last + 2] === country) {
      const before = words[last + 1]!; // the piece is there
      if (first - before === words[last]) {
        words[last + 1] = before + edges;
        return;
      }
    }
    const at = PIECE * this.#length++;
    if (at + PIECE > words.length) {
      this.#words = new Uint32Array(2 * words.length);
      this.#words.set(words);
    }
    this.#words[at] = first;
    this.#words[at + 1] = edges;
    this.#words[at + 2] = country;
  }

  // The caller's piece is below length.
  first(piece: number): number {
    return this.#words[PIECE * piece]!;
  }

  edgesOf(piece: number): number {
    return this.#words[PIECE * piece + 1]!;
  }

  country(piece: number): number {
    return this.#words[PIECE * piece + 2]!;
  }
}
