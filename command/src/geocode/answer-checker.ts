/**
 * @module Checks answers one by one against a second opinion and against the census. Pure: it sees
 * copies of the answers and of the log, and would find a wrong one whoever had made it.
 *
 * Two cities at the same distance are both right, so distances are compared, not cities: both by
 * the same haversine formula over the published degrees. They may differ by one part in 10^9, and
 * by 10^-12 radian (6 micrometres) where that is more: coordinates on the unit sphere are rounded
 * to 10^-16, which near a city is more than a part in 10^9.
 */

import type { CensusHistory } from "./census-history.ts";
import type { CityList } from "./city-list.ts";
import {
  ANSWER_AFTER,
  ANSWER_BEFORE,
  ANSWER_BYTES,
  ANSWER_CITY,
  ANSWER_POPULATION,
  CITY_BYTES,
  CITY_INDEX,
  QUESTION_UNITS_PER_DEGREE,
  pointerAt,
} from "./layout.ts";
import { decodePopulation, isWhole } from "./population.ts";
import type { NearestCity } from "./reference.ts";
import { EARTH_RADIUS_KM, greatCircle } from "./sphere.ts";
import { addExample } from "./verdict.ts";
import type { Verdict } from "./verdict.ts";

const RELATIVE_TOLERANCE = 1e-9;
const ABSOLUTE_TOLERANCE_RADIANS = 1e-12;

/** A run of questions and their answers, copied out of the address space. */
export interface AnswerBlock {
  /** Number of the first question. */
  readonly first: number;
  readonly count: number;
  readonly questions: Int32Array;
  /** The same bytes twice. */
  readonly answersF64: Float64Array;
  readonly answersU32: Uint32Array;
}

/** What the checker knows about the world. */
export interface CheckerFacts {
  readonly cities: CityList;
  /** Address of the city records, and a copy of them. */
  readonly citiesAddress: number;
  readonly cityRecords: Uint32Array;
  readonly history: CensusHistory;
  readonly nearest: NearestCity;
}

export class AnswerChecker {
  private readonly facts: CheckerFacts;
  private readonly verdict: Verdict;

  /** Adds what it finds to `verdict`. */
  constructor(facts: CheckerFacts, verdict: Verdict) {
    this.facts = facts;
    this.verdict = verdict;
  }

  /** Checks all answers of `block`. */
  checkBlock(block: AnswerBlock): void {
    for (let place = 0; place < block.count; place++) this.checkAnswer(block, place);
  }

  /**
   * Checks one answer's city by `bruteForce` too. Only differences count: {@link checkBlock} has
   * counted the rest.
   */
  checkByBruteForce(block: AnswerBlock, place: number, bruteForce: NearestCity): void {
    const { verdict } = this;
    const [longitude, latitude] = questionAt(block, place);
    const city = this.cityAt(pointerAt(block.answersU32, place * U32_PER_ANSWER + ANSWER_CITY / 4));
    verdict.checkedByBruteForce++;
    if (city < 0) return; // counted already
    const claimed = this.distance(city, longitude, latitude);
    const nearest = bruteForce(longitude, latitude, claimed);
    if (this.isAsNear(city, nearest, longitude, latitude)) return;
    const bySecondOpinion = this.facts.nearest(longitude, latitude, claimed);
    if (!this.isAsNear(city, bySecondOpinion, longitude, latitude)) return; // counted already
    verdict.wrong++;
    this.reportWrongCity(block.first + place, city, nearest, longitude, latitude);
  }

  private checkAnswer(block: AnswerBlock, place: number): void {
    const { facts, verdict } = this;
    const [longitude, latitude] = questionAt(block, place);
    const question = block.first + place;
    const city = this.cityAt(pointerAt(block.answersU32, place * U32_PER_ANSWER + ANSWER_CITY / 4));
    verdict.checked++;
    if (city < 0) {
      verdict.wrong++;
      verdict.wrongCities++;
      addExample(verdict, `question ${question}: the answer points to no city`);
      return;
    }
    const nearest = facts.nearest(longitude, latitude, this.distance(city, longitude, latitude));
    let right = true;
    if (!this.isAsNear(city, nearest, longitude, latitude)) {
      right = false;
      this.reportWrongCity(question, city, nearest, longitude, latitude);
    }
    if (!this.checkPopulation(block, place, city)) right = false;
    if (!right) verdict.wrong++;
  }

