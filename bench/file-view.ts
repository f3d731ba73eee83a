/**
 * @module Reading a file in order: through views of a mapping, whose pages are read into the page
 * cache, against `fs.readSync`. The file is in the host's cache on both sides, and in ours on none:
 * each round maps it anew. Both sides add up all words.
 */

import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { measurePairs, timeMs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const MIB = 2 ** 20;
const VIEW_BYTES: number = 2 * MIB;
const READINGS = 2;
/** Rounds of ours before the first that counts: in the first the host commits our memory. */
const WARM_ROUNDS = 6;

let total = 0;

function addUp(words: Uint32Array): void {
  let sum = 0;
  for (let i = 0; i < words.length; i++) sum = (sum + words[i]!) | 0;
  total = (total + sum) | 0;
}

export async function measureFileViews(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 16 : 1024) * MIB;
  const rounds = roundsOf(options);
  const warmRounds = options.isQuick ? 1 : WARM_ROUNDS;
  const onRound = roundCounter(READINGS * rounds + warmRounds, options);
  const folder = mkdtempSync(join(tmpdir(), "hmm-bench-"));
  const path = join(folder, "file");
  writeFile(path, lengthBytes);
  const fd = openSync(path, "r");
  await using space = await AddressSpace.create({
    ramBytes: lengthBytes + 64 * MIB,
    heapBytes: 256 * MIB,
  });
  const whole = new Uint8Array(new SharedArrayBuffer(lengthBytes));
  const piece = new Uint8Array(VIEW_BYTES);
  const intoWhole = (): void => {
    for (let at = 0; at < lengthBytes; at += VIEW_BYTES) {
      readSync(fd, whole, at, VIEW_BYTES, at);
      addUp(new Uint32Array(whole.buffer, at, VIEW_BYTES / 4));
    }
  };
  const intoPiece = (): void => {
    for (let at = 0; at < lengthBytes; at += VIEW_BYTES) {
      readSync(fd, piece, 0, VIEW_BYTES, at);
      addUp(new Uint32Array(piece.buffer));
    }
  };
  const ours = (): number => timeMs(() => readMapped(space, path, lengthBytes));
  for (let round = 0; round < warmRounds; round++, onRound()) ours();
  const common = { unit: "ms", rounds, onRound, ours };
  const ratioOf = (mine: number, plain: number): number => plain / mine;
  const readings = [
    await measurePairs({
      ...common,
      ratioOf,
      label: "views of 2 MiB, against readSync into a buffer of the file's size",
      plain: () => timeMs(intoWhole),
    }),
    await measurePairs({
      ...common,
      ratioOf,
      label: "the same, against one buffer of 2 MiB, which stays in the processor's cache",
      plain: () => timeMs(intoPiece),
      isBound: false,
    }),
  ];
  closeSync(fd);
  rmSync(folder, { recursive: true });
  if (total === 1) console.error("the words add up to 1"); // so that they are added up
  return { readings };
}

function readMapped(space: AddressSpace, path: string, lengthBytes: number): void {
  const options = { source: path, shared: true, protection: "read" } as const;
  const address = space.mmapSync(lengthBytes, options);
  for (let at = 0; at < lengthBytes; at += VIEW_BYTES) {
    // No `using`: for Node 20 it becomes a try block, in which the sum is a fifth slower.
    const view = space.viewSync(address + at, VIEW_BYTES, "read");
    addUp(view.as(Uint32Array));
    view[Symbol.dispose]();
  }
  space.munmapSync(address, lengthBytes);
}

function writeFile(path: string, lengthBytes: number): void {
  const words = new Uint32Array(MIB / 4);
  const fd = openSync(path, "w");
  for (let at = 0; at < lengthBytes; at += MIB) writeSync(fd, words.fill(at / MIB + 7));
  closeSync(fd);
}
