/**
 * @module devices/webgpu/wgsl/fuel
 * Loops that might not end are counted: `if (hmm_spent()) { break; }` goes to the beginning of
 * their bodies. So an invocation ends, whatever the kernel does, and a pass stays short.
 *
 * Short loops that count up to a number are not counted. But short loops in each other, or in a
 * function that is called in one, may add up to anything: then the inner one, or that of the
 * caller, is counted.
 *
 * Loops in which all invocations must meet (barriers, subgroups) are counted by a variable of their
 * function, `hmm_rounds`: who left one early would not come to the meeting, so all must leave in
 * the same round. They do, for WGSL lets them meet only where all take the same way; and the
 * compiler sees that they do, for it knows of a function's variable, not of a private one, that it
 * is the same for all. A further call of the function counts from 0 again.
 */

import type { Loop, WgslFunction, WgslText } from "./scan.ts";

/** Functions in which all invocations must meet. */
export const MEETING: RegExp = /^(?:\w+Barrier|workgroupUniformLoad|subgroup\w+|quad\w+|dpd\w+)$/u;

/** What is put into the user's text, and before which place. */
export interface TextInsertion {
  readonly at: number;
  readonly text: string;
}

export function fuelOf(wgsl: WgslText): TextInsertion[] {
  const meeting = callersOf(wgsl, (found) => hasMeeting(wgsl, found));
  const looping = callersOf(wgsl, ({ loops }) => loops.length > 0);
  const fuels: TextInsertion[] = [];
  for (const found of wgsl.functions) {
    /** Short loops around the one that comes next, and the rounds of each. */
    const around: { readonly endToken: number; readonly rounds: number }[] = [];
    let isTogether = false;
    for (const loop of found.loops) {
      while ((around.at(-1)?.endToken ?? Infinity) < loop.token) around.pop();
      const rounds = shortRoundsOf(wgsl, loop);
      const all = around.reduce((product, one) => product * one.rounds, rounds);
      if (all <= SHORT_ROUNDS && !mentions(wgsl, loop, (text) => looping.has(text)))
        around.push({ endToken: loop.endToken, rounds });
      else if (mentions(wgsl, loop, (text) => MEETING.test(text) || meeting.has(text))) {
        isTogether = true;
        const text = ` ${TOGETHER} { hmm_fuel = 0u; ${exitOf(loop, found)} }`;
        fuels.push({ at: loop.bodyAt, text });
      } else fuels.push({ at: loop.bodyAt, text: ` if (hmm_spent()) { ${exitOf(loop, found)} }` });
    }
    const bodyAt = wgsl.tokens[found.firstToken]?.end ?? 0;
    if (isTogether) fuels.push({ at: bodyAt, text: " var hmm_rounds = 0u;" });
  }
  return fuels;
}

const TOGETHER = "hmm_rounds++; if (hmm_rounds > hmm_u.fuel)";

/** Rounds of a loop that needs no fuel, with those of the short loops around it. */
const SHORT_ROUNDS = 4096;
const LITERAL = /^\d+[ui]?$/u;

/**
 * Rounds at most of `for (var i = 0; i < 64; i++)`, with numbers, where `i` is not changed inside;
 * Infinity: it is another loop.
 */
function shortRoundsOf(
  { tokens }: WgslText,
  { keyword, token, firstToken, endToken }: Loop,
): number {
  if (keyword !== "for") return Infinity;
  const header = tokens.slice(token + 2, firstToken - 2).map(({ text }) => text);
  const name = header[1] ?? "";
  const [start = "", end = ""] = [header[3], header[7]];
  const steps = header.slice(9).join(" ");
  const isCounted =
    header.slice(0, 9).join(" ") === `var ${name} = ${start} ; ${name} < ${end} ;` &&
    LITERAL.test(start) &&
    LITERAL.test(end) &&
    (steps === `${name} + +` || new RegExp(`^${name} \\+ = [1-9]\\d*[ui]?$`, "u").test(steps));
  if (!isCounted) return Infinity;
  for (let i = firstToken; i < endToken; i++) {
    if (tokens[i]?.text !== name) continue;
    const before = tokens[i - 1]?.text ?? "";
    const after = tokens.slice(i + 1, i + 3).map(({ text }) => text);
    if (before === "&" || changes(after)) return Infinity;
  }
  return Math.max(1, Number.parseInt(end, 10));
}

/** Whether what follows a name changes it: `=`, `+=`, `++` and their like, not `==`. */
function changes([first = "", second = ""]: readonly string[]): boolean {
  if (first === "=") return second !== "=";
  if (!"+-*/%&|^<>".includes(first)) return false;
  return second === "="
    ? first !== "<" && first !== ">"
    : second === first && "+-<>".includes(first);
}

/**
 * A `loop` that is left by `return` alone needs nothing behind it. With a `break` in it, a function
 * that returns something would lack its `return`.
 */
function exitOf({ keyword }: Loop, { returns }: WgslFunction): string {
  return keyword === "loop" && returns !== "" ? `return ${returns}();` : "break;";
}

/** The functions that `has` is true of, and those that call one of them, by way of others too. */
function callersOf(wgsl: WgslText, has: (found: WgslFunction) => boolean): Set<string> {
  const callers = new Set(wgsl.functions.filter(has).map(({ name }) => name));
  for (let grew = true; grew;) {
    grew = false;
    for (const found of wgsl.functions) {
      if (callers.has(found.name) || !mentions(wgsl, found, (text) => callers.has(text))) continue;
      callers.add(found.name);
      grew = true;
    }
  }
  return callers;
}

function hasMeeting(wgsl: WgslText, found: WgslFunction): boolean {
  return mentions(wgsl, found, (text) => MEETING.test(text));
}

/** Whether one of the words of a function or a loop is such a one. */
function mentions(
  { tokens }: WgslText,
  { firstToken, endToken }: Pick<Loop, "firstToken" | "endToken">,
  isSuch: (text: string) => boolean,
): boolean {
  for (let i = firstToken; i < endToken; i++) if (isSuch(tokens[i]?.text ?? "")) return true;
  return false;
}
