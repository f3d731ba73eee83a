/**
 * @module What the live page reads from the spaces and the device after each step. All numbers are
 * the library's own: `maps()`, `pagemap()`, `smaps()`, `stats()`, and the device's `snapshot()`.
 */

import type {
  AddressSpace,
  DeviceStats,
  MemoryUse,
  PagemapEntry,
  SnapshotPage,
  SpaceCounts,
} from "hmm-ts";
import { BASE, MAP_PAGES, PAGE } from "./layout.ts";
import type { Machine } from "./machine.ts";
import { type MapPage, describePages } from "./page-states.ts";

/** One space. */
export interface SpaceReading {
  readonly pages: readonly MapPage[];
  readonly use: MemoryUse;
  readonly counts: SpaceCounts;
}

export interface Reading {
  readonly parent: SpaceReading;
  readonly child: SpaceReading | undefined;
  /** The child's counts; of one that has ended, its last. */
  readonly childCounts: SpaceCounts | undefined;
  /** What the device would find in the parent, page by page. */
  readonly snapshot: readonly SnapshotPage[];
  readonly device: DeviceStats;
}

const MAP_BYTES = MAP_PAGES * PAGE;

/** No step may be under way. `child` is alive. `lastCounts`: of a child that may have ended. */
export async function readMachine(
  { space, device }: Machine,
  child: AddressSpace | undefined,
  lastCounts: SpaceCounts | undefined,
): Promise<Reading> {
  const parents = await space.pagemap(BASE, MAP_BYTES);
  const children = (await child?.pagemap(BASE, MAP_BYTES)) ?? [];
  const childReading = child && (await readSpace(child, children, parents));
  return {
    parent: await readSpace(space, parents, children),
    child: childReading,
    childCounts: childReading?.counts ?? lastCounts,
    snapshot: await device.snapshot(BASE, MAP_BYTES),
    device: await device.stats(),
  };
}

async function readSpace(
  space: AddressSpace,
  pagemap: readonly PagemapEntry[],
  others: readonly PagemapEntry[],
): Promise<SpaceReading> {
  const pages = describePages(await space.maps(), pagemap, others);
  const { total } = await space.smaps();
  const { counters } = await space.stats();
  return { pages, use: total, counts: counters };
}

/** A number of the table: what it counts, and how much of it there has been. */
export interface Count {
  readonly name: string;
  readonly value: number;
  readonly unit: "" | " KiB";
}

/** What has happened since the machine was made, in both spaces. */
export function countAll({ parent, childCounts, device }: Reading): Count[] {
  const both = (pick: (counts: SpaceCounts) => number): number =>
    pick(parent.counts) + (childCounts === undefined ? 0 : pick(childCounts));
  const count = (name: string, value: number, unit: Count["unit"] = ""): Count => {
    return { name, value, unit };
  };
  return [
    count(
      "CPU page faults",
      both((c) => c.zeroFaults + c.anonymousFaults + c.sharedFaults + c.copyFaults + c.writeFaults),
    ),
    count(
      "pages copied on write",
      both((c) => c.copyFaults),
    ),
    count(
      "invalidations in the spaces",
      both((c) => c.invalidations),
    ),
    count("device page faults", device.faults),
    count("copied to the device", device.bytesToDevice / 1024, " KiB"),
    count("pages evicted from the device", device.evictions),
    count("invalidations on the device", device.invalidations),
    count("translations dropped", device.dropped),
    count("translations to RAM, for stores", device.remoteMaps),
  ];
}
