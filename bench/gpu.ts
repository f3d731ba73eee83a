/**
 * @module `npm run gpu`: whether this machine's GPU is fit for the WebGPU device. It says which
 * adapter it is, runs generated kernels against plain WebGPU, and takes the figures about the
 * device. With `--quick` the figures' ratios mean nothing; `--seeds N` runs so many kernels;
 * `--json` for programs. Exit status 1: a kernel was wrong, or there is no adapter; 2: a bad
 * option.
 */

import { exit, stdout } from "node:process";
import { AddressSpace } from "../src/index.ts";
import { WebGpuDevice } from "../src/webgpu.ts";
import { CommandLine } from "../test/command-line.ts";
import { checkExactness } from "../test/devices/webgpu/exactness.ts";
import { missingGpu } from "../test/devices/webgpu/find-gpu.ts";
import { type Measurement, isKept } from "./figure.ts";
import { figures } from "./figures.ts";
import { renderRow } from "./report.ts";

const BUDGETS_PAGES = [400, 60, 40, 24, 8];
const DEFAULT_SEEDS = 20;
const FIRST_SEED = 1;

const commandLine = new CommandLine(
  "npm run gpu",
  `
npm run gpu -- [options]: whether this machine's GPU is fit for the WebGPU device
  --seeds ${DEFAULT_SEEDS}   generated kernels, which must give what plain WebGPU gives
  --quick      the figures only show that they run
  --json       what was found, as one object`,
);
const flag = { type: "boolean", default: false } as const;
const values = commandLine.read({
  seeds: { type: "string", default: String(DEFAULT_SEEDS) },
  quick: flag,
  json: flag,
});
const { json: isJson, quick: isQuick } = values;
const seeds = commandLine.wholeNumber("seeds", values.seeds, 1);

function say(text: string): void {
  if (!isJson) stdout.write(`${text}\n`);
}

async function adapterOf(): Promise<WebGpuDevice["adapter"]> {
  await using space = await AddressSpace.create({ ramBytes: 2 ** 20 });
  await using device = await WebGpuDevice.create(space, { memoryBytes: 2 ** 20 });
  return device.adapter;
}

interface KernelReport {
  readonly seed: number;
  readonly devicePages: number;
  readonly outcome: string;
  readonly passes: number;
}

async function runKernels(): Promise<KernelReport[]> {
  const reports: KernelReport[] = [];
  for (let seed = FIRST_SEED; seed < FIRST_SEED + seeds; seed++) {
    const devicePages = BUDGETS_PAGES[seed % BUDGETS_PAGES.length] ?? 60;
    const isDisturbed = seed % 2 === 0;
    const { outcome, result } = await checkExactness({
      seed,
      devicePages,
      isDisturbed,
      isSplit: seed % 3 === 0,
      isPure: seed % 11 < 4,
      isOwn: seed % 4 === 1,
      isTakenForGpu: false,
      isPrivate: seed % 8 > 3 && seed % 4 !== 1,
    });
    const passes = result?.passes ?? 0;
    reports.push({ seed, devicePages, outcome, passes });
    if (outcome !== "equal" && outcome !== "too small")
      say(`seed ${seed}, ${devicePages} pages: ${outcome}`);
  }
  return reports;
}

/** What a kernel may end with: a budget that is too small for one workgroup is refused. */
function isRight({ outcome, devicePages }: KernelReport): boolean {
  return outcome === "equal" || (outcome === "too small" && devicePages < 400);
}

async function takeFigures(): Promise<{ name: string; measurement: Measurement }[]> {
  const taken: { name: string; measurement: Measurement }[] = [];
  for (const figure of figures) {
    if (!figure.name.startsWith("webgpu-")) continue;
    const measure = await figure.load();
    const measurement = await measure({ isQuick, onRound: () => {} });
    taken.push({ name: figure.name, measurement });
    if (!isJson) stdout.write(renderRow({ figure, measurement }));
  }
  return taken;
}

async function main(): Promise<number> {
  if (missingGpu !== false) {
    stdout.write(isJson ? `${JSON.stringify({ missing: missingGpu })}\n` : `${missingGpu}\n`);
    return 1;
  }
  const adapter = await adapterOf();
  say(`adapter: ${Object.values(adapter).filter(Boolean).join(", ")}`);
  const kernels = await runKernels();
  const wrong = kernels.filter((report) => !isRight(report));
  const equal = kernels.filter(({ outcome }) => outcome === "equal").length;
  say(`generated kernels: ${equal} equal, ${kernels.length - equal - wrong.length} refused for `);
  say(`  a budget that one workgroup does not fit, ${wrong.length} wrong`);
  const taken = await takeFigures();
  const kept = taken.filter(({ name, measurement }) => {
    const bound = figures.find((figure) => figure.name === name)?.bound;
    return bound !== undefined && isKept(measurement.readings ?? [], bound);
  });
  say(`figures: ${kept.length} of ${taken.length} keep their bounds`);
  if (isJson) stdout.write(`${JSON.stringify({ adapter, kernels, figures: taken }, null, 2)}\n`);
  return wrong.length === 0 ? 0 : 1;
}

exit(await main());
