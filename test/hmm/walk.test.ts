/**
 * @module The decision about one page-table entry, and the reading of one leaf, compared with a
 * second, simple implementation.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  DEFAULT_ENCODING,
  type HmmEncoding,
  entryIsValid,
  entryIsWritable,
  entryPfn,
} from "../../src/hmm/entry.ts";
import {
  NEED_IMPOSSIBLE,
  NEED_NOTHING,
  NEED_READ,
  NEED_WRITE,
  NO_REQUESTS,
  entryOf,
  needOf,
  readAsked,
  readLeaf,
} from "../../src/hmm/walk/leaf.ts";
import {
  KIND_DEVICE_EXCLUSIVE,
  KIND_DEVICE_PRIVATE,
  KIND_MIGRATION,
  NON_PRESENT_WRITE,
  KIND_PROT_NONE,
  KIND_SWAP,
  PTE_DIRTY,
  PTE_SPECIAL,
  PTE_TRACKED,
  PTE_WRITE,
  ZERO_PTE,
  makeNonPresent,
  makePte,
} from "../../src/mm/pte.ts";
import { fractionsOf } from "../dice.ts";

const { flags, values } = DEFAULT_ENCODING;
const READ = flags.valid;
const WRITE = flags.valid | flags.write;
/** Frames 8 to 15 are the device's own. */
const owns = (pfn: number): boolean => pfn >>> 3 === 1;
const BLIND: HmmEncoding = { ...DEFAULT_ENCODING, flags: { ...flags, devicePrivate: 0 } };

const KINDS = {
  none: 0,
  swap: makeNonPresent(KIND_SWAP, 7),
  migration: makeNonPresent(KIND_MIGRATION, 7),
  exclusive: makeNonPresent(KIND_DEVICE_EXCLUSIVE, 7),
  "protection none": makeNonPresent(KIND_PROT_NONE, 7),
} as const;

test("a page that is not requested needs nothing, whatever its entry is", () => {
  const all = [
    ...Object.values(KINDS),
    makeNonPresent(KIND_DEVICE_PRIVATE, 7),
    makePte(5, 0),
    makePte(5, PTE_SPECIAL),
    ZERO_PTE,
  ];
  for (const pte of all)
    for (const request of [0, flags.write, flags.devicePrivate]) {
      assert.equal(needOf(pte, request, DEFAULT_ENCODING), NEED_NOTHING);
    }
});

test("a page that is not present needs the requested fault, a swapped or migrating one too", () => {
  for (const [name, pte] of Object.entries(KINDS)) {
    assert.equal(needOf(pte, READ, DEFAULT_ENCODING), NEED_READ, name);
    assert.equal(needOf(pte, WRITE, DEFAULT_ENCODING), NEED_WRITE, name);
    assert.equal(entryOf(pte, DEFAULT_ENCODING), values.none, name);
  }
});

test("a present page needs a fault only to become writable", () => {
  for (const extra of [0, PTE_DIRTY, PTE_TRACKED]) {
    assert.equal(needOf(makePte(5, extra), READ, DEFAULT_ENCODING), NEED_NOTHING);
    assert.equal(needOf(makePte(5, extra), WRITE, DEFAULT_ENCODING), NEED_WRITE);
  }
  assert.equal(needOf(makePte(5, PTE_WRITE), WRITE, DEFAULT_ENCODING), NEED_NOTHING);
});

test("the zero page may be read; any other special page is no page for a device", () => {
  assert.equal(needOf(ZERO_PTE, READ, DEFAULT_ENCODING), NEED_NOTHING);
  assert.equal(needOf(ZERO_PTE, WRITE, DEFAULT_ENCODING), NEED_WRITE);
  assert.equal(entryOf(ZERO_PTE, DEFAULT_ENCODING), flags.valid);
  assert.equal(needOf(makePte(5, PTE_SPECIAL), READ, DEFAULT_ENCODING), NEED_IMPOSSIBLE);
  assert.equal(entryOf(makePte(5, PTE_SPECIAL), DEFAULT_ENCODING), values.special);
});

