/**
 * @module devices/webgpu/wgsl/fuel
 * Loops that might not end are counted: `if (hmm_spent()) { break; }` goes to the beginning of
 * their bodies. So an invocation ends, whatever the kernel does, and a pass stays short.
 *
 * Short loops that count up to a number are not counted. But short loops in each other, or in a
 * function that is called in one, may add up to anything: then the inner one, or that of the
 * caller, is counted.
 *
 * Where invocations meet (barriers, subgroups), the compiler must see that all take the same way
 * there, and of a private variable, as `hmm_spent` has one, it knows nothing. So each loop of a
 * function in which they meet, itself or in what it calls, has a counter among the variables of the
 * function, `hmm_rounds0` and so on: where the user's loop is the same for all, the counter is, and
 * all leave in the same round. Not one counter for all of the loops: those that invocations leave
 * one by one would make it differ. Likewise in functions that are called in no loop, for what they
 * return may decide whether invocations meet. A function's counters begin from 0 with each call; so
 * in one that meets nowhere, and is called in a loop, `hmm_spent` counts.
 */

import {
  type Loop,
  type Token,
  type WgslFunction,
  type WgslText,
  bodyOf,
  closingOf,
} from "./scan.ts";

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
  const repeated = calledInLoops(wgsl);
  const fuels: TextInsertion[] = [];
  for (const found of wgsl.functions) {
    const isOwn = meeting.has(found.name) || (meeting.size > 0 && !repeated.has(found.name));
    const counters: string[] = [];
    /** Short loops around the one that comes next, and the rounds of each. */
    const around: { readonly endToken: number; readonly rounds: number }[] = [];
    for (const loop of found.loops) {
      while ((around.at(-1)?.endToken ?? Infinity) < loop.token) around.pop();
      const rounds = shortRoundsOf(wgsl, loop);
      const all = around.reduce((product, one) => product * one.rounds, rounds);
      if (all <= SHORT_ROUNDS && !mentions(wgsl, loop, (text) => looping.has(text))) {
        around.push({ endToken: loop.endToken, rounds });
        continue;
      }
      const exit = exitOf(wgsl, loop, found);
      if (isOwn) {
        const counter = `hmm_rounds${counters.length}`;
        counters.push(counter);
        const isSpent = `${counter}++; if (${counter} > hmm_u.fuel)`;
        fuels.push({ at: loop.bodyAt, text: ` ${isSpent} { hmm_fuel = 0u; ${exit} }` });
      } else fuels.push({ at: loop.bodyAt, text: ` if (hmm_spent()) { ${exit} }` });
    }
    const at = wgsl.tokens[found.firstToken]?.end ?? 0;
    const text = counters.map((counter) => ` var ${counter} = 0u;`).join("");
    if (text !== "") fuels.push({ at, text });
  }
  return fuels;
}

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
 * A loop that is left by `return` alone needs nothing behind it. With a `break` in it, a function
 * that returns something would lack its `return`. With a `return` in one that has a `break`, the
 * compiler would not see that all come to what is behind it; and `continuing` takes none.
 */
function exitOf({ tokens }: WgslText, loop: Loop, { returns }: WgslFunction): string {
  const isLeftByReturn = isEndless(tokens, loop) && !hasBreak(tokens, loop);
  return isLeftByReturn && returns !== "" ? `return ${returns}();` : "break;";
}

/** Whether the loop has no condition in its head. */
function isEndless(tokens: readonly Token[], { keyword, token }: Loop): boolean {
  if (keyword !== "for") return keyword === "loop";
  const close = closingOf(tokens, token + 1);
  let i = token + 2;
  while (i < close && tokens[i]?.text !== ";") i++;
  return tokens[i + 1]?.text === ";";
}

/** Whether a `break` leaves the loop, not one of those in it, and no `switch`. */
function hasBreak(tokens: readonly Token[], { firstToken, endToken }: Loop): boolean {
  for (let i = firstToken; i < endToken; i++) {
    const text = tokens[i]?.text ?? "";
    if (text === "break") return true;
    if (TAKES_BREAK.test(text)) i = closingOf(tokens, bodyOf(tokens, i, endToken));
  }
  return false;
}

const TAKES_BREAK = /^(?:for|while|loop|switch)$/u;

/** The functions that are called in a loop, and those that one of them calls. */
function calledInLoops(wgsl: WgslText): Set<string> {
  const called = new Set<string>();
  const note = (text: string): boolean => {
    called.add(text);
    return false; // all of them
  };
  for (const { loops } of wgsl.functions) for (const loop of loops) mentions(wgsl, loop, note);
  for (let known = -1; known !== called.size;) {
    known = called.size;
    for (const found of wgsl.functions) if (called.has(found.name)) mentions(wgsl, found, note);
  }
  return called;
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

/** Whether one of the words of a function's body, or of a loop and its head, is such a one. */
function mentions(
  { tokens }: WgslText,
  part: Loop | WgslFunction,
  isSuch: (text: string) => boolean,
): boolean {
  const first = "keyword" in part ? part.token : part.firstToken;
  for (let i = first; i < part.endToken; i++) if (isSuch(tokens[i]?.text ?? "")) return true;
  return false;
}
