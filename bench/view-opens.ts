/**
 * @module What opening a write view over 1 GiB costs a page: of a mapping that nobody has touched,
 * in frames that were never used, and again of the same, whose frames lie in a row then. Against
 * what was asked for. Nothing is stored through the views, so the operating system commits nothing
 * but the frame table and the page table.
 */

import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import { median } from "./figure.ts";
import { timeEachNs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const MiB = 2 ** 20;
const PAGE_BYTES = 4096;
const ASKED_NS = 20;

interface Opens {
  readonly fresh: number;
  readonly again: number;
}

/** Nanoseconds a page, of the first view of a space and of the second. */
function openTwice(lengthBytes: number): Opens {
  using space = AddressSpace.createSync({ ramBytes: 2 * lengthBytes });
  const address = space.mmapSync(lengthBytes);
  const open = (): number => {
    let close = (): void => {};
    const ns = timeEachNs(lengthBytes / PAGE_BYTES, () => {
      const view = space.viewSync(address, lengthBytes, "write");
      close = () => view[Symbol.dispose]();
    });
    close();
    return ns;
  };
  return { fresh: open(), again: open() };
}

export function measureViewOpens(options: MeasureOptions): Promise<Measurement> {
  const lengthBytes = (options.isQuick ? 64 : 1024) * MiB;
  const rounds = roundsOf(options);
  const onRound = roundCounter(rounds, options);
  openTwice(lengthBytes);
  const opens: Opens[] = [];
  for (let round = 0; round < rounds; round++) {
    opens.push(openTwice(lengthBytes));
    onRound();
  }
  const reading = (label: string, times: readonly number[]): Reading => ({
    label,
    unit: "ns a page",
    isBound: true,
    ratios: times.map((ns) => ns / ASKED_NS),
    ours: median(times),
    plain: ASKED_NS,
  });
  const fresh = opens.map((one) => one.fresh);
  const again = opens.map((one) => one.again);
  return Promise.resolve({
    readings: [reading("nobody has touched it", fresh), reading("it lies in a row", again)],
  });
}