test("device memory stays where it is unless it is requested back, and a driver that cannot distinguish it never gets it", () => {
  const pte = makeNonPresent(KIND_DEVICE_PRIVATE, 9, NON_PRESENT_WRITE);
  const readOnly = makeNonPresent(KIND_DEVICE_PRIVATE, 9);
  const entry = (9 << 8) | flags.valid | flags.devicePrivate;
  assert.equal(needOf(pte, WRITE, DEFAULT_ENCODING, owns), NEED_NOTHING);
  assert.equal(entryOf(pte, DEFAULT_ENCODING, owns), entry | flags.write);
  assert.equal(entryOf(readOnly, DEFAULT_ENCODING, owns), entry);
  assert.equal(needOf(readOnly, READ, DEFAULT_ENCODING, owns), NEED_NOTHING);
  assert.equal(needOf(readOnly, WRITE, DEFAULT_ENCODING, owns), NEED_WRITE);
  assert.equal(needOf(pte, READ | flags.devicePrivate, DEFAULT_ENCODING, owns), NEED_READ);
  assert.equal(needOf(pte, WRITE | flags.devicePrivate, DEFAULT_ENCODING, owns), NEED_WRITE);
  assert.equal(needOf(pte, READ, BLIND, owns), NEED_READ);
  assert.equal(entryOf(pte, BLIND, owns), values.none);
  // another device's
  assert.equal(needOf(pte, READ, DEFAULT_ENCODING), NEED_READ);
  assert.equal(entryOf(pte, DEFAULT_ENCODING), values.none);
});

test("frame numbers come back whole for every shift, the largest too", () => {
  for (let pfnShift = 4; pfnShift <= 8; pfnShift++) {
    const encoding: HmmEncoding = {
      flags: { valid: 1, write: 2, devicePrivate: 4 },
      values: { none: 0, error: 8, special: 8 },
      pfnShift,
    };
    for (const pfn of [0, 1, 0x7fffff, 0x800000, 0xffffff]) {
      const pfns = new Uint32Array(1);
      readLeaf(Int32Array.of(makePte(pfn, PTE_WRITE)), 0, 1, pfns, 0, encoding, NO_REQUESTS);
      const [entry = 0] = pfns;
      assert.deepEqual(
        [
          entryPfn(entry, encoding),
          entryIsValid(entry, encoding),
          entryIsWritable(entry, encoding),
        ],
        [pfn, true, true],
      );
      assert.equal(
        entry,
        entryOf(makePte(pfn, PTE_WRITE), encoding),
        "the fast way and the slow way agree",
      );
    }
  }
});

/** A random leaf of every kind of entry. */
function randomLeaf(random: () => number): Int32Array {
  const kinds: readonly (() => number)[] = [
    ...Object.values(KINDS).map((pte) => () => pte),
    () => makePte(Math.floor(random() * 2 ** 24), 0),
    () => makePte(Math.floor(random() * 2 ** 24), PTE_WRITE | PTE_DIRTY),
    () => makePte(3, PTE_TRACKED),
    () => makePte(3, PTE_SPECIAL),
    () => ZERO_PTE,
    () => makeNonPresent(KIND_DEVICE_PRIVATE, 11),
    () => makeNonPresent(KIND_DEVICE_PRIVATE, 12, NON_PRESENT_WRITE),
    () => makeNonPresent(KIND_DEVICE_PRIVATE, 17, NON_PRESENT_WRITE),
  ];
  // in runs, since like entries are read eight at a time
  let kind: (() => number) | undefined;
  let left = 0;
  return Int32Array.from({ length: 512 }, () => {
    if (left === 0) {
      kind = kinds[Math.floor(random() * kinds.length)];
      left = 1 + Math.floor(random() ** 3 * 60);
    }
    left--;
    return kind?.() ?? 0;
  });
}

