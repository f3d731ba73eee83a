/**
 * @module What a step touches, and so which steps depend on each other.
 *
 * A footprint is a list of (place, access mode). A place is a word that some operation named;
 * places are numbered from 1 in the order in which they are first named. Place 0 stands for all
 * data words together; only conditions that do not declare what they read touch it. Two steps are
 * independent if their modes commute at every common place. Footprints are interned: equal ones
 * have one number, and whether two of them conflict is computed once.
 *
 * An operation of a primitive touches its first word, which stands for the whole primitive. An
 * operation of `access()` and a shootdown's bump touch every word that they name. So freeing an
 * object conflicts with each use of any part of it.
 */

import { CONTROL_WORDS } from "../../sync/control-block.ts";
import type { Wait, WordRange } from "../../sync/tasks/task.ts";
import { ALL } from "./dependence.ts";
import type { Dependence } from "./dependence.ts";
import { CHANGES_DATA, KINDS, PARK, TEST_CONDITION, TOUCHES_ALL } from "./kinds.ts";
import {
  PUT,
  QUEUE,
  READ,
  SCAN,
  TEST,
  WRITE,
  accessModeOf,
  modesConflict,
} from "./access-modes.ts";
import type { AccessMode } from "./access-modes.ts";

const CODES = 64;
const MATRIX = 512;
const READ_ONLY = 0;
const SUCCESS = 1;
/** The variant of a wait that ends by its timeout or by a spurious wake. */
const LEAVES = 2;
const VARIANTS = 3;

export interface FootprintOptions {
  readonly dependence: Dependence;
  /** Broken on purpose by the tests of the checker. */
  readonly freeCommutes: boolean;
  /** Timeouts have a finite budget. */
  readonly timeoutsAreScarce: boolean;
  /** Spurious wakes have one. */
  readonly spuriousWakesAreScarce: boolean;
  /** Of an object, only its first words: see sampler.ts. Default: all. */
  readonly wordsOfObject?: number;
  /** The words that each invariant reads. */
  readonly watched: readonly (readonly WordRange[])[];
}

/** In descriptions: numbers from here on are places that stand for no word. */
const NO_WORD = 2 ** 40;

export class Footprints {
  /** Place of each word index, 0 for none yet. */
  #placeOf: Int32Array;
  /**
   * The same for words outside the heap. They have negative numbers (frame tables: memory/frames/).
   */
  readonly #placeOutside = new Map<number, number>();
  /** The word of each place; undefined for a place that stands for no word. */
  readonly #wordOf: (number | undefined)[] = [];
  #places = 1;
  /** Footprint number + 1 by (place of the first word, code, variant), for the usual length. */
  #known: Int32Array = new Int32Array(1 << 12);
  readonly #knownLengths: number[] = [];
  readonly #tests = new Map<string, number>();
  readonly #byContent = new Map<string, number>();
  /** Where the pairs of each footprint begin in {@link places}; one more entry than footprints. */
  starts: Int32Array = new Int32Array(64);
  places: Int32Array = new Int32Array(256);
  pairModes: Uint8Array = new Uint8Array(256);
  #count = 0;
  /** 0 unknown, 1 independent, 2 conflict. */
  readonly #matrix = new Uint8Array(MATRIX * MATRIX);
  #scans: boolean;
  readonly #ordering: Set<number>;
  readonly #allOrdering: boolean;
  readonly #wordsOfObject: number;
  /** Broken on purpose by the tests of the checker. */
  readonly #freeCommutes: boolean;
  /** Invariants: what they read, and the place that stands for all of it. */
  readonly #watched: { readonly place: number; readonly ranges: readonly WordRange[] }[] = [];
  /** The budget of spurious wakes, as a place of its own. */
  readonly #spuriousPlace: number;

  /** The budget of timeouts; 0 if it is infinite. */
  readonly #timeoutPlace: number;

  /** Which threads have died: written by deaths alone (E6 of deaths.ts). */
  readonly #deathPlace: number;

