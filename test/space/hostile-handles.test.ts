/**
 * @module Handles that somebody else made: whatever their shape, `attach` answers with an HmmError,
 * changes nothing, and the machine goes on. The handles are those of another machine each, as a
 * thread that attaches for the first time would get them.
 */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { MessageChannel } from "node:worker_threads";
import * as fc from "fast-check";
import { AddressSpace, HmmError } from "../../src/index.ts";
import type { RamSectionHandle } from "../../src/memory/frames/ram-section.ts";
import type { AddressSpaceHandle } from "../../src/space/handle.ts";
import { PAGE } from "./fixture.ts";

const space: AddressSpace = AddressSpace.createSync({ ramBytes: 64 * PAGE, heapBytes: 2 ** 20 });
after(() => space.disposeSync());
const mapped: number = space.mmapSync(PAGE);
space.mmapSync(2 * PAGE, { buffer: new SharedArrayBuffer(2 * PAGE) });
space.u32.store(mapped, 7);

/** The heap of a machine that this thread is not on any more: its handle is read anew. */
function makeStrange(): AddressSpaceHandle {
  const other = AddressSpace.createSync({ ramBytes: 64 * PAGE, heapBytes: 2 ** 20 });
  other.mmapSync(2 * PAGE, { buffer: new SharedArrayBuffer(2 * PAGE) });
  const { handle } = other;
  other.disposeSync();
  return handle;
}

const strange: AddressSpaceHandle = makeStrange();

/** The code with which the handle is refused. */
async function refusalOf(handle: unknown): Promise<string> {
  let code = "";
  for (const form of ["attach", "attachSync"] as const) {
    try {
      await AddressSpace[form](handle as AddressSpaceHandle);
      return "attached";
    } catch (error) {
      if (!(error instanceof HmmError)) throw error;
      code = error.code;
    }
  }
  return code;
}

function withSection(at: number, section: unknown): unknown {
  const sections: unknown[] = [...strange.machine.sections];
  sections[at] = section;
  return { ...strange, machine: { ...strange.machine, sections } };
}

function changedSection(
  at: number,
  fields: Partial<Record<keyof RamSectionHandle, unknown>>,
): unknown {
  return withSection(at, { ...strange.machine.sections[at], ...fields });
}

test("an untouched handle of a space that is gone is refused as that, not as damaged", async () => {
  assert.equal(await refusalOf(strange), "ESTALE");
});

const ROWS: readonly (readonly [what: string, handle: unknown])[] = [
  ["nothing", undefined],
  ["null", null],
  ["a promise", Promise.resolve(strange)],
  ["an empty object", {}],
  ["a proxy that throws", new Proxy({}, { get: () => assert.fail("no field is readable") })],
  ["another kind", { ...strange, kind: "hmm-ts/driver" }],
  ["another version", { ...strange, version: 2 }],
  ["a machine's id that is none", { ...strange, machineId: { toString: 1 } }],
  ["another machine's id", { ...strange, machineId: "0".repeat(16) }],
  ["no machine", { ...strange, machine: null }],
  ["no space", { ...strange, space: Number.NaN }],
  ["a heap that is a number", { ...strange, machine: { ...strange.machine, heap: 2 ** 31 } }],
  ["an empty heap", heapOf(new SharedArrayBuffer(0))],
  ["a heap of zeros", heapOf(new SharedArrayBuffer(2 ** 20))],
  ["no sections", { ...strange, machine: { ...strange.machine, sections: [] } }],
  ["sections that are none", { ...strange, machine: { ...strange.machine, sections: [null] } }],
  ["sections with a hole", { ...strange, machine: { ...strange.machine, sections: Array(3) } }],
  ...[2 ** 20, 2 ** 24, 2 ** 31].map(
    (bytes) =>
      [`a section's buffer that is ${bytes}`, changedSection(1, { buffer: bytes })] as const,
  ),
  ...[0, 2 ** 31 - 1, 1e15, -1, 0.5, "1"].map(
    (recordAt) => [`a record at ${recordAt}`, changedSection(1, { recordAt })] as const,
  ),
  ["a serial of another section", changedSection(1, { serial: 1 })],
  ...[0, 1024, 2 ** 52].map(
    (basePfn) => [`frames from ${basePfn} on`, changedSection(1, { basePfn })] as const,
  ),
  ["a buffer that is too short", changedSection(1, { buffer: new SharedArrayBuffer(PAGE) })],
  ["a section that begins behind its buffer", changedSection(1, { bufferPage: 2 ** 20 })],
  ["no frame table", changedSection(1, { frames: undefined })],
  ["3 bytes of frames", changedSection(1, { frames: new SharedArrayBuffer(3) })],
];

