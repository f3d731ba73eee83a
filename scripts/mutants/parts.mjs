/**
 * @module The output of a part of a run (`--shard`), and the merge of parts: each mutant is in
 * exactly one part, and all parts must be there.
 */

import { readFileSync } from "node:fs";

/**
 * @typedef {import("./judge.mjs").Judgement} Judgement
 * @typedef {{ readonly part: number, readonly of: number }} Shard
 *
 * @typedef {object} Part
 * @property {1} mutants
 * @property {string} build
 * @property {string} question
 * @property {Shard} shard
 * @property {number} all
 * @property {Readonly<Record<string, Judgement>>} judged
 */

/**
 * Every `of`-th, beginning with number `part`.
 *
 * @template T
 * @param {readonly T[]} list
 * @param {Shard} shard
 */
export function shardOf(list, { part, of }) {
  return list.filter((_, i) => i % of === part - 1);
}

/**
 * @param {string} text `3/8`
 * @returns {Shard}
 */
export function readShard(text) {
  const [, part, of] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  const shard = { part: Number(part), of: Number(of) };
  if (shard.part >= 1 && shard.part <= shard.of) return shard;
  throw new Error(
    `Cannot use ${JSON.stringify(text)} as --shard: must be a part and how many there are, such as 3/8`,
  );
}

/**
 * @param {readonly string[]} paths
 * @returns {Part[]}
 */
export function readParts(paths) {
  return paths.map((path) => {
    const part = JSON.parse(readFileSync(path, "utf8"));
    if (part?.mutants === 1) return part;
    throw new Error(
      `Cannot add ${path}: it is no part of a run of mutants; make it with --shard and --json`,
    );
  });
}

/**
 * All judgements by key.
 *
 * @param {readonly Part[]} parts
 * @param {string} build The digest of the build that is here.
 */
export function addParts(parts, build) {
  const [first] = parts;
  if (first === undefined) throw new Error("Cannot add parts: there are none");
  const seen = new Set();
  for (const part of parts) {
    if (part.build !== build)
      throw new Error(
        "Cannot add parts: one is of other code than lies here; build what they were made of",
      );
    if (part.question !== first.question || part.shard.of !== first.shard.of) {
      throw new Error("Cannot add parts: they are of runs with other options");
    }
    if (seen.has(part.shard.part))
      throw new Error(`Cannot add parts: part ${part.shard.part} is there twice`);
    seen.add(part.shard.part);
  }
  if (seen.size !== first.shard.of)
    throw new Error(`Cannot add parts: ${seen.size} of ${first.shard.of} are there`);
  const judged = new Map(parts.flatMap((part) => Object.entries(part.judged)));
  if (judged.size !== first.all)
    throw new Error(
      `Cannot add parts: ${judged.size} of ${first.all} mutants were judged; let each part end`,
    );
  return judged;
}
