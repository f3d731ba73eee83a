/**
 * @module space/space-inside
 * What of an AddressSpace object the rest of the library uses, and no program: found by the object,
 * so that the class has no member for it.
 */

import { type ArgumentRule, checkArgument, ruleOf } from "../sync/argument-rules.ts";
import { bug } from "../sync/errors.ts";
import { refusalBy } from "./failures.ts";
import type { MachineSeat } from "./machine-seat.ts";
import type { SpaceHold } from "./space-hold.ts";

/** One thread's hold of a space, and its place on the machine. */
export interface SpaceInside {
  readonly seat: MachineSeat;
  readonly hold: SpaceHold;
}

const insides = new WeakMap<object, SpaceInside>();

/** What is asked for where a program passes an address space. */
export const anAddressSpace: ArgumentRule = ruleOf(
  "what AddressSpace.create or attach resolves to",
  (value) => typeof value === "object" && value !== null && insides.has(value),
);

/** Once for each AddressSpace object, when it is made. */
export function setInside(space: object, inside: SpaceInside): void {
  insides.set(space, inside);
}

/** The inside of an AddressSpace object. Throws HmmError EINVAL for anything else. */
export function insideOf(space: object): SpaceInside {
  const inside = anAddressSpace.accepts(space) ? insides.get(space) : undefined;
  if (inside !== undefined) return inside;
  checkArgument(refusalBy("run"), "the space", space, anAddressSpace);
  return bug("Cannot find the inside of an AddressSpace");
}