  constructor(words: number, options: FootprintOptions) {
    this.#placeOf = new Int32Array(words);
    const { ordering, scans } = options.dependence;
    this.#scans = scans;
    this.#allOrdering = ordering === ALL;
    this.#ordering = new Set(ordering === ALL ? [] : ordering);
    this.#freeCommutes = options.freeCommutes;
    this.#wordsOfObject = options.wordsOfObject ?? Infinity;
    this.#spuriousPlace = options.spuriousWakesAreScarce ? this.#places++ : 0;
    for (const ranges of options.watched) this.#watched.push({ place: this.#places++, ranges });
    this.#timeoutPlace = options.timeoutsAreScarce ? this.#places++ : 0;
    this.#deathPlace = this.#places++;
  }

  /** Whether place 0 is in use: some task tests conditions. */
  get scans(): boolean {
    return this.#scans;
  }

  /** Between two executions: from now on more steps depend on each other. */
  learn({ scans, ordering }: Dependence): void {
    this.#scans ||= scans;
    for (const word of ordering === ALL ? [] : ordering) this.#ordering.add(word);
    // What a step of such a word touches is another footprint now.
    this.#known.fill(0);
  }

  /** Whether a word is an ordering one (D1 of dependence.ts). */
  isOrdering(word: number): boolean {
    return this.#allOrdering || this.#ordering.has(word);
  }

