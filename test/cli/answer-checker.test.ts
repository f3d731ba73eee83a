/**
 * The check of the answers: passes what the kernel answers, and catches every kind of fault that is
 * put in by hand.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { AnswerChecker } from "../../command/src/geocode/answer-checker.ts";
import type { CheckerFacts } from "../../command/src/geocode/answer-checker.ts";
import {
  CITY_BYTES,
  CITY_POPULATION,
  CONTROL_CLOCK,
  pointerAt,
  writePointer,
} from "../../command/src/geocode/layout.ts";
import {
  decodePopulation,
  encodePopulation,
  isWhole,
} from "../../command/src/geocode/population.ts";
import { makeQuestions } from "../../command/src/geocode/questions.ts";
import { bruteForceNearest } from "../../command/src/geocode/reference.ts";
import { emptyVerdict } from "../../command/src/geocode/verdict.ts";
import type { Verdict } from "../../command/src/geocode/verdict.ts";
import { factsOf, plainJob, randomCities, runKernel } from "./plain-job.ts";
import type { PlainJob } from "./plain-job.ts";

const F64_PER_ANSWER = 3;
const U32_PER_ANSWER = 6;

function answeredJob(): PlainJob {
  const job = plainJob(randomCities(11, 700), makeQuestions(12, 500));
  runKernel(job);
  return job;
}

function check(job: PlainJob, facts: CheckerFacts = factsOf(job)): Verdict {
  const verdict = emptyVerdict();
  new AnswerChecker(facts, verdict).checkBlock(job.block);
  return verdict;
}

function answeredAddress({ block }: PlainJob, question: number): number {
  return pointerAt(block.answersU32, question * U32_PER_ANSWER);
}

/** City index of the answer to `question`. */
function answeredCity(job: PlainJob, question: number): number {
  const address = answeredAddress(job, question);
  return job.world.citiesU32[((address - job.map.cities) / CITY_BYTES) * 4 + 2]!;
}

test("the kernel's answers pass", () => {
  const verdict = check(answeredJob());
  assert.deepEqual(verdict.examples, []);
  assert.equal(verdict.checked, 500);
  assert.equal(verdict.wrong, 0);
});

test("answers with another city, no city or half a pointer are caught (twin)", () => {
  const job = answeredJob();
  const { answersU32 } = job.block;
  const moveAnswer = (question: number, to: number): void =>
    writePointer(answersU32, question * U32_PER_ANSWER, to);
  const { cities } = job.map;
  moveAnswer(0, answeredAddress(job, 0) === cities ? cities + 300 * CITY_BYTES : cities);
  moveAnswer(1, 0);
  moveAnswer(2, answeredAddress(job, 2) + 4);
  moveAnswer(3, answeredAddress(job, 3) + 700 * CITY_BYTES);
  answersU32[4 * U32_PER_ANSWER + 1] = 2 ** 32 - 1; // the upper half of another one
  const verdict = check(job);
  assert.equal(verdict.wrong, 5);
  assert.equal(verdict.wrongCities, 5);
  assert.equal(verdict.tornPopulations, 1, "the population that was read is not the other city's");
  assert.match(verdict.examples[0]!, /question 0 at .* km away/);
});

test("brute force finds a wrong city that the second opinion shares (twin)", () => {
  const job = answeredJob();
  const right = answeredCity(job, 0);
  const wrong = right === 0 ? 1 : 0;
  const slot = job.world.citiesU32.findIndex((word, at) => at % 4 === 2 && word === wrong) >> 2;
  writePointer(job.block.answersU32, 0, job.map.cities + slot * CITY_BYTES);
  job.block.answersF64[1] = encodePopulation(job.list.populations[wrong]!, 0);
  const facts = { ...factsOf(job), nearest: (): number => wrong };
  const verdict = emptyVerdict();
  const checker = new AnswerChecker(facts, verdict);
  checker.checkByBruteForce(job.block, 0, bruteForceNearest(job.list));
  assert.equal(verdict.wrong, 1);
  checker.checkByBruteForce({ ...job.block, first: 1 }, 1, () => answeredCity(job, 1));
  assert.deepEqual([verdict.wrong, verdict.checkedByBruteForce], [1, 2]);
});

