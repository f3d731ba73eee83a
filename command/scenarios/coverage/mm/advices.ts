/**
 * @module Advice beside other calls that change the mappings: of two threads that each advise a
 * page, and of one that populates or discards pages while another unmaps one of them. Each holds
 * the mmap lock while it looks at mappings: for writing where it changes them.
 */

import {
  HARNESS_PAGE,
  type HarnessOptions,
  type HmmHarness,
} from "../../../../src/checker/harness/hmm-harness.ts";
import {
  MADV_DONTNEED,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  doMadvise,
} from "../../../../src/mm/calls/madvise.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { PAGE_BYTES, PTE_WRITE } from "../../../../src/mm/pte.ts";
import { VM_RANDOM, vmaOf, vmasIn } from "../../../../src/mm/vma/vma.ts";
import { changeFlags } from "../../../../src/mm/vma/vma-flags.ts";
import { ENOMEM } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { type HarnessBody, type HarnessTwin, coveringOnHarness } from "../on-harness.ts";

type Body = HarnessBody<undefined>;

const ADDRESS: number = HARNESS_PAGE * PAGE_BYTES;
const SECOND = HARNESS_PAGE + 1;
const ADVISE = ["mm/calls/madvise.doMadvise"] as const;
const UNMAP = ["mm/calls/munmap.doMunmap"] as const;

/** Advises a page that nobody unmaps. */
const random =
  (page: number): Body =>
  (_none, { machine, mm }) =>
    doMadvise(machine, mm, page * PAGE_BYTES, PAGE_BYTES, MADV_RANDOM);

/** Broken: holds the mmap lock for reading only. */
const randomForReading = (page: number): Body =>
  function* (_none, { machine, mm }) {
    yield* mm.mmapLock.downRead();
    const range = { startPage: page, endPage: page + 1 };
    yield* changeFlags(machine, mm, range, (flags) => flags | VM_RANDOM);
    yield* mm.mmapLock.upRead();
  };

const unmapsSecond: Body = (_none, { machine, mm }) =>
  doMunmap(machine, mm, ADDRESS + PAGE_BYTES, PAGE_BYTES);

/** Of both pages, of which the second may be gone. */
const both = (advice: number): Body =>
  function* (_none, { machine, mm }): Task<void> {
    const answer = yield* doMadvise(machine, mm, ADDRESS, 2 * PAGE_BYTES, advice);
    assert(answer === 0 || answer === ENOMEM, `the advice answered ${answer}`);
  };

/** Broken: looks at a mapping before it has the lock. */
const afterALook = (body: Body): Body =>
  function* (none, harness) {
    const { machine, mm } = harness;
    yield* mm.users.get();
    const vma = vmaOf(machine.memory, mm, SECOND);
    assert(vma === undefined || vma.endPage > SECOND, "a mapping of another page");
    yield* mm.users.put();
    yield* body(none, harness);
  };

const mappings = ({ machine, mm }: HmmHarness): string =>
  [...vmasIn(machine.memory, mm, HARNESS_PAGE, HARNESS_PAGE + 3)]
    .map(({ startPage, endPage, flags }) => {
      const kind = (flags & VM_RANDOM) === 0 ? "" : " random";
      return `${startPage - HARNESS_PAGE}-${endPage - HARNESS_PAGE}${kind}`;
    })
    .join(", ");

function besideUnmap(
  name: string,
  summary: string,
  harness: HarnessOptions,
  body: Body,
  check: (harness: HmmHarness) => void,
): Covered {
  const unlocked: HarnessTwin<undefined> = [
    "unlocked",
    "A mapping is looked at before the lock is taken.",
    "data-race",
    { advises: afterALook(body) },
  ];
  return coveringOnHarness<undefined>({
    layer: "mm",
    name,
    summary,
    harness,
    exploration: { engine: "bounded", preemptions: 1 },
    setup: () => undefined,
    tasks: { advises: [ADVISE, body], unmaps: [UNMAP, unmapsSecond] },
    check(_none, own) {
      assert(mappings(own) === "0-1", `mapped is ${mappings(own)}`);
      assert(own.entryOf(SECOND) === 0, "the page that is unmapped has an entry");
      check(own);
    },
    twins: [unlocked],
  });
}

export const advices: readonly Covered[] = [
  coveringOnHarness<undefined>({
    layer: "mm",
    name: "advise-vs-advise",
    summary: "Two threads advise neighbouring pages of one mapping, which become one mapping.",
    harness: { pages: 3 },
    exploration: { engine: "bounded", preemptions: 1 },
    setup: () => undefined,
    tasks: {
      first: [ADVISE, random(HARNESS_PAGE)],
      second: [ADVISE, random(SECOND)],
    },
    check(_none, harness) {
      const now = mappings(harness);
      assert(now === "0-2 random, 2-3", `mapped is ${now}`);
    },
    twins: [
      [
        "for-reading",
        "The mmap lock is held for reading while a mapping is split.",
        "data-race",
        { first: randomForReading(HARNESS_PAGE), second: randomForReading(SECOND) },
      ],
    ],
  }),
  besideUnmap(
    "populate-vs-munmap",
    "A thread populates two pages, while another unmaps the second.",
    { pages: 2, present: 0 },
    both(MADV_POPULATE_WRITE),
    (harness) =>
      assert((harness.entryOf(HARNESS_PAGE) & PTE_WRITE) !== 0, "a page has not been populated"),
  ),
  besideUnmap(
    "discard-vs-munmap",
    "A thread discards two pages, while another unmaps the second.",
    { pages: 2 },
    both(MADV_DONTNEED),
    (harness) => assert(harness.entryOf(HARNESS_PAGE) === 0, "a page has not been discarded"),
  ),
];
