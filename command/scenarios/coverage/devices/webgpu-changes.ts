/**
 * @module A chunk of the WebGPU device, on a model GPU, beside what takes pages away: munmap,
 * mprotect, fork, a second device, the loss of the GPU, and its own eviction. Each twin leaves out
 * what makes it right.
 */

import { HarnessCpu } from "../../../../src/checker/harness/harness-cpu.ts";
import { HARNESS_PAGE } from "../../../../src/checker/harness/hmm-harness.ts";
import { Bringer } from "../../../../src/devices/webgpu/bring.ts";
import type { HmmRange } from "../../../../src/hmm/range/range.ts";
import { rangeReadBegin } from "../../../../src/hmm/range/valid.ts";
import { recordOf } from "../../../../src/devices/webgpu-record/mirror-ops.ts";
import { registerMirrorOps } from "../../../../src/hmm/mirror/mirror-ops.ts";
import { doMprotect } from "../../../../src/mm/calls/mprotect.ts";
import { doMunmap } from "../../../../src/mm/calls/munmap.ts";
import { doFork } from "../../../../src/mm/lifetime/fork.ts";
import { mmput } from "../../../../src/mm/lifetime/mm.ts";
import { Mm } from "../../../../src/mm/mm-struct.ts";
import { PAGE_BYTES, ptePfn } from "../../../../src/mm/pte.ts";
import { zapNonBlocking } from "../../../../src/mm/entries/zap.ts";
import { VM_READ } from "../../../../src/mm/vma/vma.ts";
import { EAGAIN, EFAULT, EPERM, ESRCH } from "../../../../src/sync/errno.ts";
import { assert } from "../../../../src/sync/errors.ts";
import type { Task } from "../../../../src/sync/tasks/task.ts";
import type { Covered } from "../covered.ts";
import { ModelGpu, type ModelProgram } from "./model-gpu.ts";
import { wordOf } from "./stage.ts";
import {
  ADD,
  BEFORE,
  type Body,
  CHUNK,
  FORGETFUL_OPS,
  type Parts,
  READ_PAGE,
  type Variant,
  WRITTEN_PAGE,
  checkSum,
  chunks,
  errnoOfChunk,
  make,
  outcomeOf,
  requireCoherent,
} from "./webgpu-stage.ts";

const WRITTEN: number = WRITTEN_PAGE * PAGE_BYTES;
/** A page that ADD does not use. */
const OTHER_PAGE: number = HARNESS_PAGE + 2;
const SUM: number = BEFORE + 1;

const chunk = chunks([ADD]);

type Case = Omit<Parts, "name" | "summary">;

const munmap: Body = (_world, { machine, mm }) => doMunmap(machine, mm, WRITTEN, PAGE_BYTES);

const beside: Case = {
  tasks: { chunk, munmap },
  check(world, harness) {
    const outcome = outcomeOf(world);
    const isFault = outcome === "fault" && errnoOfChunk(world) === EFAULT;
    assert(outcome === "done" || isFault, `the chunk is ${outcome}`);
    assert(harness.entryOf(WRITTEN_PAGE) === 0, "the page is mapped yet");
  },
};

/** An out-of-memory reaper, which must not wait: it leaves alone what the device is busy with. */
const reap: Body = function* ({ seen }, { machine, mm }) {
  yield* mm.mmapLock.downRead();
  seen.push(yield* zapNonBlocking(machine, mm, READ_PAGE, READ_PAGE + 1));
  yield* mm.mmapLock.upRead();
};

const reaped: Case = {
  tasks: { chunk, reap },
  check(world, harness) {
    const [answer] = world.seen;
    assert(answer === 0 || answer === EAGAIN, `the reaper is answered ${answer}`);
    checkSum(world, harness, answer === EAGAIN ? [BEFORE] : [BEFORE, 0]);
  },
};

/** It is told that the space goes, and not that its pages do. */
const TRUSTING_OPS: number = registerMirrorOps("scenario WebGPU device that trusts in pages", {
  *invalidate() {
    return 0;
  },
  *release(mirror) {
    const record = recordOf(mirror);
    yield* record.driverLock.lock();
    record.isDead = 1;
    yield* record.driverLock.unlock();
  },
});

/** The space goes, which only the device has used. */
const exit: Body = (_world, { machine, mm }) => mmput(machine, mm);

