/**
 * @module The text that trace.c prints, as data. What the lines mean is said at the head of
 * trace.c.
 */

/**
 * An address: an offset in the window, in the space's guest, or from the end of addresses.
 * `undefined` where there is none.
 */
export interface Place {
  readonly base: "w" | "x" | "e";
  readonly offset: number;
}

/** One step of one address space, and what the kernel answered. */
export interface Step {
  readonly line: string;
  readonly space: number;
  readonly call: string;
  readonly args: readonly string[];
  /** The words behind "=". */
  readonly answer: readonly string[];
}

export interface Trace {
  readonly number: number;
  readonly seed: string;
  /** What a space may have: pages, or mappings. */
  readonly limit: { readonly of: "none" | "pages" | "mappings"; readonly count: number };
  readonly steps: readonly Step[];
}

export interface Traces {
  readonly kernel: string;
  readonly windowPages: number;
  /** The kernel has no page of zeros: which pages have a frame is not printed. */
  readonly zerosHaveFrames: boolean;
  readonly traces: readonly Trace[];
}

/**
 * A number or place in a line. Throws where the program and this reader disagree about the text.
 */
function expectMatch(text: string, pattern: RegExp): RegExpExecArray {
  const match = pattern.exec(text);
  if (match === null)
    throw new Error(`trace.c printed ${JSON.stringify(text)}, which is not ${String(pattern)}`);
  return match;
}

export function parsePlace(word: string): Place | undefined {
  if (word === "none") return undefined;
  const [, base, offset] = expectMatch(word, /^([wxe])(-?\d+)$/);
  return { base: base as Place["base"], offset: Number(offset) };
}

/** The word of a line, which is there if the line is what its call says. */
export function wordOf(words: readonly string[], index: number): string {
  const word = words[index];
  if (word === undefined) throw new Error(`trace.c printed too few words: ${words.join(" ")}`);
  return word;
}

function parseStep(line: string): Step {
  const [, space, call, args, answer] = expectMatch(line, /^(\d) (\w+)((?: \S+)*) =(.*)$/);
  const words = (text: string | undefined): string[] =>
    (text ?? "").split(" ").filter((word) => word !== "");
  return { line, space: Number(space), call: call ?? "", args: words(args), answer: words(answer) };
}

export function parseTraces(text: string): Traces {
  const [head, ...lines] = text.trimEnd().split("\n");
  const [, kernel, windowPages, zeros] = expectMatch(
    head ?? "",
    /^kernel (\S+) window (\d+) zeros (shared|own)$/,
  );
  const traces: (Trace & { readonly steps: Step[] })[] = [];
  for (const line of lines) {
    const begins = /^trace (\d+) of seed (\d+), limit (none|pages|mappings) (\d+)$/.exec(line);
    if (begins !== null) {
      const [, number, seed, of, count] = begins;
      const limit = { of: of as Trace["limit"]["of"], count: Number(count) };
      traces.push({ number: Number(number), seed: seed ?? "", limit, steps: [] });
    } else {
      traces.at(-1)?.steps.push(parseStep(line));
    }
  }
  const zerosHaveFrames = zeros === "own";
  return { kernel: kernel ?? "", windowPages: Number(windowPages), zerosHaveFrames, traces };
}