  /** The population must be whole, and have been current at some moment of the question. */
  private checkPopulation(block: AnswerBlock, place: number, city: number): boolean {
    const { facts, verdict } = this;
    const read = decodePopulation(
      block.answersF64[place * F64_PER_ANSWER + ANSWER_POPULATION / 8]!,
    );
    const before = block.answersU32[place * U32_PER_ANSWER + ANSWER_BEFORE / 4]!;
    const after = block.answersU32[place * U32_PER_ANSWER + ANSWER_AFTER / 4]!;
    const whole = isWhole(read, facts.cities.populations[city]!);
    const currency = whole ? facts.history.judge(city, read.version, before, after) : "unknown";
    if (read.version > 0) verdict.rewrittenPopulations++;
    if (currency === "current") return true;
    if (currency === "stale") verdict.stalePopulations++;
    else if (currency === "premature") verdict.prematurePopulations++;
    else verdict.tornPopulations++;
    const what = currency === "unknown" ? "torn" : currency;
    const asked = `asked from tick ${before} to ${after}`;
    addExample(
      verdict,
      `question ${block.first + place}: ${what} population ${read.population}, version ${read.version}, of city ${city}, ${asked}`,
    );
    return false;
  }

  /** Index of the city whose record is at `address`, or -1 if there is none. */
  private cityAt(address: number): number {
    const { citiesAddress, cityRecords, cities } = this.facts;
    const slot = (address - citiesAddress) / CITY_BYTES;
    if (!Number.isInteger(slot) || slot < 0 || slot >= cities.count) return -1;
    const city = cityRecords[(slot * CITY_BYTES + CITY_INDEX) / 4]!;
    return city < cities.count ? city : -1;
  }

  private isAsNear(city: number, nearest: number, longitude: number, latitude: number): boolean {
    if (city === nearest) return true;
    const distance = this.distance(city, longitude, latitude);
    const least = this.distance(nearest, longitude, latitude);
    return (
      Math.abs(distance - least) <= Math.max(RELATIVE_TOLERANCE * least, ABSOLUTE_TOLERANCE_RADIANS)
    );
  }

  /** Radians. Not a number for a city that is none, which no comparison passes. */
  private distance(city: number, longitude: number, latitude: number): number {
    const { longitudes, latitudes } = this.facts.cities;
    return greatCircle(
      longitude,
      latitude,
      longitudes[city] ?? Number.NaN,
      latitudes[city] ?? Number.NaN,
    );
  }

  private reportWrongCity(
    question: number,
    city: number,
    nearest: number,
    longitude: number,
    latitude: number,
  ): void {
    this.verdict.wrongCities++;
    const kilometres = (index: number): string =>
      `${(this.distance(index, longitude, latitude) * EARTH_RADIUS_KM).toFixed(6)} km`;
    addExample(
      this.verdict,
      `question ${question} at ${latitude}, ${longitude}: city ${city} is ${kilometres(city)} away, ` +
        `city ${nearest} is ${kilometres(nearest)}`,
    );
  }
}

const F64_PER_ANSWER: number = ANSWER_BYTES / 8;
const U32_PER_ANSWER: number = ANSWER_BYTES / 4;

/** Longitude and latitude of the question at `place` of the block, degrees. */
function questionAt(
  block: AnswerBlock,
  place: number,
): readonly [longitude: number, latitude: number] {
  return [
    block.questions[2 * place]! / QUESTION_UNITS_PER_DEGREE,
    block.questions[2 * place + 1]! / QUESTION_UNITS_PER_DEGREE,
  ];
}
