/**
 * @module Many chasers on one graph, each by its own chain of pointers: on the WebGPU device
 * against the software device, each with memory for half of the graph. Each step goes to a page
 * that has nothing to do with the one before, so half of them find theirs on the device.
 */

import { AddressSpace, SoftwareDevice } from "../src/index.ts";
import { WebGpuDevice } from "../src/webgpu.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import type { MeasureOptions, Measurement } from "./figure.ts";
import { measurePairs } from "./pairs.ts";
import { roundCounter } from "./round-counter.ts";
import { adapterName } from "./webgpu-plain.ts";

const MiB: number = 2 ** 20;
const NODE_BYTES = 64;
const GROUP = 64;
/** `next = MULTIPLIER * node + ODD`, modulo a power of two, goes through all nodes. */
const MULTIPLIER = 1_664_525;
const ODD = 1_013_904_223;

const CHASE_CODE = `
@compute @workgroup_size(${GROUP}) fn main(@builtin(global_invocation_id) id: vec3u) {
  var node = load_ptr(ptr_at(arg_ptr(0), id.x, 8u));
  for (var step = 0u; step < arg_u32(2) && !ptr_is_null(node); step++) { node = load_ptr(node); }
  store_ptr(ptr_at(arg_ptr(1), id.x, 8u), node);
}`;

interface Graph {
  readonly space: AddressSpace;
  readonly address: number;
  readonly starts: number;
  readonly ends: number;
  readonly nodes: number;
  readonly chasers: number;
  readonly steps: number;
}

/** The node after this one, by its number. */
function nextOf(node: number, nodes: number): number {
  return ((Math.imul(node, MULTIPLIER) + ODD) >>> 0) % nodes;
}

async function makeGraph(bytes: number, chasers: number, steps: number): Promise<Graph> {
  const space = await AddressSpace.create({ ramBytes: bytes + 32 * MiB });
  const address = await space.mmap(bytes);
  const starts = await space.mmap(chasers * 8);
  const ends = await space.mmap(chasers * 8);
  const nodes = bytes / NODE_BYTES;
  {
    using view = await space.view(address, bytes, "write");
    const words = view.as(Float64Array);
    const pointers = new BigUint64Array(words.buffer, words.byteOffset, words.length);
    for (let node = 0; node < nodes; node++)
      pointers[(node * NODE_BYTES) / 8] = BigInt(address + nextOf(node, nodes) * NODE_BYTES);
  }
  return { space, address, starts, ends, nodes, chasers, steps };
}

/** Other places to start from in each round: what is on the device then is anybody's. */
function place({ space, address, starts, nodes, chasers }: Graph, round: number): void {
  for (let chaser = 0; chaser < chasers; chaser++) {
    const node = Math.imul(round * chasers + chaser + 1, 0x9e3779b1) >>> 0;
    space.ptr.store(starts + chaser * 8, address + (node % nodes) * NODE_BYTES);
  }
}

function checkEnds(graph: Graph): void {
  const { space, address, starts, ends, nodes, chasers, steps } = graph;
  for (let chaser = 0; chaser < chasers; chaser++) {
    let node = (space.ptr.load(starts + chaser * 8) - address) / NODE_BYTES;
    for (let step = 0; step < steps; step++) node = nextOf(node, nodes);
    if (space.ptr.load(ends + chaser * 8) !== address + node * NODE_BYTES)
      throw new Error(`chaser ${chaser} has arrived elsewhere`);
  }
}

export async function measureChase(options: MeasureOptions): Promise<Measurement> {
  if (missingGpu !== false) return { notMeasured: missingGpu };
  const bytes = options.isQuick ? 8 * MiB : 256 * MiB;
  const [chasers, steps] = options.isQuick ? [256, 16] : [1024, 64];
  const graph = await makeGraph(bytes, chasers, steps);
  const memoryBytes = bytes / 2;
  const args = [graph.starts, graph.ends, steps];
  await using software = await SoftwareDevice.create(graph.space, { memoryBytes });
  await using gpu = await WebGpuDevice.create(graph.space, { memoryBytes });
  const onGpu = gpu.kernel({ code: CHASE_CODE, entryPoint: "main" });
  const module = new URL("./webgpu-chase-kernel.js", import.meta.url);
  const onSoftware = software.kernel({ module, exportName: "chase" });
  let round = 0;
  const timed = async (run: () => Promise<unknown>): Promise<number> => {
    place(graph, round++);
    const startMs = performance.now();
    await run();
    const ms = performance.now() - startMs;
    checkEnds(graph);
    return ms;
  };
  const gpuOnce = (): Promise<number> =>
    timed(() => onGpu.dispatch(graph.chasers / GROUP, { args }));
  const softwareOnce = (): Promise<number> =>
    timed(() => onSoftware.dispatch(graph.chasers, { args }));
  await gpuOnce(); // so memory is full
  await softwareOnce();
  const rounds = options.isQuick ? 1 : 3;
  const reading = await measurePairs({
    label: `${chasers} chasers of ${steps} steps, ${bytes / MiB} MiB, on ${adapterName(gpu)}`,
    unit: "ms",
    ours: gpuOnce,
    plain: softwareOnce,
    ratioOf: (ours, plain) => plain / ours,
    rounds,
    onRound: roundCounter(rounds, options),
  });
  await gpu[Symbol.asyncDispose]();
  await software[Symbol.asyncDispose]();
  await graph.space[Symbol.asyncDispose]();
  return { readings: [reading] };
}
