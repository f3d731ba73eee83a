/**
 * @module Calls that change a huge page, which a device and a CPU thread witness (witnesses.ts):
 * the device is told before its entries change and after, and no translation of before is left.
 */

import type { HmmHarness } from "../../../../src/checker/harness/hmm-harness.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { MADV_DONTNEED, doMadvise } from "../../../../src/mm/calls/madvise.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { cpuFault } from "../../../../src/mm/fault/cpu-fault.ts";
import { HUGE_PAGES } from "../../../../src/mm/huge.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES } from "../../../../src/mm/pte.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Attempt } from "../attempts.ts";
import type { Covered } from "../covered.ts";
import { BEFORE, START, type State, makeBlock } from "./huge-stage.ts";
import { withoutFlush } from "./left-out.ts";
import { witnessed } from "./witnesses.ts";

const START_BYTES = START * PAGE_BYTES;
const BYTES = HUGE_PAGES * PAGE_BYTES;

/** What `mapped` says of the first `pages` of the block, page 5 of which holds `word`. */
function blockOf(rights: string, pages: number, word: number): string {
  const first = START - HARNESS_PAGE;
  const words = Array.from({ length: pages }, (_, i) => (i === 5 ? word : 0));
  return `${first}-${first + pages} ${rights}: ${words.join(" ")}`;
}

type Act = (harness: HmmHarness) => Task<number>;

/** With the child, or 0. */
interface Parts extends Pick<Attempt<number>, "name" | "summary" | "runs" | "wanted"> {
  readonly state: State;
  readonly act: Act;
  readonly isFork?: boolean;
}

function changing({ state, act, isFork = false, ...parts }: Parts): Attempt<number> {
  const hasChild = isFork || state.endsWith("forked");
  const mmOf = ({ machine }: HmmHarness, child: number, answer: number): Mm =>
    Mm.at(machine.memory, isFork ? answer : child);
  return {
    layer: "mm",
    ...parts,
    name: `huge-${parts.name}`,
    harness: { hugePages: 3 },
    setup: (harness) => makeBlock(harness, state),
    act,
    ...(hasChild
      ? {
          childOf: mmOf,
          undo: (harness, child, answer) => mmput(harness.machine, mmOf(harness, child, answer)),
        }
      : {}),
  };
}

const store: Act = ({ machine, mm }) => cpuFault(machine, mm, START + 5, true);
const fork: Act = ({ machine, mm }) => doFork(machine, mm);
const discard =
  (page: number, pages: number): Act =>
  ({ machine, mm }) =>
    doMadvise(machine, mm, START_BYTES + page * PAGE_BYTES, pages * PAGE_BYTES, MADV_DONTNEED);
const unmapFrom =
  (page: number): Act =>
  ({ machine, mm }) =>
    doMunmap(machine, mm, START_BYTES + page * PAGE_BYTES, BYTES - page * PAGE_BYTES);

const FAULT = ["mm/fault/cpu-fault.cpuFault", "mm/fault/huge-fault.hugeFault"];
const DISCARD = ["mm/calls/madvise.doMadvise"];
const UNMAP = ["mm/calls/munmap.doMunmap"];
const FORK = ["mm/lifetime/fork.doFork"];

const unflushed = ({ act }: Parts): { "without-flush": Act } => ({
  "without-flush": (harness) => withoutFlush(1, act(harness)),
});

const changes: readonly Parts[] = [
  {
    name: "write-on-zeros",
    summary: "A huge page of zeros is written.",
    state: "zeros",
    runs: ["mm/fault/huge-fault.replaceHugeZero", ...FAULT],
    act: store,
  },
  {
    name: "copy-explicit",
    summary: "An explicit huge page is written that a child shares.",
    state: "explicit-forked",
    runs: ["mm/fault/huge-fault.copyHuge", ...FAULT],
    act: store,
  },
  {
    name: "copy-page",
    summary: "A page of a huge page is written that a child shares.",
    state: "forked",
    runs: ["mm/fault/huge-fault.reuseOrSplit", ...FAULT],
    act: store,
  },
  {
    name: "fork",
    summary: "A space with a huge page forks.",
    state: "written",
    isFork: true,
    runs: FORK,
    act: fork,
  },
  {
    name: "fork-explicit",
    summary: "A space with an explicit huge page forks.",
    state: "explicit",
    isFork: true,
    runs: FORK,
    act: fork,
  },
  {
    name: "discard",
    summary: "A huge page is given up.",
    state: "written",
    wanted: blockOf("rw", HUGE_PAGES, 0),
    runs: DISCARD,
    act: discard(0, HUGE_PAGES),
  },
  {
    name: "discard-page",
    summary: "A page of a huge page is given up.",
    state: "written",
    wanted: blockOf("rw", HUGE_PAGES, 0),
    runs: DISCARD,
    act: discard(5, 1),
  },
  {
    name: "mprotect",
    summary: "A huge page loses the right to be written.",
    state: "written",
    wanted: blockOf("r-", HUGE_PAGES, BEFORE),
    runs: ["mm/calls/mprotect.doMprotect"],
    act: ({ machine, mm }) => doMprotect(machine, mm, START_BYTES, BYTES, VM_READ),
  },
  {
    name: "munmap-half",
    summary: "The second half of a huge page is unmapped.",
    state: "written",
    wanted: blockOf("rw", HUGE_PAGES / 2, BEFORE),
    runs: UNMAP,
    act: unmapFrom(HUGE_PAGES / 2),
  },
  {
    name: "munmap",
    summary: "A huge page is unmapped.",
    state: "written",
    wanted: "",
    runs: UNMAP,
    act: unmapFrom(0),
  },
];

/** Witnesses look at the first pages only; and a whole page is flushed again, with its table. */
const UNSEEN = new Set(["munmap-half", "munmap"]);

export const witnessedHugePages: readonly Covered[] = changes.map((parts) =>
  witnessed(changing(parts), UNSEEN.has(parts.name) ? {} : unflushed(parts)),
);
