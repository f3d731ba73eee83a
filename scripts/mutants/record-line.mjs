/**
 * @module What is known of a mutant as one line of text for people and for the record, and back.
 */

import { NOT_RUN } from "./judge.mjs";

/**
 * @typedef {import("./judge.mjs").Judgement} Judgement
 * @typedef {import("./judge.mjs").Opinion} Opinion
 *
 * @typedef {object} Known
 * @property {string} digest Of the function that was mutated and of what was done to it.
 * @property {string} date When it was tried.
 * @property {string} beside If no scenario noticed it: of what else that depends on.
 * @property {Judgement} judgement
 */

const BETWEEN = " | ";
const LINE = /^([0-9a-f]+) (\d{4}-\d\d-\d\d) (.*?)(?: beside ([0-9a-f]+))?$/;

/** @param {Known} known */
export function lineOf({ digest, date, beside, judgement: { check, tests } }) {
  const said = [check, tests].filter(({ answer }) => answer !== "not run").map(textOf);
  return `${digest} ${date} ${said.join(BETWEEN)}${beside === "" ? "" : ` beside ${beside}`}`;
}

/**
 * @param {string} line
 * @returns {Known | undefined} Undefined if it is no such line.
 */
export function knownOf(line) {
  const [, digest, date, said, beside = ""] = LINE.exec(line) ?? [];
  if (digest === undefined || date === undefined || said === undefined) return undefined;
  const [check, tests] = said.split(BETWEEN).map(opinionOf);
  if (check === undefined) return undefined;
  return { digest, date, beside, judgement: { check, tests: tests ?? NOT_RUN } };
}

/** @param {Opinion} opinion */
function textOf({ answer, by, why, tried, of, seconds }) {
  if (answer === "unreached") return "unreached";
  if (answer === "silent") return `silent: ${tried} of ${of} in ${seconds} s`;
  return `${answer}: ${by}: ${why.replaceAll(/[\s|]+/g, " ")}`;
}

/**
 * @param {string} text
 * @returns {Opinion | undefined}
 */
function opinionOf(text) {
  if (text === "unreached") return { ...NOT_RUN, answer: "unreached" };
  const [, tried, of, seconds] = /^silent: (\d+) of (\d+) in ([\d.]+) s$/.exec(text) ?? [];
  if (tried !== undefined) {
    const counts = { tried: Number(tried), of: Number(of), seconds: Number(seconds) };
    return { ...NOT_RUN, answer: "silent", ...counts };
  }
  const [, answer, by, why] = /^(noticed|time-out): (\S*): (.*)$/.exec(text) ?? [];
  if (by === undefined || why === undefined) return undefined;
  return { ...NOT_RUN, answer: answer === "noticed" ? "noticed" : "time-out", by, why };
}
