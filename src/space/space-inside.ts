/**
 * @module space/space-inside
 * What of an AddressSpace object the rest of the library uses, and no program: found by the object,
 * so that the class has no member for it.
 */

import { EINVAL } from "../sync/errno.ts";
import { customFailure, formatValue } from "./failures.ts";
import type { MachineSeat } from "./machine-seat.ts";
import type { SpaceHold } from "./space-hold.ts";

/** One thread's hold of a space, and its place on the machine. */
export interface SpaceInside {
  readonly seat: MachineSeat;
  readonly hold: SpaceHold;
}

const insides = new WeakMap<object, SpaceInside>();

/** Once for each AddressSpace object, when it is made. */
export function setInside(space: object, inside: SpaceInside): void {
  insides.set(space, inside);
}

/** The inside of an AddressSpace object. Throws HmmError EINVAL for anything else. */
export function insideOf(space: object): SpaceInside {
  const isObject = typeof space === "object" && space !== null;
  const inside = isObject ? insides.get(space) : undefined;
  if (inside !== undefined) return inside;
  throw customFailure(
    "run",
    EINVAL,
    `${formatValue(space)} is no AddressSpace; pass what AddressSpace.create or attach resolves to`,
  );
}
