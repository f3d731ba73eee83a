/**
 * @module Makes a program that fails as small as it can be: takes away whatever may go while it
 * still fails.
 */

import { inner, withInner } from "./language.ts";
import type { Op, Program } from "./language.ts";

/**
 * The smallest program that is reached from this one by taking things away, and of which `fails` is
 * true.
 */
export function shrink(program: Program, fails: (program: Program) => boolean): Program {
  for (let smallest = program; ;) {
    const smaller = smallerOnes(smallest).find((candidate) => fails(candidate));
    if (smaller === undefined) return smallest;
    smallest = smaller;
  }
}

/** Programs with one thing less, those with the most taken away first. */
function smallerOnes(program: Program): Program[] {
  const { tasks } = program;
  const withTasks = (changed: readonly (readonly Op[])[]): Program => ({
    ...program,
    tasks: changed,
  });
  const fewer = tasks.length > 1 ? tasks.map((_, task) => withTasks(tasks.toSpliced(task, 1))) : [];
  const shorter = tasks.flatMap((ops, task) =>
    lists(ops).map((less) => withTasks(tasks.with(task, less))),
  );
  const stricter: Program[] = [];
  if (program.deaths > 0) stricter.push({ ...program, deaths: 0 });
  if (program.spurious !== 0) stricter.push({ ...program, spurious: 0 });
  if (program.wakeAny) stricter.push({ ...program, wakeAny: false });
  if (program.timeouts !== null) stricter.push({ ...program, timeouts: null });
  if (!program.names) stricter.push({ ...program, names: true });
  return [...fewer, ...shorter, ...stricter];
}

/** A list with an operation less, or with one that is simpler. */
function lists(ops: readonly Op[]): (readonly Op[])[] {
  return ops.flatMap((op, i) => {
    const without = ops.toSpliced(i, 1);
    const then = inner(op);
    const opened = then.length === 0 ? [] : [ops.toSpliced(i, 1, ...then)];
    return [without, ...opened, ...simpler(op).map((other) => ops.with(i, other))];
  });
}

function simpler(op: Op): Op[] {
  const found = lists(inner(op)).map((then) => withInner(op, then));
  if ("timed" in op && op.timed) found.push({ ...op, timed: false });
  if (op.op === "lock" && op.keeps) found.push({ ...op, keeps: false });
  return found;
}
