/**
 * @module The tests that run inside a page: a page module (`*.page.ts`) registers them as it loads,
 * and the harness runs them in their order and carries the results back to node:test. It imports
 * nothing, so that it runs in any browser.
 */

export interface PageResult {
  readonly name: string;
  /** Undefined when it passed. */
  readonly error: string | undefined;
  /** What the test found out and the reader should see. */
  readonly notes: readonly string[];
}

type Note = (text: string) => void;

interface PageTest {
  readonly name: string;
  readonly timeoutMs: number;
  readonly run: (note: Note) => Promise<void> | void;
}

const registered: PageTest[] = [];

/** Registers one test. It fails when it throws or takes longer than `timeoutMs`. */
export function pageTest(name: string, run: PageTest["run"], timeoutMs = 30_000): void {
  registered.push({ name, run, timeoutMs });
}

/** Throws unless the condition holds. */
export function check(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Throws unless both are the same value. */
export function checkEqual(actual: unknown, expected: unknown, what: string): void {
  check(Object.is(actual, expected), `${what}: ${String(actual)}, expected ${String(expected)}`);
}

async function runOne({ name, run, timeoutMs }: PageTest): Promise<PageResult> {
  const notes: string[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`did not end within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    await Promise.race([Promise.resolve(run((text) => notes.push(text))), timeout]);
    return { name, error: undefined, notes };
  } catch (error) {
    return {
      name,
      error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      notes,
    };
  } finally {
    clearTimeout(timer);
  }
}

/** Called by the harness once the page module has loaded. */
export async function runPageTests(): Promise<PageResult[]> {
  const results: PageResult[] = [];
  for (const one of registered) results.push(await runOne(one));
  return results;
}