/**
 * Rewrites the population of question 0's city to `version` while the clock stands at `clock`, then
 * asks again.
 */
function askAfterRewrite(version: number, clock: number): { job: PlainJob; city: number } {
  const job = answeredJob();
  const city = answeredCity(job, 0);
  const address = answeredAddress(job, 0);
  job.memory.f64.store(
    address + CITY_POPULATION,
    encodePopulation(job.list.populations[city]!, version),
  );
  job.memory.u32.store(job.map.control + CONTROL_CLOCK, clock);
  runKernel(job);
  return { job, city };
}

test("a population that was current at some moment of the question passes", () => {
  const { job, city } = askAfterRewrite(1, 2);
  const onlyOne = [city, 1, 1, 2];
  assert.equal(check(job, factsOf(job, onlyOne)).wrong, 0);
  // The rewrite to version 2 had begun when the question was asked, but had not ended.
  assert.equal(check(job, factsOf(job, [...onlyOne, city, 2, 2, 3])).wrong, 0);
  assert.ok(check(job, factsOf(job, onlyOne)).rewrittenPopulations > 0);
});

test("a population replaced before the question was asked is caught (twin)", () => {
  const { job, city } = askAfterRewrite(1, 4);
  const verdict = check(job, factsOf(job, [city, 1, 1, 2, city, 2, 3, 4]));
  assert.ok(verdict.stalePopulations > 0);
  assert.equal(verdict.wrong, verdict.stalePopulations);
  assert.match(verdict.examples[0]!, /stale population/);
});

test("a population that nobody had written yet, or never wrote, is caught (twin)", () => {
  const { job, city } = askAfterRewrite(1, 2);
  assert.ok(check(job, factsOf(job, [city, 1, 3, 4])).prematurePopulations > 0);
  assert.ok(check(job).tornPopulations > 0, "version 1 without a log entry");
});

test("every mixture of the halves of two cells is caught, and every cell passes (twin)", () => {
  const bytes = new DataView(new ArrayBuffer(8));
  const halves = (cell: number): [number, number] => {
    bytes.setFloat64(0, cell);
    return [bytes.getUint32(0), bytes.getUint32(4)];
  };
  for (const base of [0, 1, 1052, 22_315_474]) {
    for (const [one, two] of [
      [0, 1],
      [1, 2],
      [3, 4],
      [1023, 1024],
      [65535, 65536],
      [7, 1_048_575],
    ] as const) {
      const [highOne, lowOne] = halves(encodePopulation(base, one));
      const [highTwo, lowTwo] = halves(encodePopulation(base, two));
      const join = (high: number, low: number): number => {
        bytes.setUint32(0, high);
        bytes.setUint32(4, low);
        return bytes.getFloat64(0);
      };
      assert.deepEqual(decodePopulation(join(highOne, lowOne)), {
        population: base + one,
        version: one,
      });
      assert.ok(isWhole(decodePopulation(join(highOne, lowOne)), base));
      assert.ok(
        !isWhole(decodePopulation(join(highOne, lowTwo)), base),
        `${base}: ${one} over ${two}`,
      );
      assert.ok(
        !isWhole(decodePopulation(join(highTwo, lowOne)), base),
        `${base}: ${two} over ${one}`,
      );
    }
  }
  assert.ok(!isWhole(decodePopulation(0), 0), "memory that nobody wrote");
  assert.ok(!isWhole(decodePopulation(Number.NaN), 0));
  assert.ok(!isWhole(decodePopulation(encodePopulation(5, 1)), 6), "another city's population");
});

test("answers vary with the question: a kernel that always says the same fails (twin)", () => {
  const job = answeredJob();
  for (let question = 1; question < 500; question++) {
    for (let field = 0; field < F64_PER_ANSWER; field++) {
      job.block.answersF64[question * F64_PER_ANSWER + field] = job.block.answersF64[field]!;
    }
  }
  assert.ok(check(job).wrongCities > 400);
  assert.equal(job.block.answersU32.length, 500 * U32_PER_ANSWER);
});