  placeOf(word: number): number {
    if (word < 0) return this.#placeOfOutside(word);
    if (word >= this.#placeOf.length) {
      const wider = new Int32Array(Math.max(word + 1, this.#placeOf.length * 2));
      wider.set(this.#placeOf);
      this.#placeOf = wider;
    }
    const known = this.#placeOf[word]!;
    if (known !== 0) return known;
    this.#placeOf[word] = this.#places;
    this.#wordOf[this.#places] = word;
    return this.#places++;
  }

  #placeOfOutside(word: number): number {
    const known = this.#placeOutside.get(word);
    if (known !== undefined) return known;
    this.#placeOutside.set(word, this.#places);
    this.#wordOf[this.#places] = word;
    return this.#places++;
  }

  /**
   * What a footprint touches, as (word, mode) pairs that mean the same in every exploration of the
   * scenario.
   */
  describe(footprint: number): number[] {
    const described: number[] = [];
    for (let pair = this.starts[footprint]!; pair < this.starts[footprint + 1]!; pair++) {
      const place = this.places[pair]!;
      described.push(this.#wordOf[place] ?? NO_WORD + place, this.pairModes[pair]!);
    }
    return described;
  }

  /** The number in this exploration of a footprint that {@link describe} wrote in another one. */
  adopt(described: readonly number[]): number {
    const pairs: [number, AccessMode][] = [];
    for (let i = 0; i < described.length; i += 2) {
      const word = described[i]!;
      pairs.push([word < NO_WORD ? this.placeOf(word) : word - NO_WORD, described[i + 1]!]);
    }
    return this.#intern(pairs);
  }

  /** The footprint of performing `wait`. Only for conditional kinds does `success` matter. */
  of(code: number, wait: Wait, success: boolean): number {
    if (code === TEST_CONDITION && wait.reads !== undefined) return this.#ofTest(wait, wait.reads);
    const variant = success ? SUCCESS : READ_ONLY;
    const slot = (this.placeOf(wait.index) * CODES + code) * VARIANTS + variant;
    const known = slot < this.#known.length ? this.#known[slot]! : 0;
    if (known !== 0 && this.#knownLengths[known] === wait.words) return known - 1;
    return this.#remember(slot, wait.words, this.#make(code, wait, success));
  }

  /** The test of a condition that declares what it reads. */
  #ofTest(wait: Wait, { at, words }: WordRange): number {
    const key = `${wait.index} ${at} ${words}`;
    const known = this.#tests.get(key);
    if (known !== undefined) return known;
    const pairs: [number, AccessMode][] = [[this.placeOf(wait.index), TEST]];
    for (let word = at; word < at + words; word++) pairs.push([this.placeOf(word), READ]);
    const made = this.#intern(pairs);
    this.#tests.set(key, made);
    return made;
  }

  /** The footprint of a wait that ends by its timeout or by a spurious wake. */
  leaving(code: number, wait: Wait, isSpurious: boolean): number {
    const place = this.placeOf(wait.index);
    const pairs: [number, AccessMode][] = [[place, code === PARK ? QUEUE : READ]];
    const budget = isSpurious ? this.#spuriousPlace : this.#timeoutPlace;
    if (budget !== 0) return this.#intern([...pairs, [budget, WRITE]]);
    const slot = (place * CODES + code) * VARIANTS + LEAVES;
    const known = slot < this.#known.length ? this.#known[slot]! : 0;
    return known !== 0 ? known - 1 : this.#remember(slot, wait.words, this.#intern(pairs));
  }

  /** The footprint of a recheck after a death (E2 of deaths.ts). */
  rechecking(code: number, wait: Wait): number {
    const place = this.placeOf(wait.index);
    return this.#intern([
      [place, code === PARK ? QUEUE : READ],
      [this.#deathPlace, READ],
    ]);
  }

  /** The footprint of a death that touches these words. */
  dying(words: readonly (readonly [number, AccessMode])[]): number {
    const pairs = words.map(([word, mode]): [number, AccessMode] => [this.placeOf(word), mode]);
    return this.#intern([[this.#deathPlace, WRITE], ...pairs]);
  }

  conflict(a: number, b: number): boolean {
    if (a >= MATRIX || b >= MATRIX) return this.#compare(a, b);
    const known = this.#matrix[a * MATRIX + b]!;
    if (known !== 0) return known === 2;
    const found = this.#compare(a, b);
    this.#matrix[a * MATRIX + b] = found ? 2 : 1;
    this.#matrix[b * MATRIX + a] = found ? 2 : 1;
    return found;
  }

  #compare(a: number, b: number): boolean {
    for (let i = this.starts[a]!; i < this.starts[a + 1]!; i++) {
      for (let k = this.starts[b]!; k < this.starts[b + 1]!; k++) {
        if (this.places[i] !== this.places[k]) continue;
        if (modesConflict(this.pairModes[i]!, this.pairModes[k]!)) return true;
      }
    }
    return false;
  }

  #remember(slot: number, words: number, footprint: number): number {
    if (slot >= this.#known.length) {
      const wider = new Int32Array(Math.max(slot + 1, this.#known.length * 2));
      wider.set(this.#known);
      this.#known = wider;
    }
    this.#known[slot] = footprint + 1;
    this.#knownLengths[footprint + 1] = words;
    return footprint;
  }

  #make(code: number, wait: Wait, success: boolean): number {
    const pairs: [number, AccessMode][] = [];
    const mode = accessModeOf(code, success, this.isOrdering(wait.index));
    if (code === TEST_CONDITION) pairs.push([this.placeOf(wait.index), TEST], [0, SCAN]);
    else if (this.#freeCommutes && KINDS[code] === "free") return this.#intern([]);
    else {
      const words = TOUCHES_ALL[code] === 1 ? Math.min(wait.words, this.#wordsOfObject) : 1;
      for (let i = 0; i < words; i++) pairs.push([this.placeOf(wait.index + i), mode]);
      if (this.#scans && CHANGES_DATA[code] === 1 && mode !== READ && wait.index >= CONTROL_WORDS)
        pairs.push([0, PUT]);
    }
    if (mode !== READ) this.#addWatched(pairs, wait);
    return this.#intern(pairs);
  }

  #addWatched(pairs: [number, AccessMode][], { index, words }: Wait): void {
    const end = index + Math.max(words, 1);
    for (const { place, ranges } of this.#watched) {
      if (ranges.some((range) => range.at < end && index < range.at + range.words))
        pairs.push([place, WRITE]);
    }
  }

  #intern(pairs: readonly (readonly [number, AccessMode])[]): number {
    const key = pairs.join(";");
    const known = this.#byContent.get(key);
    if (known !== undefined) return known;
    const footprint = this.#count++;
    this.#byContent.set(key, footprint);
    const start = this.starts[footprint]!;
    const end = start + pairs.length;
    if (footprint + 2 > this.starts.length) this.starts = widened(this.starts);
    while (end > this.places.length) {
      this.places = widened(this.places);
      const wider = new Uint8Array(this.pairModes.length * 2);
      wider.set(this.pairModes);
      this.pairModes = wider;
    }
    for (const [i, [place, mode]] of pairs.entries()) {
      this.places[start + i] = place;
      this.pairModes[start + i] = mode;
    }
    this.starts[footprint + 1] = end;
    return footprint;
  }
}

function widened(array: Int32Array): Int32Array<ArrayBuffer> {
  const wider = new Int32Array(array.length * 2);
  wider.set(array);
  return wider;
}
