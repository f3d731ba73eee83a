/**
 * `hmm conformance`: all of Linux's HMM selftests that run here, by name; and that a case which is
 * wrong is said to be so.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import type { ConformanceCase } from "../../command/src/conformance/cases.ts";
import { conform } from "../../command/src/conformance/conformance-command.ts";
import { EXIT_OK, EXIT_USAGE, EXIT_WRONG } from "../../command/src/exit-status.ts";
import { runProgram } from "../../command/src/program.ts";
import { capturedTerminal } from "./captured-terminal.ts";

interface Report {
  readonly suiteCases: number;
  readonly casesHere: number;
  readonly moreCases: number;
  readonly failed: number;
  readonly results: readonly { readonly name: string; readonly message?: string }[];
}

test("every case that is in the table passes, and the command says how many of the suite's there are", async () => {
  const terminal = capturedTerminal();
  const status = await runProgram(["conformance", "--json"], terminal);
  const { suiteCases, casesHere, moreCases, failed, results } = JSON.parse(
    terminal.text.out,
  ) as Report;
  const wrong = results.filter(({ message }) => message !== undefined);
  assert.deepEqual(wrong, []);
  assert.deepEqual([status, failed, suiteCases, casesHere], [EXIT_OK, 0, 78, 78]);
  assert.equal(results.length, casesHere + moreCases);
  const names = new Set(results.map(({ name }) => name));
  assert.equal(names.size, casesHere + moreCases, "each has a name of its own");
  for (const name of [
    "hmm.migrate_fault",
    "hmm2.snapshot",
    "hmm.exclusive_cow",
    "beyond.device_full",
  ])
    for (const kind of ["device_private", "device_coherent"])
      assert.ok(names.has(`${name}/${kind}`), `${name} on ${kind}`);
});

test("a case that is wrong is named, with why, and the exit status is 1", async () => {
  const wrong: ConformanceCase = {
    fixture: "hmm",
    name: "wrong",
    async run({ space, mirror }) {
      const address = await space.mmap(4096, { shared: true });
      assert.deepEqual(await mirror.migrateToDevice(address, 1), { cpages: 1, faults: 0 });
    },
  };
  const terminal = capturedTerminal();
  const context = { terminal, exitStatus: EXIT_OK };
  await conform([wrong], [], {}, context);
  assert.equal(context.exitStatus, EXIT_WRONG);
  assert.match(terminal.text.out, /FAILED hmm\.wrong\/device_private \d+ ms\n +Expected/);
  assert.match(
    terminal.text.out,
    /0 passed, 2 failed; of the suite's 78 cases 2 run here, and 0 more/,
  );
});

test("a prefix that no case has is refused", async () => {
  const terminal = capturedTerminal();
  assert.equal(await runProgram(["conformance", "hmm.nothing"], terminal), EXIT_USAGE);
  assert.match(terminal.text.err, /No case begins with 'hmm\.nothing'/);
});
