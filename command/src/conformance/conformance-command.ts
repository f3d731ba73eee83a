/**
 * @module `hmm conformance`: Linux's HMM selftests by name, each on a device whose memory is
 * private and on one whose memory is coherent; and what the suite does not test. It says how many
 * of the suite's cases there are, and how many of them run here.
 */

import type { Command } from "commander";

import type { CommandContext } from "../command.ts";
import { EXIT_OK, EXIT_WRONG, UsageError } from "../exit-status.ts";
import { quote } from "../option-values.ts";
import { accessCases } from "./cases-access.ts";
import { beyondCases } from "./cases-beyond.ts";
import { hugeCases } from "./cases-huge.ts";
import { migrateCases } from "./cases-migrate.ts";
import { SUITE_TESTS } from "./cases.ts";
import type { ConformanceCase } from "./cases.ts";
import { deviceKinds, withFixture } from "./fixture.ts";
import type { DeviceKind } from "./fixture.ts";

const TIME_LIMIT_MS = 30_000;

interface Flags {
  readonly json?: true;
}

/** How one case ended. */
interface CaseResult {
  /** `hmm.anon_read/device_private`. */
  readonly name: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly message?: string;
}

export function addConformance(parent: Command, context: CommandContext): void {
  parent
    .command("conformance")
    .description("run Linux's HMM selftests by name, on a private and on a coherent device")
    .argument("[prefix...]", "only cases whose names begin so, such as hmm.migrate, hmm2 or beyond")
    .option("--json", "print one JSON object and nothing else on standard output")
    .action(
      async (prefixes: string[], flags: Flags) => await conform(allCases, prefixes, flags, context),
    );
}

const allCases: readonly ConformanceCase[] = [
  ...accessCases,
  ...migrateCases,
  ...hugeCases,
  ...beyondCases,
];

interface Chosen {
  readonly name: string;
  readonly kind: DeviceKind;
  readonly test: ConformanceCase;
}

function choose(cases: readonly ConformanceCase[], prefixes: readonly string[]): Chosen[] {
  const all = cases.flatMap((test) =>
    deviceKinds.map((kind) => ({ name: `${test.fixture}.${test.name}/${kind}`, kind, test })),
  );
  if (prefixes.length === 0) return all;
  for (const prefix of prefixes)
    if (!all.some(({ name }) => name.startsWith(prefix)))
      throw new UsageError(
        `No case begins with ${quote(prefix)}; \`hmm conformance\` runs them all`,
      );
  return all.filter(({ name }) => prefixes.some((prefix) => name.startsWith(prefix)));
}

/** Runs the cases whose names begin with one of the prefixes, or all of them. */
export async function conform(
  cases: readonly ConformanceCase[],
  prefixes: readonly string[],
  flags: Flags,
  context: CommandContext,
): Promise<void> {
  const { out, outColors } = context.terminal;
  const results: CaseResult[] = [];
  for (const chosen of choose(cases, prefixes)) {
    const result = await runCase(chosen);
    results.push(result);
    if (flags.json === true) continue;
    const word = result.ok ? outColors.green("ok    ") : outColors.red("FAILED");
    out.write(`${word} ${result.name} ${result.ms.toFixed(0)} ms\n`);
    if (result.message !== undefined) out.write(`       ${result.message}\n`);
  }
  const failed = results.filter(({ ok }) => !ok).length;
  const suiteCases = SUITE_TESTS * deviceKinds.length;
  const ofSuite = cases.filter(({ fixture }) => fixture.startsWith("hmm")).length;
  const casesHere = ofSuite * deviceKinds.length;
  const moreCases = (cases.length - ofSuite) * deviceKinds.length;
  out.write(
    flags.json === true
      ? `${JSON.stringify({ suiteCases, casesHere, moreCases, failed, results })}\n`
      : `\n${results.length - failed} passed, ${failed} failed; of the suite's ${suiteCases} cases ${casesHere} run here, and ${moreCases} more\n`,
  );
  context.exitStatus = failed === 0 ? EXIT_OK : EXIT_WRONG;
}

async function runCase({ name, kind, test }: Chosen): Promise<CaseResult> {
  const startMs = performance.now();
  const message = await failureOf(test, kind);
  const ms = performance.now() - startMs;
  return { name, ok: message === undefined, ms, ...(message === undefined ? {} : { message }) };
}

/** Why the case failed, in one line, or undefined. */
async function failureOf(test: ConformanceCase, kind: DeviceKind): Promise<string | undefined> {
  const limit = new AbortController();
  const late = new Promise<string>((resolve) => {
    const limitMs = test.timeLimitMs ?? TIME_LIMIT_MS;
    const timer = setTimeout(() => resolve(`took more than ${limitMs} ms`), limitMs);
    limit.signal.addEventListener("abort", () => clearTimeout(timer));
  });
  const run = withFixture(kind, test.fixture.endsWith("2") ? 2 : 1, test.run, test).then(
    () => undefined,
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
  const message = await Promise.race([run, late]);
  limit.abort();
  return message?.replaceAll(/\s+/g, " ");
}
