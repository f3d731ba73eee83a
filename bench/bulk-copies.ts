/** @module `space.readSync` and `space.writeSync` of 256 MiB, against `Uint8Array.set`. */

import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { measurePairs, timeMs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const MIB = 2 ** 20;
const PAGE_BYTES = 4096;

export async function measureBulkCopies(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 4 : 256) * MIB;
  const rounds = roundsOf(options);
  const onRound = roundCounter(2 * rounds, options);
  await using space = await AddressSpace.create({ ramBytes: lengthBytes + 16 * MIB });
  const address = await space.mmap(lengthBytes);
  // Both sides' pages are there.
  for (let at = address; at < address + lengthBytes; at += PAGE_BYTES) space.u8.store(at, 1);
  const shared = new Uint8Array(new SharedArrayBuffer(lengthBytes)).fill(1);
  const own = new Uint8Array(lengthBytes).fill(2);
  const unit = "ms";
  const readings = [
    await measurePairs({
      label: "write",
      unit,
      rounds,
      onRound,
      ours: () => timeMs(() => space.writeSync(address, own)),
      plain: () => timeMs(() => shared.set(own)),
    }),
    await measurePairs({
      label: "read",
      unit,
      rounds,
      onRound,
      ours: () => timeMs(() => space.readSync(address, own)),
      plain: () => timeMs(() => own.set(shared)),
    }),
  ];
  return { readings };
}
