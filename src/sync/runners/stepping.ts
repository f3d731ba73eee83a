/**
 * @module Stepping forms: a plain function is written once, and is still explored access by access.
 *
 * What must be fast (a page-table walk, a load that hits) is a plain function, which no scheduler
 * can interrupt. So a step of the build (scripts/derive-steps.mjs) derives a generator, the
 * stepping form, from each function marked `@stepped`. It has the same text, but every access to
 * memory that threads share is one of the functions that this module passes on (stepping/). Such a
 * function offers the access to the explorer as a step, and makes it when the explorer resumes the
 * task. Only the checker runs the derived graph of modules, and only derived modules import this
 * one. Nobody writes a second body, so the two cannot differ.
 *
 * `@spelled` marks functions inside a primitive. An explorer normally performs an operation of a
 * primitive as one step. It uses their stepping forms only if the scenario asks for that.
 */

export * from "./stepping/accesses.ts";
export * from "./stepping/calls.ts";
export * from "./stepping/futexes.ts";
export * from "./stepping/noted.ts";
export { isSpelledOut } from "./stepping/offered.ts";
