/**
 * @module What a replay needs of an address space, so that it can be given a broken one as well.
 */

import type { AddressSpace } from "../../src/index.ts";

export interface TracedSpace extends Pick<
  AddressSpace,
  | "mmapSync"
  | "munmapSync"
  | "mprotectSync"
  | "mremapSync"
  | "madviseSync"
  | "readSync"
  | "writeSync"
  | "mapsSync"
  | "pagemapSync"
  | "disposeSync"
  | "u8"
  | "u16"
  | "u32"
> {
  forkSync(): TracedSpace;
}

/** Operations that are to be done otherwise. */
export type Alteration = (space: AddressSpace) => Partial<TracedSpace>;

/** The space, and all its forks, with some operations altered. */
export function altered(space: AddressSpace, alter: Alteration): TracedSpace {
  return {
    mmapSync: (...args) => space.mmapSync(...args),
    munmapSync: (...args) => space.munmapSync(...args),
    mprotectSync: (...args) => space.mprotectSync(...args),
    mremapSync: (...args) => space.mremapSync(...args),
    madviseSync: (...args) => space.madviseSync(...args),
    readSync: (...args) => space.readSync(...args),
    writeSync: (...args) => space.writeSync(...args),
    mapsSync: () => space.mapsSync(),
    pagemapSync: (...args) => space.pagemapSync(...args),
    disposeSync: () => space.disposeSync(),
    forkSync: () => altered(space.forkSync(), alter),
    u8: space.u8,
    u16: space.u16,
    u32: space.u32,
    ...alter(space),
  };
}
