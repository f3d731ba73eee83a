/**
 * @module A schedule as a short printable token, for example `h1-a5b3~ab`.
 *
 * | in a token | meaning |
 * | --- | --- |
 * | a letter | a step of that task; tasks in their order are a to z, then A to E |
 * | a number | how many steps the task before it takes in a row |
 * | `~a` | the wait of task a times out |
 * | `!a` | task a gets a spurious wake |
 * | `Xa` | the thread of task a dies |
 * | `?a` | task a rechecks its wait after a death |
 * | `^ca` | a step of task a that wakes c, of the tasks that it could wake |
 */

import { TASK_LIMIT, WAKE, choiceOf, taskOf, transitionOf } from "../steps/trace.ts";
import type { Choice, Transition } from "../steps/trace.ts";

const PREFIX = "h1-";
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDE";
const marks: readonly string[] = ["", "~", "!", "X", "?"];

/** The schedule as a token. */
export function formatToken(schedule: readonly Transition[]): string {
  let token = PREFIX;
  for (let i = 0; i < schedule.length;) {
    const transition = schedule[i]!;
    let end = i + 1;
    while (schedule[end] === transition) end++;
    token += `${markOf(choiceOf(transition))}${LETTERS[taskOf(transition)] ?? "?"}${end - i > 1 ? end - i : ""}`;
    i = end;
  }
  return token;
}

function markOf(choice: Choice): string {
  return choice < WAKE ? (marks[choice] ?? "") : `^${LETTERS[choice - WAKE] ?? "?"}`;
}

function choiceOfMark(mark: string): Choice {
  return mark.startsWith("^") ? WAKE + LETTERS.indexOf(mark.slice(1)) : marks.indexOf(mark);
}

/** Steps of a schedule at most: far more than an execution may have. */
const STEPS_MAX = 1_000_000;

/** The schedule of a token. Throws SyntaxError for anything else. */
export function parseToken(token: string): Transition[] {
  const schedule: Transition[] = [];
  const shown = JSON.stringify(token.length > 60 ? `${token.slice(0, 60)}…` : token);
  if (!token.startsWith(PREFIX))
    throw new SyntaxError(`Cannot read the token ${shown}: it must begin with ${PREFIX}`);
  const pieces = /([~!X?]|\^[a-zA-E]|)([a-zA-E])(\d*)/y;
  pieces.lastIndex = PREFIX.length;
  while (pieces.lastIndex < token.length) {
    const at = pieces.lastIndex;
    const [whole, mark, letter, count] = pieces.exec(token) ?? [];
    if (whole === undefined || letter === undefined) {
      throw new SyntaxError(
        `Cannot read the token ${shown}: nothing known stands at character ${at + 1}`,
      );
    }
    const choice = choiceOfMark(mark ?? "");
    const transition = transitionOf(LETTERS.indexOf(letter) & TASK_LIMIT, choice);
    const steps = count === "" ? 1 : Number(count);
    if (schedule.length + steps > STEPS_MAX) {
      throw new SyntaxError(
        `Cannot read the token ${shown}: it stands for more than ${STEPS_MAX} steps`,
      );
    }
    for (let left = steps; left > 0; left--) schedule.push(transition);
  }
  return schedule;
}