const exited: Case = {
  tasks: { chunk, exit },
  check(world) {
    const outcome = outcomeOf(world);
    const isFault =
      outcome === "space gone" || (outcome === "fault" && errnoOfChunk(world) === ESRCH);
    assert(outcome === "done" || isFault, `the chunk is ${outcome}, ${errnoOfChunk(world)}`);
    for (const { record } of world.devices) assert(record.isDead === 1, "the device is not told");
  },
};

/** What the page holds when the call is over is what it holds for ever: nobody may write it. */
const mprotect: Body = function* ({ seen }, harness) {
  const { machine, mm } = harness;
  assert((yield* doMprotect(machine, mm, WRITTEN, PAGE_BYTES, VM_READ)) === 0, "it may be changed");
  seen.push(yield* new HarnessCpu(harness).load(WRITTEN));
};

const readOnly: Case = {
  tasks: { chunk, mprotect },
  check(world, harness) {
    const outcome = outcomeOf(world);
    const isFault = outcome === "fault" && errnoOfChunk(world) === EPERM;
    assert(outcome === "done" || isFault, `the chunk is ${outcome}`);
    const word = wordOf(harness, WRITTEN_PAGE, 0);
    assert(word === world.seen[0], `the page held ${world.seen[0]}, and was written to ${word}`);
    assert(word === (isFault ? 0 : SUM), `the chunk is ${outcome}, and the sum ${word}`);
  },
};

/** What the child's page holds when there is a child, it holds for ever. */
const fork: Body = function* (world, harness) {
  const { machine, mm } = harness;
  world.child = yield* doFork(machine, mm);
  assert(world.child > 0, "there can be a child");
  const child = Mm.at(machine.memory, world.child);
  world.seen.push(yield* new HarnessCpu(harness, child).load(WRITTEN));
};

const forked: Case = {
  tasks: { chunk, fork },
  check(world, harness) {
    assert(outcomeOf(world) === "done", `the chunk is ${outcomeOf(world)}`);
    checkSum(world, harness, [BEFORE]);
    const { memory, ram } = harness.machine;
    const pfn = ptePfn(harness.entryOf(WRITTEN_PAGE, Mm.at(memory, world.child)));
    const section = ram.sections.of(pfn);
    const word = section.i32[section.wordIndex(pfn)];
    const [seen] = world.seen;
    assert(seen === 0 || seen === SUM, `the child's page held ${seen}`);
    assert(word === seen, `the child's page held ${seen}, and holds ${word}`);
  },
};

/** Each adds to what the other has left. */
const twoDevices: Case = {
  tasks: { chunk, other: chunks([ADD], 1) },
  variant: { devices: 2 },
  check(world, harness) {
    for (const i of [0, 1]) assert(outcomeOf(world, i) === "done", `device ${i} is not done`);
    const sum = wordOf(harness, WRITTEN_PAGE, 0);
    assert(sum === 2 * SUM, `the sum is ${sum}`);
    requireCoherent(world, harness);
  },
};

const lose: Body = ({ losses }) => losses.store(1);

const lost: Case = {
  tasks: { chunk: chunks([ADD, ADD]), lose },
  check(world, harness) {
    assert(outcomeOf(world) === "done", `the chunk is ${outcomeOf(world)}`);
    const sum = wordOf(harness, WRITTEN_PAGE, 0);
    assert(sum === 2 * SUM, `the sum is ${sum}: a chunk has run not once`);
    requireCoherent(world, harness);
  },
};

const storeWritten: ModelProgram = {
  name: "store",
  workgroup: (memory) => memory.store(WRITTEN, 0),
};
const loadOther: ModelProgram = {
  name: "load",
  workgroup: (memory) => void memory.load(OTHER_PAGE * PAGE_BYTES),
};

/** A frame that has a page is not written again: what a pass has stored cannot be undone. */
class DoesNotUndo extends ModelGpu {
  readonly #written = new Set<number>();

  override writeFrames(frames: readonly number[], bytes: Uint8Array<ArrayBuffer>): void {
    for (const [i, frame] of frames.entries()) {
      if (frames.length === 1 && this.#written.has(frame)) continue;
      this.#written.add(frame);
      super.writeFrames([frame], bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES));
    }
  }
}

