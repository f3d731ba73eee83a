/**
 * @module Loads of 32 bits from mappings that are not the plain case, against the plain case: a
 * private anonymous mapping whose frames lie in one section of RAM. Both sides load by the same
 * code, in the same order, over sets of the same size.
 */

import { AddressSpace } from "../src/index.ts";
import type { MeasureOptions, Measurement, Reading } from "./figure.ts";
import {
  LOADS,
  MIB,
  ORDERS,
  QUICK_SIZES,
  SIZES,
  checkFound,
  fillChain,
  orderOf,
  sidesOf,
  sizeText,
} from "./access-loops.ts";
import type { Chain } from "./access-loops.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter, roundsOf } from "./round-counter.ts";

const PAGE_BYTES = 4096;
/** The most that one section has. */
const SECTION_BYTES: number = 1024 * MIB;
const BYTES_MAX: number = 256 * MIB;

/** A filled chain of `bytes` in a mapping of its own. */
function chainIn(space: AddressSpace, bytes: number, order: Uint32Array): Chain {
  const words = new Uint32Array(new SharedArrayBuffer(bytes));
  const chain = { access: space.u32, address: space.mmapSync(bytes), words, order };
  fillChain(chain);
  return chain;
}

/**
 * A space in whose next mapping of `bytes` one half of the frames lies in the first section of RAM,
 * and the other in the second. The first section serves before the second; so it is used up, and
 * then half as many of its frames are given back.
 */
function spaceOfTwoSections(bytes: number): AddressSpace {
  const space = AddressSpace.createSync({ ramBytes: SECTION_BYTES + bytes + 16 * MIB });
  const filler = space.mmapSync(SECTION_BYTES);
  for (let at = filler; at < filler + SECTION_BYTES; at += PAGE_BYTES) space.u32.store(at, 1);
  space.munmapSync(filler, bytes / 2);
  return space;
}

async function measureSize(
  bytes: number,
  options: MeasureOptions,
  onRound: () => void,
): Promise<Reading[]> {
  using space = AddressSpace.createSync({ ramBytes: 2 * bytes + 16 * MIB });
  using spread = spaceOfTwoSections(bytes);
  const order = orderOf(bytes / 4);
  const plain = chainIn(space, bytes, order);
  const protectedChain = chainIn(space, bytes, order);
  space.mprotectSync(protectedChain.address, bytes, "read");
  const twoSections = chainIn(spread, bytes, order);
  using child = space.forkSync();
  const kinds: readonly (readonly [string, Chain])[] = [
    ["two sections", twoSections],
    ["read-only", protectedChain],
    ["forked", { ...plain, access: child.u32 }],
  ];
  const loads = options.isQuick ? order.length : LOADS / 4;
  const readings: Reading[] = [];
  for (const each of ORDERS) {
    const plainLoop = sidesOf(each, plain, loads).ours;
    for (const [kind, chain] of kinds) {
      readings.push(
        await measurePairs({
          label: `${kind}, ${each}, ${sizeText(bytes)}`,
          unit: "ns a load",
          rounds: roundsOf(options),
          onRound,
          ours: sidesOf(each, chain, loads).ours,
          plain: plainLoop,
        }),
      );
    }
  }
  return readings;
}

export async function measureMappings(options: MeasureOptions): Promise<Measurement> {
  const sizes = options.isQuick ? QUICK_SIZES : SIZES.filter((bytes) => bytes <= BYTES_MAX);
  const onRound = roundCounter(sizes.length * ORDERS.length * 3 * roundsOf(options), options);
  const readings: Reading[] = [];
  for (const bytes of sizes) readings.push(...(await measureSize(bytes, options, onRound)));
  checkFound();
  return { readings };
}