function heapOf(heap: SharedArrayBuffer): unknown {
  return { ...strange, machine: { ...strange.machine, heap } };
}

for (const [what, handle] of ROWS) {
  test(`refused with EINVAL: ${what}`, async () => {
    assert.equal(await refusalOf(handle), "EINVAL");
    assert.equal(space.u32.load(mapped), 7);
  });
}

/** Where a handle can be changed. */
const PLACES: readonly (readonly (string | number)[])[] = [
  ["kind"],
  ["version"],
  ["machineId"],
  ["machine"],
  ["machine", "kind"],
  ["machine", "heap"],
  ["machine", "sections"],
  ...[0, 1, 2].flatMap((i) =>
    [
      [],
      ["recordAt"],
      ["serial"],
      ["basePfn"],
      ["buffer"],
      ["memory"],
      ["bufferPage"],
      ["frames"],
    ].map((rest) => ["machine", "sections", i, ...rest]),
  ),
];

function changed(
  from: unknown,
  [first, ...rest]: readonly (string | number)[],
  to: unknown,
): unknown {
  if (first === undefined) return to;
  if (typeof from !== "object" || from === null) return from;
  const copy = Array.isArray(from) ? [...(from as unknown[])] : { ...from };
  const fields = copy as Record<string | number, unknown>;
  fields[first] = changed(fields[first], rest, to);
  return copy;
}

const anyValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.anything({ withBigInt: true, withMap: true, withTypedArray: true }),
  fc.constantFrom(0, 1, 512, 1024, 2 ** 20, 2 ** 24, 2 ** 31 - 1, 2 ** 31, 2 ** 52, -1),
  fc.integer({ min: 0, max: 3 * PAGE }).map((bytes) => new SharedArrayBuffer(bytes)),
);

test("whatever a handle is changed to, it is refused or attached, and nothing else happens", async () => {
  const change = fc.tuple(fc.constantFrom(...PLACES), anyValue);
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      const handle = changes.reduce<unknown>(
        (from, [place, to]) => changed(from, place, to),
        strange,
      );
      // The space is gone: a handle that differs in nothing that matters is stale.
      assert.ok(["EINVAL", "ESTALE"].includes(await refusalOf(handle)));
    }),
    { numRuns: 600 },
  );
  assert.equal(space.u32.load(mapped), 7);
});

// Always the same heaps: attaching to one that is damaged may also loop (docs/SECURITY.md).
test("a heap whose words were changed is refused or attached, and throws nothing else", async () => {
  const before = new Int32Array(strange.machine.heap);
  const used = Array.from(before.keys()).filter((at) => before[at] !== 0);
  const word = fc.tuple(fc.constantFrom(...used), fc.integer());
  await fc.assert(
    fc.asyncProperty(fc.array(word, { minLength: 1, maxLength: 4 }), async (words) => {
      const heap = new SharedArrayBuffer(before.byteLength);
      const copy = new Int32Array(heap);
      copy.set(before);
      for (const [at, value] of words) copy[at] = value;
      const result = await refusalOf(heapOf(heap));
      assert.notEqual(result, "attached"); // its space is gone
    }),
    { numRuns: 100, seed: 1 },
  );
});

test("what is no port is refused with EINVAL, and a port is taken", () => {
  const fakes = [undefined, null, 1, {}, { postMessage() {} }, new EventTarget()];
  for (const port of fakes)
    assert.throws(() => space.connect(port as never), { code: "EINVAL", message: /MessagePort/ });
  const { port1, port2 } = new MessageChannel();
  space.connect(port1);
  port2.close();
});
