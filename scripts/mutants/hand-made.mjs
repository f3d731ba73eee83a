/**
 * @module Sixteen lines that people broke by hand when they tested the product. Each is one of the
 * mutants. If one is no longer a mutant, that is an error.
 */

/** @typedef {import("./find.mjs").Mutant} Mutant */

/**
 * What was broken, the beginning of the mutant's key, and the scenario that must notice: `npm test`
 * tries each.
 *
 * @type {readonly (readonly [name: string, beginning: string, scenario: string])[]}
 */
export const handMade = [
  [
    "flush of a tracked entry before its frame is copied",
    "mm/fault/copy-on-write.writeProtectedPrivate flush: ",
    "coverage/mm/store-vs-copy-of-tracked",
  ],
  [
    "flush after the exchange of a copy-on-write",
    "mm/fault/copy-on-write.copyAndReplace flush: ",
    "coverage/mm/load-vs-copy-on-write",
  ],
  [
    "flush at the end of a leaf in fork",
    "mm/lifetime/fork.copyEntries flush: ",
    "coverage/mm/store-vs-fork",
  ],
  [
    "fork leaves the parent's entries writable",
    "mm/lifetime/fork.copyEntry mark: atomicExchange(words, from, ",
    "coverage/mm/alone/fork",
  ],
  [
    "poison of an unregistered range",
    "hmm/range/range.leaveRegistration mark: record.hmm = RANGE_POISON;",
    "coverage/hmm/whole-life",
  ],
  [
    "the device's invalidate does nothing",
    "devices/service/mirror-ops.invalidate callback: ",
    "coverage/devices/read-vs-madvise",
  ],
  [
    "`hmmRangeValid` compares nothing",
    "hmm/range/valid.isSequenceUnchanged answer: ",
    "coverage/hmm/serve-vs-madvise",
  ],
  [
    "drivers called before the ranges are marked",
    "hmm/mirror/invalidate.hmmInvalidateRangeStart order: const answer = yield* callMirrors",
    "coverage/hmm/serve-vs-munmap",
  ],
  [
    "a refused start does not unwind",
    "hmm/mirror/invalidate.hmmInvalidateRangeStart step: yield* notifiersDecrement(",
    "coverage/hmm/serve-vs-reap",
  ],
  [
    "nobody woken at the end of an invalidation",
    "hmm/mirror/invalidate.notifiersDecrement wake: ",
    "coverage/hmm/serve-vs-munmap",
  ],
  [
    "the hmm looked up without its lock",
    "hmm/mirror/get-or-create.hmmGet lock: ",
    "patches/04/all/after",
  ],
  [
    "frames given back before the flush (zap)",
    "mm/entries/zap.clearLeaf order: if (clearing.isCleared) yield* putBatch(",
    "coverage/mm/load-vs-munmap-of-leaf",
  ],
  [
    "an unregistered range keeps its mm user",
    "hmm/range/range.dropUser reference: yield* mmput(",
    "coverage/hmm/whole-life",
  ],
  [
    "release without the mirrors' lock",
    "hmm/mirror/invalidate.hmmRelease lock: without yield* hmm.mirrorsSem",
    "patches/11/after",
  ],
  [
    "the flusher does not wait for stores",
    "sync/primitives/shootdown.Shootdown.flushExplored flush: yield* this.waitForStores(",
    "coverage/mm/store-vs-munmap-of-leaf",
  ],
  [
    "a flush raises no generation",
    "sync/primitives/shootdown.Shootdown.bump mark: ",
    "coverage/mm/load-vs-munmap-of-leaf",
  ],
];

/**
 * The mutants of the list, each with what people called it.
 *
 * @param {readonly Mutant[]} mutants All that there are.
 * @returns {{ readonly name: string, readonly mutant: Mutant, readonly scenario: string }[]}
 */
export function handMadeOf(mutants) {
  return handMade.map(([name, beginning, scenario]) => {
    const mutant = mutants.find(({ key }) => key.startsWith(beginning));
    if (mutant === undefined)
      throw new Error(
        `No mutant is called "${beginning}" any more (${name}): name the line in hand-made.mjs anew`,
      );
    return { name, mutant, scenario };
  });
}
