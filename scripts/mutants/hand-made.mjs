/**
 * @module The sixteen lines that people broke by hand when they tried the product. Each is one of the mutants; one that fits none any more is an
 * error, so that none goes away unseen.
 */

/** @typedef {import("./find.mjs").Mutant} Mutant */

/** What was broken, and the beginning of the mutant's key. @type {readonly (readonly [string, string])[]} */
export const handMade = [
  ["flush of a tracked entry before its frame is copied", "mm/fault.writeProtectedPrivate flush: "],
  ["flush after the exchange of a copy-on-write", "mm/fault.replaceByCopy flush: "],
  ["flush at the end of a leaf in fork", "mm/fork.copyEntries flush: "],
  ["fork leaves the parent's entries writable", "mm/fork.copyEntry mark: atomicExchange(words, from, "],
  ["poison of an unregistered range", "hmm/range.leaveRegistration mark: record.hmm = RANGE_POISON;"],
  ["the device's invalidate does nothing", "devices/software/mirror-ops.invalidate callback: "],
  ["`hmmRangeValid` compares nothing", "hmm/valid.isStillArmed answer: "],
  [
    "drivers called before the ranges are marked",
    "hmm/invalidate.hmmInvalidateRangeStart order: const answer = yield* callMirrors",
  ],
  ["a refused start does not unwind", "hmm/invalidate.hmmInvalidateRangeStart step: yield* notifiersDecrement("],
  ["nobody woken at the end of an invalidation", "hmm/invalidate.notifiersDecrement wake: "],
  ["the hmm looked up without its lock", "hmm/get-or-create.hmmGet lock: "],
  ["frames given back before the flush (zap)", "mm/zap.visit order: for (const pfn of frames)"],
  ["an unregistered range keeps its mm user", "hmm/range.leaveRegistration reference: yield* mmput("],
  ["release without the mirrors' lock", "hmm/invalidate.hmmRelease lock: without yield* hmm.mirrorsSem"],
  ["the flusher does not wait for stores", "sync/shootdown.Shootdown.flushExplored flush: yield* this.waitForStores("],
  ["a flush raises no generation", "sync/shootdown.Shootdown.bump mark: "],
];

/**
 * The mutants of the list, each with what people called it.
 *
 * @param {readonly Mutant[]} mutants All that there are.
 * @returns {{ readonly name: string, readonly mutant: Mutant }[]}
 */
export function handMadeOf(mutants) {
  return handMade.map(([name, beginning]) => {
    const mutant = mutants.find(({ key }) => key.startsWith(beginning));
    if (mutant === undefined)
      throw new Error(`No mutant is called "${beginning}" any more (${name}): name the line in hand-made.mjs anew`);
    return { name, mutant };
  });
}
