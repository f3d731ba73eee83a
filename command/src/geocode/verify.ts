/**
 * @module Checks all answers in several Workers, after the device has finished: each has a run of
 * questions, reads its answers out of the address space, and asks the second opinions
 * (reference.ts).
 */

import { availableParallelism } from "node:os";

import type { AddressSpace, AddressSpaceHandle } from "../../../src/index.ts";
import { callWorker } from "../worker-call.ts";
import type { CityList } from "./city-list.ts";
import type { GeocodeMap } from "./layout.ts";
import { buildReferenceIndex } from "./reference.ts";
import { addVerdict, emptyVerdict } from "./verdict.ts";
import type { Verdict } from "./verdict.ts";

/** Answers that brute force checks too, all Workers together. */
const BRUTE_FORCE_SAMPLE = 1000;

/**
 * Workers that check: as many as there are cores, up to this, and none for a handful of questions.
 */
const THREADS_MAX = 16;
const QUESTIONS_PER_THREAD = 1000;

/** One Worker's share: questions `first` to `end`. */
export interface VerifyInput {
  readonly handle: AddressSpaceHandle;
  readonly map: GeocodeMap;
  readonly cities: CityList;
  readonly referenceIndex: ArrayBufferLike;
  /** Entries in the census log. */
  readonly rewrites: number;
  readonly first: number;
  readonly end: number;
  readonly bruteForceSample: number;
  readonly seed: number;
}

export interface VerifyOptions {
  readonly rewrites: number;
  readonly seed: number;
  /** Hears how many answers have been checked. */
  readonly onProgress: (done: number) => void;
}

/** Checks every answer of the job. */
export async function verifyAnswers(
  space: AddressSpace,
  map: GeocodeMap,
  cities: CityList,
  { rewrites, seed, onProgress }: VerifyOptions,
): Promise<Verdict> {
  const threads = Math.min(
    THREADS_MAX,
    availableParallelism(),
    Math.ceil(map.questionCount / QUESTIONS_PER_THREAD),
  );
  const referenceIndex = buildReferenceIndex(cities);
  const doneOf = new Float64Array(threads);
  const calls = Array.from(doneOf, (_done, thread) => {
    const input: VerifyInput = {
      handle: space.handle,
      map,
      cities,
      referenceIndex,
      rewrites,
      first: Math.floor((map.questionCount * thread) / threads),
      end: Math.floor((map.questionCount * (thread + 1)) / threads),
      bruteForceSample: Math.ceil(BRUTE_FORCE_SAMPLE / threads),
      seed: seed + thread,
    };
    return callWorker<Verdict>(
      new URL("./verify-worker.js", import.meta.url),
      input,
      (done: number) => {
        doneOf[thread] = done;
        onProgress(doneOf.reduce((sum, part) => sum + part, 0));
      },
    );
  });
  const whole = emptyVerdict();
  // none is left behind when one fails
  await Promise.allSettled(calls.map(async (call) => await call.result));
  for (const call of calls) addVerdict(whole, await call.result);
  return whole;
}
