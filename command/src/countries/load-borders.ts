/**
 * @module Reads the map's file piece by piece, into the address space: places by blocks, and beside
 * them a list of the rings. Only a piece of the file and one ring are ever in memory as such.
 */

import { open } from "node:fs/promises";

import type { AddressSpace } from "../../../src/index.ts";
import { UsageError } from "../exit-status.ts";
import { quote } from "../option-values.ts";
import { BorderError, BorderReader, type BorderListener } from "./borders.ts";
import { JsonError } from "./json-events.ts";
import { PLACE_WORDS } from "./layout.ts";
import { PieceList } from "./piece-list.ts";

const FILE_PIECE_BYTES: number = 2 ** 20;
const BLOCK_PLACES: number = 2 ** 16;
export const PLACE_BYTES: number = 4 * PLACE_WORDS;
/** `[1,2]` and a comma: no place takes less of a file. */
export const PLACE_TEXT_BYTES_MIN = 6;

export interface Borders {
  readonly rings: PieceList;
  readonly names: readonly string[];
  readonly places: number;
}

/**
 * Gives `listener` the file's borders. Throws UsageError when it is no map. `onBytes` hears how far
 * it is, and is waited for.
 */
export async function readBorders(
  path: string,
  listener: BorderListener,
  onBytes: (done: number) => Promise<void> | void,
): Promise<void> {
  const reader = new BorderReader(listener);
  const piece = new Uint8Array(FILE_PIECE_BYTES);
  await using file = await openFile(path);
  try {
    let done = 0;
    for (;;) {
      const { bytesRead } = await file.handle.read(piece, 0, piece.length, null);
      if (bytesRead === 0) break;
      reader.push(piece.subarray(0, bytesRead));
      done += bytesRead;
      await onBytes(done);
    }
    reader.end();
  } catch (error) {
    if (!(error instanceof JsonError) && !(error instanceof BorderError)) throw error;
    throw new UsageError(`Cannot use the map ${quote(path)}: ${error.message}`);
  }
}

/** Reads the borders into the mapping at `address`, which has room for all places of the file. */
export async function loadBorders(
  space: AddressSpace,
  address: number,
  path: string,
  onBytes: (done: number) => void,
): Promise<Borders> {
  const store = new PlaceStore(space, address);
  await readBorders(path, store, async (done) => {
    onBytes(done);
    await store.flush(BLOCK_PLACES);
  });
  await store.flush(1);
  return { rings: store.rings, names: store.names, places: store.places };
}

class PlaceStore implements BorderListener {
  readonly rings: PieceList = new PieceList();
  readonly names: string[] = [];
  places = 0;
  readonly #space: AddressSpace;
  readonly #address: number;
  /** Places that have come and are not stored yet. */
  #waiting = new Uint32Array(PLACE_WORDS * 2 * BLOCK_PLACES);
  #stored = 0;

  constructor(space: AddressSpace, address: number) {
    this.#space = space;
    this.#address = address;
  }

  onRing(country: number, places: Uint32Array, count: number): void {
    this.rings.add(this.places, count - 1, country);
    const start = PLACE_WORDS * (this.places - this.#stored);
    const words = PLACE_WORDS * count;
    if (start + words > this.#waiting.length) {
      const larger = new Uint32Array(2 * (start + words));
      larger.set(this.#waiting.subarray(0, start));
      this.#waiting = larger;
    }
    this.#waiting.set(places.subarray(0, words), start);
    this.places += count;
  }

  onCountry(name: string): void {
    this.names.push(name);
  }

  /** Stores what waits, if it is at least so many places. */
  async flush(least: number): Promise<void> {
    const count = this.places - this.#stored;
    if (count < least) return;
    const bytes = new Uint8Array(this.#waiting.buffer, 0, count * PLACE_BYTES);
    await this.#space.write(this.#address + this.#stored * PLACE_BYTES, bytes);
    this.#stored = this.places;
  }
}

interface OpenFile extends AsyncDisposable {
  readonly handle: Awaited<ReturnType<typeof open>>;
}

/** Node 20's own handles cannot be disposed of by `using`. */
async function openFile(path: string): Promise<OpenFile> {
  const handle = await open(path);
  return { handle, [Symbol.asyncDispose]: async () => await handle.close() };
}
