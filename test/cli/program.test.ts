/** The `hmm` command as its users meet it: what it prints, where, and its exit status. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { runProgram } from "../../command/src/program.ts";
import { capturedTerminal } from "./captured-terminal.ts";
import { hmm } from "./run-hmm.ts";

test("hmm --version prints the version of package.json", async () => {
  const manifest = new URL(import.meta.resolve("hmm-ts/package.json"));
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  assert.deepEqual(await hmm("--version"), { status: 0, out: `${version}\n`, err: "" });
});

test("hmm, hmm --help and hmm run geocode --help show help on standard output", async () => {
  const help = await hmm();
  assert.deepEqual(help, await hmm("--help"));
  assert.equal(help.status, 0);
  assert.match(help.out, /Usage: hmm .*run/s);
  const geocode = await hmm("run", "geocode", "--help");
  assert.deepEqual([geocode.status, geocode.err], [0, ""]);
  for (const option of ["points", "memory", "budget", "threads", "seed", "device", "json"]) {
    assert.ok(geocode.out.includes(`--${option}`), option);
  }
});

test("hmm run lists the workloads", async () => {
  const { status, out, err } = await hmm("run");
  assert.deepEqual([status, err], [0, ""]);
  assert.match(out, /geocode .*nearest city/);
});

const REFUSED: readonly (readonly [args: string, says: RegExp])[] = [
  ["frobnicate", /Unknown command 'frobnicate'; `hmm --help` shows/],
  ["--frobnicate", /Unknown option '--frobnicate'; `hmm --help` shows/],
  ["rnu", /\(Did you mean run\?\)/],
  ["run frobnicate", /Unknown workload 'frobnicate'; `hmm run` lists them/],
  [
    "run geocode --sed 3",
    /Unknown option '--sed' \(Did you mean --seed\?\); `hmm run geocode --help` shows/,
  ],
  ["run geocode extra", /Too many arguments/],
  ["run geocode --points", /argument missing/],
  [
    "run geocode --points 0",
    /Cannot use '0' as --points: must be a whole number from 1 to 16777216/,
  ],
  ["run geocode --points -5", /Cannot use '-5' as --points/],
  ["run geocode --points 1e6", /Cannot use '1e6' as --points/],
  ["run geocode --points 1.5", /Cannot use '1.5' as --points/],
  ["run geocode --points 99999999999999999999", /must be a whole number/],
  ["run geocode --points NaN", /Cannot use 'NaN'/],
  ["run geocode --threads 0", /--threads: must be a whole number from 1 to 32/],
  ["run geocode --threads 1000", /--threads: must be/],
  ["run geocode --seed -1", /--seed: must be a whole number from 0 to 4294967295/],
  ["run geocode --seed 4294967296", /--seed: must be/],
  ["run geocode --budget 0", /--budget: must be a size such as 2MiB, .* from 64 KiB to 1 GiB/],
  ["run geocode --budget 2MB", /--budget: must be a size/],
  ["run geocode --budget lots", /Cannot use 'lots' as --budget/],
  [
    "run geocode --memory 2MiB",
    /--memory: must be remote or private or coherent; a size is given by/,
  ],
  ["run geocode --memory shared", /Cannot use 'shared' as --memory: must be remote or private/],
  ["run file", /Missing required argument 'path'/],
  ["run file /no/such/file", /Cannot analyze '\/no\/such\/file': there is no such file/],
  ["run file .", /Cannot analyze '\.': it is no regular file/],
  ["run file /dev/null", /it is no regular file/],
  ["run file package.json --ram 10", /--ram: must be a size .* from 1 MiB to 16 GiB/],
  ["run file package.json README.md", /Too many arguments/],
  ["run geocode --budget 1TiB", /--budget: must be a size/],
  ["run geocode --budget 70000.5", /--budget: must be a size/],
  ["run geocode --device cuda", /Cannot use 'cuda' as --device: must be software/],
  ["run geocode --device \u001B[31mred", /Cannot use '\?\[31mred'/],
];

test("what does not exist is refused with one line that says what does, and exit status 2", async () => {
  for (const [args, says] of REFUSED) {
    const { status, out, err } = await hmm(...args.split(" "));
    assert.equal(status, 2, args);
    assert.equal(out, "", args);
    assert.match(err, says, args);
    assert.match(err, /^hmm: [A-Z][^\n]*\n$/, args);
  }
});

test("colours go to terminals only, and not where NO_COLOR is set", async () => {
  const colored = capturedTerminal(true);
  await runProgram(["frobnicate"], colored);
  assert.ok(colored.text.err.includes("\u001B["));
  for (const terminal of [capturedTerminal(true, { NO_COLOR: "1" }), capturedTerminal(false)]) {
    await runProgram(["frobnicate"], terminal);
    assert.ok(!terminal.text.err.includes("\u001B["));
  }
});
