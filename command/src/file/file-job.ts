/**
 * @module The file job. A file is mapped, a device counts its bytes and computes the entropy of
 * each block through the mapping, and a plain read checks the result. Neither RAM nor device memory
 * need hold the file: it goes through in windows. Each is read ahead while the one before is worked
 * on, and afterwards its pages are the first to go.
 */

import { AddressSpace, type DeviceStats, SoftwareDevice } from "../../../src/index.ts";
import type { AddressSpaceStats, Smaps } from "../../../src/index.ts";
import type { MemoryKind } from "../device-options.ts";
import { BLOCK_BYTES, BYTE_VALUES, COUNTER_BYTES, ENTROPY_BYTES, blocksOf } from "./blocks.ts";
import { type Findings, type Verdict, checkPlainly } from "./plain-check.ts";

export type FileStage = "analyzing" | "checking";

export interface FileOptions {
  readonly path: string;
  readonly lengthBytes: number;
  readonly memory: MemoryKind;
  readonly budgetBytes: number;
  /** RAM for pages of the file. */
  readonly ramBytes: number;
  readonly threads: number;
  /** Called as the job goes on, with bytes. */
  readonly onProgress?: ((stage: FileStage, done: number, total: number) => void) | undefined;
  /** Called between analyzing and checking: a test falsifies the findings in here. */
  readonly onAnalyzed?: ((findings: Findings) => void) | undefined;
}

export interface FileResult extends Findings {
  readonly options: FileOptions;
  readonly device: DeviceStats;
  readonly space: AddressSpaceStats;
  readonly smaps: Smaps;
  readonly verdict: Verdict;
  readonly verified: boolean;
  readonly analyzeSeconds: number;
  readonly checkSeconds: number;
}

/** A window is this part of RAM at most: one is worked on, one read ahead, the rest goes. */
const WINDOW_SHARE = 4;
const WINDOW_BYTES_MAX: number = 16 * 2 ** 20;

/** RAM for everything but pages of the file. */
const OTHER_RAM_BYTES: number = 2 ** 20;

/** Analyzes the file. Rejects with HmmError; a difference to the plain read is a result. */
export async function analyzeFile(options: FileOptions): Promise<FileResult> {
  const { path, lengthBytes, onProgress = () => {} } = options;
  const startMs = performance.now();
  const { findings, device, space, smaps } = await analyze(options, (done) =>
    onProgress("analyzing", done, lengthBytes),
  );
  const analyzedMs = performance.now();
  options.onAnalyzed?.(findings);
  const verdict = await checkPlainly(path, findings, (done) =>
    onProgress("checking", done, lengthBytes),
  );
  const { wrongBlocks, wrongCounts, checkedBytes } = verdict;
  return {
    options,
    ...findings,
    device,
    space,
    smaps,
    verdict,
    verified: wrongBlocks === 0 && wrongCounts === 0 && checkedBytes === lengthBytes,
    analyzeSeconds: (analyzedMs - startMs) / 1000,
    checkSeconds: (performance.now() - analyzedMs) / 1000,
  };
}

interface Analysis {
  readonly findings: Findings;
  readonly device: DeviceStats;
  readonly space: AddressSpaceStats;
  readonly smaps: Smaps;
}

async function analyze(options: FileOptions, onBytes: (done: number) => void): Promise<Analysis> {
  const { path, lengthBytes, memory, budgetBytes, ramBytes, threads } = options;
  const blocks = blocksOf(lengthBytes);
  await using space = await AddressSpace.create({
    ramBytes: ramBytes + OTHER_RAM_BYTES + blocks * ENTROPY_BYTES,
  });
  const file = await space.mmap(lengthBytes, { source: path, protection: "read" });
  const entropies = await space.mmap(blocks * ENTROPY_BYTES);
  const counts = await space.mmap(BYTE_VALUES * COUNTER_BYTES);
  await using device = await SoftwareDevice.create(space, {
    memory,
    memoryBytes: budgetBytes,
    threads,
    name: "file",
  });
  await inWindows(space, device, options, { file, entropies, counts }, onBytes);
  return {
    findings: {
      entropies: await readFloats(space, entropies, blocks),
      counts: await readCounts(space, counts),
    },
    device: device.statsSync(),
    space: space.statsSync(),
    smaps: space.smapsSync(),
  };
}

interface Places {
  readonly file: number;
  readonly entropies: number;
  readonly counts: number;
}

async function inWindows(
  space: AddressSpace,
  device: SoftwareDevice,
  { lengthBytes, ramBytes }: FileOptions,
  { file, entropies, counts }: Places,
  onBytes: (done: number) => void,
): Promise<void> {
  const kernel = device.kernel({
    module: new URL("./entropy-kernel.js", import.meta.url),
    exportName: "analyzeBlock",
  });
  const share = Math.floor(ramBytes / WINDOW_SHARE / BLOCK_BYTES);
  const windowBytes = Math.min(Math.max(share, 1) * BLOCK_BYTES, WINDOW_BYTES_MAX);
  for (let at = 0; at < lengthBytes; at += windowBytes) {
    const length = Math.min(windowBytes, lengthBytes - at);
    await device.prefetch(file + at, length);
    const dispatch = kernel.dispatch(blocksOf(length), {
      args: [file, lengthBytes, at / BLOCK_BYTES, entropies, counts],
    });
    const next = at + length;
    const nextBytes = Math.min(windowBytes, lengthBytes - next);
    if (nextBytes > 0) await space.madvise(file + next, nextBytes, "willneed");
    await dispatch;
    await space.madvise(file + at, length, "cold");
    onBytes(next);
  }
}

async function readFloats(space: AddressSpace, at: number, count: number): Promise<Float64Array> {
  const values = new Float64Array(count);
  await space.read(at, new Uint8Array(values.buffer));
  return values;
}

async function readCounts(space: AddressSpace, at: number): Promise<Float64Array> {
  const words = new Uint32Array((BYTE_VALUES * COUNTER_BYTES) / 4);
  await space.read(at, new Uint8Array(words.buffer));
  return Float64Array.from(
    { length: BYTE_VALUES },
    (_, byte) => words[2 * byte]! + words[2 * byte + 1]! * 2 ** 32,
  );
}