test("a walk over random leaves, with requests and without, gives page by page what the decision says", () => {
  const seed = Number(process.env["HMM_SEED"] ?? 20_190_624);
  const random = fractionsOf(seed);
  for (let round = 0; round < 200; round++) {
    const leaf = randomLeaf(random);
    const first = Math.floor(random() * 512);
    const count = 1 + Math.floor(random() * (512 - first));
    const seen = new Uint32Array(count);
    const looked = readLeaf(leaf, first, count, seen, 0, DEFAULT_ENCODING, {
      ...NO_REQUESTS,
      owns,
    });
    assert.equal(looked, count);
    const expected = Array.from(
      leaf.subarray(first, first + count),
      (pte) => entryOf(pte, DEFAULT_ENCODING, owns) >>> 0,
    );
    assert.deepEqual([...seen], expected, `seed ${seed}, round ${round}`);

    const perPage = Uint32Array.from(
      { length: count },
      () => [0, READ, WRITE, WRITE | flags.devicePrivate][Math.floor(random() * 4)] ?? 0,
    );
    const mask = round % 2 === 0 ? 0xff : READ; // in the odd rounds nobody asks to write
    const requests = { perPage, mask, always: 0, isSparse: false, owns };
    const needs = Array.from(perPage, (request, i) =>
      needOf(leaf[first + i] ?? 0, request & mask, DEFAULT_ENCODING, owns),
    );
    const stop = needs.findIndex((need) => need !== NEED_NOTHING);
    const faulted = new Uint32Array(count).fill(0xdead);
    const done = readLeaf(leaf, first, count, faulted, 0, DEFAULT_ENCODING, requests);
    assert.equal(done, stop === -1 ? count : stop, `seed ${seed}, round ${round}`);
    assert.deepEqual([...faulted.subarray(0, done)], expected.slice(0, done));
    assert.ok(
      faulted.subarray(done).every((entry) => entry === 0xdead),
      "nothing is written past the stop",
    );
  }
});

test("a sparse walk over random leaves gives for each page that is asked for what the dense one does", () => {
  const seed = Number(process.env["HMM_SEED"] ?? 20_261_129);
  const random = fractionsOf(seed);
  for (let round = 0; round < 300; round++) {
    const leaf = randomLeaf(random);
    const first = Math.floor(random() * 512);
    const count = 1 + Math.floor(random() * (512 - first));
    const share = [0, 0.01, 0.2, 1][round % 4] ?? 0;
    const pick = (): number => [READ, WRITE, flags.devicePrivate][Math.floor(random() * 3)] ?? 0;
    const perPage = Uint32Array.from({ length: count }, () => (random() < share ? pick() : 0));
    const requests = { perPage, mask: 0xff, always: 0, isSparse: true, owns };
    const asked = Array.from(perPage, (_, i) => i).filter((i) => perPage[i] !== 0);
    const stop = asked.find(
      (i) => needOf(leaf[first + i] ?? 0, perPage[i] ?? 0, DEFAULT_ENCODING, owns) !== NEED_NOTHING,
    );
    const isHuge = round % 2 === 0;
    const found = new Uint32Array(count).fill(0xdead);
    const done = readAsked(leaf, first, count, found, 0, DEFAULT_ENCODING, requests, isHuge);
    const where = `seed ${seed}, round ${round}`;
    assert.equal(done, stop ?? count, where);
    const expected = Array.from(perPage, (request, i) => {
      if (request === 0 || i >= done) return 0xdead;
      const entry = entryOf(leaf[first + i] ?? 0, DEFAULT_ENCODING, owns);
      return (isHuge && (entry & READ) !== 0 ? entry | (flags.huge ?? 0) : entry) >>> 0;
    });
    assert.deepEqual([...found], expected, where);
  }
});
