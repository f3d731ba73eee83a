/**
 * @module Cases of Linux's HMM selftests about a device that reads and writes through its mirror:
 * anonymous memory, files, forks, an unmap meanwhile.
 */

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { callWorker } from "../worker-call.ts";
import type { ConformanceCase } from "./cases.ts";
import { INTS, N, PAGE, STD, bytesOf, negative, pattern } from "./fixture.ts";
import type { Fixture } from "./fixture.ts";
import type { UnmapInput, UnmapOrder } from "./unmap-worker.ts";

const ONCE = { cpages: N, faults: 1 } as const;

async function anonRead({ space, mirror }: Fixture): Promise<void> {
  const address = await space.mmap(STD);
  const expected = pattern().fill(0, 0, (2 * PAGE) / 4);
  space.writeSync(address + 2 * PAGE, bytesOf(expected.subarray((2 * PAGE) / 4)));
  await space.mprotect(address, STD, "read");
  assert.equal(space.i32.load(address + PAGE), 0);
  const seen = new Int32Array(INTS);
  assert.deepEqual(await mirror.read(address, seen), ONCE);
  assert.deepEqual(seen, expected);
}

async function anonReadProt(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const address = await fixture.mapFilled(pattern());
  const seen = negative();
  await space.mprotect(address, STD, "none");
  assert.deepEqual(await mirror.read(address, seen), { failed: "EFAULT" });
  await space.mprotect(address, STD, "read");
  assert.deepEqual(fixture.load(address, INTS), pattern());
  assert.deepEqual(seen, negative(), "nothing was delivered");
}

async function anonWrite(fixture: Fixture): Promise<void> {
  const address = await fixture.space.mmap(STD);
  assert.deepEqual(await fixture.mirror.write(address, pattern()), ONCE);
  assert.deepEqual(fixture.load(address, INTS), pattern());
}

async function anonWriteProt(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  const address = await space.mmap(STD, { protection: "read" });
  const one = await mirror.read(address, new Int32Array(PAGE / 4));
  assert.deepEqual(one, { cpages: 1, faults: 1 });
  assert.deepEqual(await mirror.write(address, pattern()), { failed: "EPERM" });
  assert.ok(fixture.load(address, INTS).every((int) => int === 0));
  await space.mprotect(address, STD, "read-write");
  assert.deepEqual(await mirror.write(address, pattern()), ONCE);
  assert.deepEqual(fixture.load(address, INTS), pattern());
}

async function anonWriteChildShared(fixture: Fixture): Promise<void> {
  const address = await fixture.space.mmap(STD, { shared: true });
  fixture.fill(address, pattern());
  await fixture.inChild(async (child, mirror) => {
    assert.deepEqual(fixture.load(address, INTS, child), pattern());
    assert.deepEqual(await mirror.write(address, negative()), ONCE);
    assert.deepEqual(fixture.load(address, INTS, child), negative());
  });
  assert.deepEqual(fixture.load(address, INTS), negative(), "no copy on write");
}

async function inFile(body: (path: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "hmm-conformance-"));
  try {
    await body(join(folder, "file"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function fileRead({ space, mirror }: Fixture): Promise<void> {
  return inFile(async (path) => {
    writeFileSync(path, bytesOf(pattern()));
    const address = await space.mmap(STD, { source: path, shared: true, protection: "read" });
    const seen = new Int32Array(INTS);
    assert.deepEqual(await mirror.read(address, seen), ONCE);
    assert.deepEqual(seen, pattern());
    await space.munmap(address, STD);
  });
}

/** Linux's page cache is the file. Ours is written to it by msync. */
function fileWrite(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  return inFile(async (path) => {
    writeFileSync(path, new Uint8Array(STD));
    const address = await space.mmap(STD, { source: path, shared: true });
    assert.deepEqual(await mirror.write(address, pattern()), ONCE);
    assert.deepEqual(fixture.load(address, INTS), pattern());
    await space.msync(address, STD);
    assert.deepEqual(new Uint8Array(readFileSync(path)), bytesOf(pattern()));
    await space.munmap(address, STD);
  });
}

async function anonReadMultiple(fixture: Fixture): Promise<void> {
  for (let c = 0; c < 10; c++) {
    const address = await fixture.mapFilled(pattern(INTS, c));
    const seen = new Int32Array(INTS);
    assert.deepEqual(await fixture.mirror.read(address, seen), ONCE);
    assert.deepEqual(seen, pattern(INTS, c));
    await fixture.space.munmap(address, STD);
  }
}

/** Any error is right, and a success with all that was there; and it ends. */
async function anonTeardown(fixture: Fixture): Promise<void> {
  const { space, mirror } = fixture;
  let wake = (): void => {};
  const heard = (): Promise<void> => new Promise((resolve) => void (wake = resolve));
  const ready = heard();
  const input: UnmapInput = { handle: space.handle };
  const url = new URL("./unmap-worker.js", import.meta.url);
  const unmapper = callWorker<undefined>(url, input, () => wake());
  await ready;
  for (let c = 0; c < 10; c++) {
    const address = await fixture.mapFilled(pattern(INTS, c));
    const unmapped = heard();
    const order = { pauseMs: Math.random() * 4, address: address + STD / 2, lengthBytes: STD / 2 };
    unmapper.send(order satisfies UnmapOrder);
    const seen = new Int32Array(INTS);
    const answer = await mirror.read(address, seen);
    await unmapped;
    await space.munmap(address, STD);
    if (answer.failed !== undefined) continue;
    assert.equal(answer.cpages, N);
    assert.deepEqual(seen, pattern(INTS, c));
  }
  unmapper.send(undefined);
  await unmapper.result;
}

/** The pages are served by the program, one by one, when they are touched: a mapping's source. */
async function userfaultfdRead({ space, mirror }: Fixture): Promise<void> {
  const source = {
    lengthBytes: 4 * PAGE,
    read: (_offsetBytes: number, into: Uint8Array): void => void into.fill(0xab),
  };
  const address = await space.mmap(4 * PAGE, { source });
  const seen = new Int32Array(PAGE);
  const { failed, cpages } = await mirror.read(address, seen);
  assert.deepEqual([failed, cpages], [undefined, 4]);
  assert.ok(bytesOf(seen).every((byte) => byte === 0xab));
  await space.munmap(address, 4 * PAGE);
}

export const accessCases: readonly ConformanceCase[] = [
  { fixture: "hmm", name: "open_close", run: () => Promise.resolve() },
  { fixture: "hmm", name: "anon_read", run: anonRead },
  { fixture: "hmm", name: "anon_read_prot", run: anonReadProt },
  { fixture: "hmm", name: "anon_write", run: anonWrite },
  { fixture: "hmm", name: "anon_write_prot", run: anonWriteProt },
  { fixture: "hmm", name: "anon_write_child_shared", run: anonWriteChildShared },
  { fixture: "hmm", name: "file_read", run: fileRead },
  { fixture: "hmm", name: "file_write", run: fileWrite },
  { fixture: "hmm", name: "anon_read_multiple", run: anonReadMultiple },
  { fixture: "hmm", name: "anon_teardown", run: anonTeardown },
  { fixture: "hmm", name: "userfaultfd_read", run: userfaultfdRead },
];
