/**
 * @module First touch: every page of a new mapping takes a fault, gets a frame that was never used
 * and is written. Against buffers that are fresh from the operating system. One machine for all
 * rounds of a reading, with RAM for all of them: a program has one, and V8 throws compiled code
 * away with the objects that it was compiled for.
 */

import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { warmMemory } from "./fresh-memory.ts";
import { measurePairs, timeMs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const MiB = 2 ** 20;
const PAGE_BYTES = 4096;
const VIEW_BYTES: number = 2 * MiB;
const READINGS = 3;

export async function measureFirstTouch(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 32 : 256) * MiB;
  const rounds = Math.min(roundsOf(options), 5);
  const onRound = roundCounter(READINGS * rounds, options);
  const fillPlain = (): void => {
    new Float64Array(new SharedArrayBuffer(lengthBytes)).fill(1);
  };
  const touchPlain = (): void => {
    const words = new Uint32Array(new SharedArrayBuffer(lengthBytes));
    for (let i = 0; i < words.length; i += PAGE_BYTES / 4) words[i] = 1;
  };
  const compare = async (
    label: string,
    ours: (space: AddressSpace, lengthBytes: number) => void,
    plain: () => void,
  ): Promise<Reading> => {
    await using space = await AddressSpace.create({
      ramBytes: (rounds + 1) * lengthBytes + 16 * MiB,
    });
    const afterWarming = (work: () => void) => async (): Promise<number> => {
      await warmMemory(lengthBytes + 16 * MiB);
      return timeMs(work);
    };
    return await measurePairs({
      label,
      unit: "ms",
      rounds,
      onRound,
      ours: afterWarming(() => ours(space, lengthBytes)),
      plain: afterWarming(plain),
    });
  };
  const readings = [
    await compare("a store to each page, against fill", touchPages, fillPlain),
    await compare("a store to each page and all filled, against fill", fillPages, fillPlain),
    await compare("a store to each page, against the same", touchPages, touchPlain),
  ];
  return { readings };
}

function touchPages(space: AddressSpace, lengthBytes: number): number {
  const address = space.mmapSync(lengthBytes);
  const { u32 } = space;
  for (let at = address; at < address + lengthBytes; at += PAGE_BYTES) u32.store(at, 1);
  return address;
}

/**
 * In pieces: a view wants frames in a row. Where they are not, it copies to some that are, for
 * which there is room.
 */
function fillPages(space: AddressSpace, lengthBytes: number): void {
  const address = touchPages(space, lengthBytes);
  for (let at = address; at < address + lengthBytes; at += VIEW_BYTES) {
    using view = space.viewSync(at, VIEW_BYTES, "write");
    view.as(Float64Array).fill(1);
  }
}