/** Two frames for three pages: the pass that misses has stored, and a page has to go. */
const evicts: Case = {
  tasks: {
    chunk: chunks([storeWritten, loadOther, ADD]),
    store: (_world, harness) => new HarnessCpu(harness).store(WRITTEN + 4, 5),
  },
  variant: { frames: 4 },
  pages: 3,
  check(world, harness) {
    checkSum(world, harness, [BEFORE]);
    assert(wordOf(harness, WRITTEN_PAGE, 1) === 5, "the CPU's store was lost");
  },
};

/** As if it had begun to read when it has the page, and not before. */
class BeginsLate extends Bringer {
  protected override *takeExclusive(range: HmmRange): Task<number> {
    const answer = yield* super.takeExclusive(range);
    if (answer > 0) yield* rangeReadBegin(range);
    return answer;
  }
}

function covered(
  name: string,
  summary: string,
  parts: Case,
  twin: Omit<Parts, "tasks" | "check" | "variant"> & { variant: Partial<Variant> },
  runs: Covered["runs"],
): Covered {
  const variant = { ...parts.variant, ...twin.variant };
  const twinName = `${name}/${twin.name}`;
  return {
    layer: "devices",
    scenario: make({ name, summary, ...parts }),
    twins: [make({ expects: "assertion", ...parts, ...twin, name: twinName, variant })],
    runs,
  };
}

const NO_NOTE = {
  name: "no-note",
  summary: "The invalidation leaves no note for the device.",
  variant: { opsId: FORGETFUL_OPS },
};
const NOTES = ["devices/webgpu-record/record.logRange"] as const;

export const webGpuChanges: readonly Covered[] = [
  covered(
    "webgpu-chunk-vs-munmap",
    "The page that a chunk writes is unmapped.",
    beside,
    { ...NO_NOTE, expects: "use-after-free" },
    {
      chunk: CHUNK,
      munmap: NOTES,
    },
  ),
  covered(
    "webgpu-chunk-vs-mprotect",
    "The page that a chunk writes becomes read-only.",
    readOnly,
    NO_NOTE,
    { chunk: CHUNK, mprotect: NOTES },
  ),
  covered(
    "webgpu-chunk-vs-fork",
    "A chunk writes while the address space is copied.",
    forked,
    NO_NOTE,
    { chunk: CHUNK, fork: NOTES },
  ),
  covered(
    "webgpu-chunk-vs-other-device",
    "Two devices add to one word.",
    twoDevices,
    {
      name: "begins-late",
      summary: "A device takes a page, another takes it from it, and the first thinks it has it.",
      variant: { Bringer: BeginsLate },
    },
    {
      chunk: CHUNK,
      other: NOTES,
    },
  ),
  covered(
    "webgpu-chunk-vs-loss",
    "The GPU is lost while it runs two chunks, one after the other.",
    lost,
    {
      name: "keeps-frames",
      summary: "The pages of the lost GPU are thought to be on the new one.",
      variant: { dropsLost: false },
    },
    { chunk: CHUNK },
  ),
  covered(
    "webgpu-locked-chunk-vs-loss",
    "The same, with the driver lock held during each pass.",
    { ...lost, variant: { staleMax: 0 } },
    {
      name: "keeps-frames",
      summary: "The pages of the lost GPU are thought to be on the new one.",
      variant: { dropsLost: false },
    },
    { chunk: CHUNK },
  ),
  covered(
    "webgpu-chunk-vs-reaper",
    "The page that a chunk reads is taken away by who may not wait.",
    reaped,
    NO_NOTE,
    { chunk: CHUNK, reap: NOTES },
  ),
  covered(
    "webgpu-chunk-vs-exit",
    "The address space of a chunk goes.",
    exited,
    {
      name: "no-note",
      summary: "The device is told that the space goes, and not that its pages do.",
      variant: { opsId: TRUSTING_OPS },
      expects: "use-after-free",
    },
    {
      chunk: CHUNK,
      exit: ["devices/webgpu-record/mirror-ops.release"],
    },
  ),
  covered(
    "webgpu-chunk-evicts",
    "A pass that misses has stored to a page, and another page has to make room.",
    evicts,
    {
      name: "does-not-undo",
      summary: "What the pass has stored stays.",
      variant: { Gpu: DoesNotUndo },
    },
    { chunk: CHUNK, store: NOTES },
  ),
];
