/**
 * @module One thread of the plain side of the geocode figure: answers questions from typed arrays
 * until none is left, as often as it is told.
 */

import { parentPort, workerData } from "node:worker_threads";
import { QUESTION_UNITS_PER_DEGREE } from "../command/src/geocode/layout.ts";
import { type PlainTree, searchPlain } from "../command/src/geocode/nearest-plain.ts";
import { writeUnitVector } from "../command/src/geocode/sphere.ts";

/** What the thread works on. All of it is shared. */
export interface PlainJob {
  readonly tree: PlainTree;
  /** Longitude and latitude in turns. */
  readonly questions: Int32Array;
  /** Where the nearest city is, and its population. */
  readonly answers: Float64Array;
  /** One word: the next question. */
  readonly next: Int32Array;
}

/** As many as a device thread takes at once. */
const CHUNK = 256;
const F64_PER_ANSWER = 2;

const { tree, questions, answers, next } = workerData as PlainJob;
const place = new Float64Array(3);

function answerAll(): void {
  const count = questions.length / 2;
  for (;;) {
    const start = Atomics.add(next, 0, CHUNK);
    if (start >= count) return;
    const end = Math.min(start + CHUNK, count);
    for (let item = start; item < end; item++) answer(item);
  }
}

function answer(item: number): void {
  const longitude = questions[2 * item]! / QUESTION_UNITS_PER_DEGREE;
  const latitude = questions[2 * item + 1]! / QUESTION_UNITS_PER_DEGREE;
  writeUnitVector(longitude, latitude, place, 0);
  const city = searchPlain(tree, place);
  answers[F64_PER_ANSWER * item] = city;
  answers[F64_PER_ANSWER * item + 1] = tree.citiesF64[city / 8]!;
}

parentPort?.on("message", () => {
  answerAll();
  parentPort?.postMessage("done");
});
