/**
 * @module The program's text, cut into steps: what lies between two `yield`s of `program.ts` is one
 * step. A `yield` itself is not shown, nor what comes before the first.
 */

/** The lines of each step, without their indentation. */
export function listSteps(source: string): string[] {
  const lines = source.split("\n");
  const start = lines.findIndex((line) => line.startsWith("export async function* program("));
  if (start === -1) throw new Error("Cannot list the program: it has no function `program`");
  const end = lines.indexOf("}", start);
  const steps: string[][] = [];
  let isYield = false;
  for (const line of lines.slice(start + 1, end)) {
    if (line.startsWith("  yield ")) {
      isYield = true;
      steps.push([]);
    }
    if (!isYield) steps.at(-1)?.push(line.slice(2));
    if (line.endsWith(";")) isYield = false;
  }
  // The last yield says that the program has ended.
  return steps.slice(0, -1).map((step) => step.join("\n"));
}
