/**
 * @module The twelve patches of June 2019, in their order: for each the code as it was before, and
 * the shipped code.
 */

import type { Exhibit } from "../exhibit.ts";
import { freedInCallback } from "./01-freed-in-callback.ts";
import { rangeWithoutMirror } from "./02-range-without-mirror.ts";
import { grab } from "./03-grab.ts";
import { getOrCreate } from "./04-get-or-create.ts";
import { secondLook } from "./05-second-look.ts";
import { plainLists } from "./06-plain-lists.ts";
import { liveRange } from "./07-live-range.ts";
import { assertedLock } from "./08-asserted-lock.ts";
import { doubleUnregister } from "./09-double-unregister.ts";
import { poisonedRange } from "./10-poisoned-range.ts";
import { releaseLocked } from "./11-release-locked.ts";
import { unwinding } from "./12-unwinding.ts";

export const patchExhibits: readonly Exhibit[] = [
  freedInCallback,
  rangeWithoutMirror,
  grab,
  getOrCreate,
  secondLook,
  plainLists,
  liveRange,
  assertedLock,
  doubleUnregister,
  poisonedRange,
  releaseLocked,
  unwinding,
];
