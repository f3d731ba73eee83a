/**
 * @module Messages that somebody else made, on a connected port and on the machine's broadcast
 * channel: whatever their shape, they are dropped. An exception in the handler would end the
 * process, so it would end this test.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { BroadcastChannel, MessageChannel } from "node:worker_threads";
import * as fc from "fast-check";
import { AddressSpace } from "../../src/index.ts";
import { Machine } from "../../src/memory/machine.ts";
import type { RamSectionHandle } from "../../src/memory/frames/ram-section.ts";
import {
  readOwnerMessage,
  readThreadMessage,
  unpackFailure,
} from "../../src/devices/software/worker-messages.ts";
import { makeMachine, run } from "../memory/harness.ts";

const PAGE = 4096;

/** A thread's end of a channel, and a way to wait until what was sent before has been handled. */
interface Attacked {
  readonly machineId: string;
  readonly handle: RamSectionHandle;
  readonly send: (message: unknown) => void;
  readonly settled: () => Promise<void>;
  readonly isFine: () => void;
}

async function withAttacked(use: (attacked: Attacked) => Promise<void>): Promise<void> {
  const space = AddressSpace.createSync({ ramBytes: 16 * PAGE, heapBytes: 2 ** 20 });
  const p = space.mmapSync(PAGE);
  const buffer = new SharedArrayBuffer(2 * PAGE);
  const q = space.mmapSync(2 * PAGE, { buffer });
  const { machineId, machine } = space.handle;
  const { port1, port2 } = new MessageChannel();
  const channel = new BroadcastChannel(`hmm-ts/${machineId}`);
  space.connect(port1);
  const handle = machine.sections.find(({ frames }) => frames === undefined);
  assert.ok(handle !== undefined);
  try {
    await use({
      machineId,
      handle,
      send: (message) => {
        port2.postMessage(message);
        channel.postMessage(message);
      },
      settled: async () => {
        // The answer to a question comes after all that was sent before.
        const answered = new Promise((resolve) => port2.once("message", resolve));
        port2.postMessage({ kind: "question", machineId, known: [] });
        await answered;
      },
      isFine: () => {
        space.u32.store(p, 7);
        space.u32.store(q + PAGE, 8);
        assert.equal(new Uint32Array(buffer)[PAGE / 4], 8, "a store goes where it belongs");
      },
    });
  } finally {
    channel.close();
    port2.close();
    space.disposeSync();
  }
}

/** Messages with which a thread of the machine ended others, and their kind. */
function badMessages({ machineId, handle }: Attacked): unknown[] {
  const sections = (...handles: unknown[]): unknown => ({ kind: "sections", machineId, handles });
  return [
    undefined,
    null,
    "sections",
    [],
    { machineId },
    { kind: "sections", machineId },
    { kind: "question", machineId },
    { kind: "question", machineId, known: [{ toString: 1, valueOf: 1 }] },
    { kind: "question", machineId, known: [Symbol.iterator.toString(), 1, null] },
    sections(null),
    sections({}),
    ...[0, 1, 2 ** 31 - 1, 1e15, -1].map((recordAt) => sections({ ...handle, recordAt })),
    ...[0, 512, 2 ** 24, 2 ** 52].map((basePfn) => sections({ ...handle, basePfn })),
    ...[1, 2 ** 31, 1e15].map((bufferPage) => sections({ ...handle, bufferPage })),
    sections({ ...handle, serial: handle.serial + 1 }),
    sections({ ...handle, frames: new SharedArrayBuffer(3) }),
    sections({ ...handle, buffer: new SharedArrayBuffer(0) }),
    sections({ ...handle, buffer: 2 ** 31 }),
  ];
}

test("forged messages on a port and on the broadcast channel are dropped", () =>
  withAttacked(async (attacked) => {
    for (const message of badMessages(attacked)) attacked.send(message);
    await attacked.settled();
    attacked.isFine();
  }));

test("messages of any shape are dropped", () =>
  withAttacked(async (attacked) => {
    const { machineId, handle } = attacked;
    const anyField = fc.oneof(
      fc.anything(),
      fc.integer(),
      fc.constantFrom(...Object.values(handle)),
    );
    const anyHandle = fc.oneof(
      fc.anything(),
      fc.record(
        {
          recordAt: anyField,
          serial: anyField,
          basePfn: anyField,
          buffer: anyField,
          bufferPage: anyField,
          frames: anyField,
        },
        { requiredKeys: [] },
      ),
    );
    const anyMessage = fc.oneof(
      fc.anything(),
      fc.record({
        kind: fc.constantFrom("sections", "question"),
        machineId: fc.constantFrom(machineId, machineId, "other"),
        handles: fc.oneof(fc.array(anyHandle), fc.anything()),
        known: fc.oneof(fc.array(fc.anything()), fc.anything()),
      }),
    );
    await fc.assert(
      fc.asyncProperty(anyMessage, async (message) => {
        attacked.send(message);
        await attacked.settled();
        attacked.isFine();
      }),
      { numRuns: 300 },
    );
  }));

test("a thread that lacks a section takes it from a true handle alone", () => {
  const machine = makeMachine();
  const other = Machine.attach(machine.handle, { name: "other" });
  const sent: RamSectionHandle[] = [];
  machine.ram.sections.onSection = (handle) => sent.push(handle);
  run(machine, machine.ram.sections.add(new SharedArrayBuffer(2 * PAGE)));
  const [handle] = sent;
  assert.ok(handle !== undefined);
  const { sections } = other.ram;
  assert.equal(sections.adopt({ ...handle, basePfn: handle.basePfn + 512 }), false, "shifted");
  assert.equal(sections.adopt({ ...handle, bufferPage: 1 }), false, "cut");
  assert.equal(sections.adopt({ ...handle, recordAt: handle.recordAt + 1 }), false, "no record");
  assert.throws(() => sections.of(handle.basePfn), { code: "ENXIO" });
  assert.equal(sections.adopt(handle), true);
  assert.equal(sections.of(handle.basePfn).pages, 2);
  other.detach();
});

test("what a device's thread or its owner posts is read, or dropped", () => {
  fc.assert(
    fc.property(fc.anything(), (message) => {
      const read = readThreadMessage(message);
      if (read !== undefined && read.kind !== "left" && read.failure !== undefined)
        unpackFailure(read.failure);
      readOwnerMessage(message);
    }),
  );
  assert.equal(readThreadMessage({ kind: "left" })?.kind, "left");
  const answer = readThreadMessage({ kind: "ran", failure: { kind: "fault", fields: {} } });
  assert.ok(answer?.kind === "ran" && answer.failure !== undefined);
  assert.match(unpackFailure(answer.failure).message, /not the shape of an answer/);
  const order = { kind: "run", module: undefined, exportName: "f", args: [], mayReplay: true };
  assert.equal(readOwnerMessage({ ...order, items: Number.NaN }), undefined);
  assert.equal(readOwnerMessage({ ...order, items: 3 })?.kind, "run");
});
