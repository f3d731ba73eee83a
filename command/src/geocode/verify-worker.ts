/** @module A thread that checks a run of answers (verify.ts). Entry file of a Worker. */

import { AddressSpace } from "../../../src/index.ts";
import { answerCall } from "../worker-call.ts";
import { AnswerChecker } from "./answer-checker.ts";
import type { AnswerBlock } from "./answer-checker.ts";
import { CensusHistory } from "./census-history.ts";
import { ANSWER_BYTES, CITY_BYTES, LOG_BYTES, QUESTION_BYTES } from "./layout.ts";
import { Random } from "./random.ts";
import { bruteForceNearest, referenceNearest } from "./reference.ts";
import { emptyVerdict } from "./verdict.ts";
import type { Verdict } from "./verdict.ts";
import type { VerifyInput } from "./verify.ts";

/** Answers that are read at once. */
const BLOCK_ANSWERS = 8192;

async function readBlock(
  space: AddressSpace,
  { map }: VerifyInput,
  first: number,
  count: number,
): Promise<AnswerBlock> {
  const questions = await readBytes(
    space,
    map.questions + first * QUESTION_BYTES,
    count * QUESTION_BYTES,
  );
  const answers = await readBytes(space, map.answers + first * ANSWER_BYTES, count * ANSWER_BYTES);
  return {
    first,
    count,
    questions: new Int32Array(questions.buffer),
    answersF64: new Float64Array(answers.buffer),
    answersU32: new Uint32Array(answers.buffer),
  };
}

async function readBytes(
  space: AddressSpace,
  address: number,
  lengthBytes: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(lengthBytes);
  if (lengthBytes > 0) await space.read(address, bytes);
  return bytes;
}

await answerCall(async (input: VerifyInput, call): Promise<Verdict> => {
  await using space = await AddressSpace.attach(input.handle);
  const { map, cities, first, end } = input;
  const cityRecords = await readBytes(space, map.cities, map.cityCount * CITY_BYTES);
  const log = await readBytes(space, map.log, input.rewrites * LOG_BYTES);
  const verdict = emptyVerdict();
  const checker = new AnswerChecker(
    {
      cities,
      citiesAddress: map.cities,
      cityRecords: new Uint32Array(cityRecords.buffer),
      history: new CensusHistory(new Uint32Array(log.buffer), map.cityCount),
      nearest: referenceNearest(cities, input.referenceIndex),
    },
    verdict,
  );
  for (let start = first; start < end; start += BLOCK_ANSWERS) {
    checker.checkBlock(await readBlock(space, input, start, Math.min(BLOCK_ANSWERS, end - start)));
    call.report(verdict.checked);
  }

  const bruteForce = bruteForceNearest(cities);
  const random = new Random(input.seed);
  const sample = Math.min(input.bruteForceSample, end - first);
  for (let turn = 0; turn < sample; turn++) {
    const question = first + random.nextBelow(end - first);
    checker.checkByBruteForce(await readBlock(space, input, question, 1), 0, bruteForce);
  }
  return verdict;
});
