/**
 * @module devices/webgpu/options
 * What a program gives a WebGPU device: its options and arguments, checked.
 */

import {
  PAGE_BYTES,
  TASK_SIZE_PAGES,
  aBoolean,
  aFunction,
  aText,
  anObject,
  checkArgument,
  isRecordLayout,
  oneOf,
  required,
  ruleOf,
  takeOptions,
  wholeNumber,
  type HostWorker,
  type OptionRules,
  type Refuse,
  type RecordLayout,
} from "../../driver-interface.ts";
import type { DispatchOptions } from "../driver.ts";
import { refusalOf } from "../software/options.ts";
import type { WebGpuBinding } from "./bindings.ts";
import type { BindingOrder, DispatchOrder, KernelOrder, WorkerStart } from "./messages.ts";
import { ARGUMENTS_MAX, GPU_FRAMES_MAX } from "./wgsl/layout.ts";
import { isLibraryName } from "./wgsl/names.ts";
import { fieldNames, recordNames, recordsText } from "./wgsl/record-text.ts";
import { whyNoName } from "./wgsl/words.ts";
import { scanWgsl } from "./wgsl/scan.ts";

/** A GPUDevice, as far as it must be known to programs that have no types of WebGPU. */
export interface OwnGpuDevice {
  /** As WebGPU has it. */
  readonly lost: Promise<unknown>;
  /** As WebGPU has it. */
  readonly queue: object;
  /** As WebGPU has it. */
  readonly limits: object;
}

/** How a WebGPU device is made. */
export interface WebGpuDeviceOptions {
  /**
   * GPU memory for pages in bytes, a multiple of 4096 from 16 KiB up to what the adapter binds: the
   * budget. 768 MiB are possible everywhere, and up to 128 MiB in one buffer. Two pages of it are
   * the device's own.
   */
  readonly memoryBytes: number;
  /**
   * A GPUDevice of the program's own, of this thread: the driver runs here as well, without a
   * Worker, and kernels may bind objects of it. It stays the program's: disposal leaves it. The
   * options about adapters and Workers mean nothing then.
   */
  readonly gpuDevice?: OwnGpuDevice;
  /** Which adapter. Default: the system's choice. */
  readonly powerPreference?: "low-power" | "high-performance";
  /** A software adapter. Default false. */
  readonly forceFallbackAdapter?: boolean;
  /** In Node, for Dawn: such as `["backend=vulkan"]`. Default none. */
  readonly nodeFlags?: readonly string[];
  /** How long an adapter may take to come, in milliseconds. Default 20,000. */
  readonly adapterTimeoutMs?: number;
  /**
   * Of `memoryBytes`, so many are for direct ranges (`ranges` of a dispatch), a multiple of 4096.
   * Default 0.
   */
  readonly rangeBytes?: number;
  /**
   * Largest buffer for pages, in bytes, at least 4096. Default: what the adapter binds at once. A
   * pool that is larger has several buffers, of at most 256 MiB and a power of two of pages: loads
   * take two to three times as long then.
   */
  readonly bufferBytesMax?: number;
  /**
   * Where pages are that kernels have stored to. `"ram"`: a dispatch copies them to RAM before it
   * is over. `"private"`: they stay on the GPU alone until somebody else needs them, or there is no
   * room for them; a quarter of what `memoryBytes` has for pages is for backups then, and what the
   * GPU alone has is lost with it. Not on a `gpuDevice` of the program's own. Default `"ram"`.
   */
  readonly memory?: "ram" | "private";
  /** How long a fault may be retried while the mapping goes on changing. Default 1000. */
  readonly faultTimeoutMs?: number;
  /** Rounds of its loops that one invocation may make, 1 to 2^31. Default 2^28. */
  readonly loopRoundsMax?: number;
  /**
   * How long a pass may take in which one workgroup goes round in its loops, in milliseconds: what
   * takes longer is not tried. Default 10,000.
   */
  readonly loopMsMax?: number;
  /**
   * True: memory that may be written unseen (a user's buffers, shared mappings) is not written by
   * others for as long as the device exists, but by way of the address space. Default false: it is
   * copied anew for each dispatch.
   */
  readonly quiet?: boolean;
  /** For messages and debuggers. Default "WebGPU device". */
  readonly name?: string;
  /** Starts the program's own Worker, which calls `serveWebGpuDevice`: for bundlers. */
  readonly worker?: () => HostWorker;
}

/** A kernel: a text in WGSL, and which function of it runs. */
export interface WebGpuKernelOptions {
  /** The text. The library's functions (docs/WEBGPU.md) need no import. */
  readonly code: string;
  /** Name of its `@compute` function. */
  readonly entryPoint: string;
  /**
   * Records (`record` of `hmm-ts`) that the text uses, by the names that it gives them. For `Item`
   * there are a structure `Item`, `load_Item(p)`, `store_Item(p, v)`, `at_Item_FIELD(p)` and
   * `Item_bytes`.
   */
  readonly records?: Readonly<Record<string, RecordLayout>>;
  /**
   * True: no invocation of a dispatch loads what one of the dispatch stores, but for what itself
   * has stored before. Passes that missed are then not undone. Without atomic operations on
   * pointers. Default false.
   */
  readonly pure?: boolean;
}

/** What a dispatch hands to its kernel. */
export interface WebGpuDispatchOptions extends DispatchOptions {
  /** Up to 32 numbers: addresses, counts, values. `arg_ptr(0)`, `arg_u32(1)`, `arg_f32(2)`. */
  readonly args?: readonly number[];
  /** Ends the dispatch between two passes: HmmError ECANCELED, whose `cause` is its reason. */
  readonly signal?: AbortSignal;
  /** Address that word 0 means in `ptr_word(w)`. A multiple of 4. Default 0. */
  readonly window?: number;
  /** Memory that is bound as plain arrays: brought before, and pinned for the dispatch. */
  readonly ranges?: readonly WebGpuRange[];
  /** What the kernel's other variables with a `@binding` are, each by its name. */
  readonly bindings?: Readonly<Record<string, WebGpuBinding>>;
}

/**
 * A direct range: memory of the address space that lies in a row on the device for a dispatch, and
 * is bound to a variable of the kernel. It has to be mapped, and storable if the variable is.
 */
export interface WebGpuRange {
  /** Name of a `var<storage>` or `var<storage, read_write>` with a `@binding`. */
  readonly variable: string;
  /** Of its first byte: a multiple of 256. */
  readonly address: number;
  /** A multiple of 4, which is at least 4. */
  readonly lengthBytes: number;
}

const MEMORY_MIN_BYTES: number = 4 * PAGE_BYTES;
const MEMORY_MAX_BYTES: number = GPU_FRAMES_MAX * PAGE_BYTES;
const END_BYTES: number = TASK_SIZE_PAGES * PAGE_BYTES;
const WORKGROUPS_MAX: number = 2 ** 31 - 1;
const MILLISECONDS_MAX: number = 2 ** 31 - 1;

const someTexts = ruleOf("an array of texts", (value) => {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
});

const DEVICE_RULES: OptionRules<WebGpuDeviceOptions> = {
  memoryBytes: required(wholeNumber(MEMORY_MIN_BYTES, MEMORY_MAX_BYTES, PAGE_BYTES)),
  gpuDevice: ruleOf("a GPUDevice", (value) => {
    return typeof value === "object" && value !== null && "createComputePipelineAsync" in value;
  }),
  powerPreference: oneOf("low-power", "high-performance"),
  forceFallbackAdapter: aBoolean,
  nodeFlags: someTexts,
  adapterTimeoutMs: wholeNumber(1, MILLISECONDS_MAX),
  faultTimeoutMs: wholeNumber(1, MILLISECONDS_MAX),
  loopRoundsMax: wholeNumber(1, 2 ** 31),
  loopMsMax: wholeNumber(1, MILLISECONDS_MAX),
  bufferBytesMax: wholeNumber(PAGE_BYTES),
  rangeBytes: wholeNumber(0, MEMORY_MAX_BYTES, PAGE_BYTES),
  memory: oneOf("ram", "private"),
  quiet: aBoolean,
  name: aText,
  worker: aFunction,
};

/** The options with their defaults. Throws EINVAL. */
export function deviceOptions(given: WebGpuDeviceOptions): Omit<
  WorkerStart,
  "machine" | "place"
> & {
  readonly name: string;
  readonly worker: (() => HostWorker) | undefined;
  readonly gpuDevice: OwnGpuDevice | undefined;
} {
  const options = takeOptions<WebGpuDeviceOptions>(refusalOf("device"), given, DEVICE_RULES);
  const { memoryBytes, faultTimeoutMs = 1000, loopRoundsMax = 2 ** 28, quiet = false } = options;
  const { rangeBytes = 0, memory = "ram", loopMsMax = 10_000 } = options;
  if (memory === "private" && options.gpuDevice !== undefined)
    throw refusalOf("device")(
      'memory "private" is for devices with a Worker; leave gpuDevice out, or take "ram"',
    );
  const rangeBytesMax = memoryBytes - MEMORY_MIN_BYTES;
  checkArgument(refusalOf("device"), "rangeBytes", rangeBytes, wholeNumber(0, rangeBytesMax));
  const { adapterTimeoutMs = 20_000, name = "WebGPU device", worker } = options;
  return {
    memoryBytes,
    rangeBytes,
    isPrivate: memory === "private",
    faultTimeoutMs,
    loopRoundsMax,
    loopMsMax,
    isQuiet: quiet,
    adapter: {
      powerPreference: options.powerPreference,
      forceFallback: options.forceFallbackAdapter ?? false,
      nodeFlags: options.nodeFlags,
      timeoutMs: adapterTimeoutMs,
      bufferBytesMax: options.bufferBytesMax ?? Number.MAX_SAFE_INTEGER,
    },
    name,
    worker,
    gpuDevice: options.gpuDevice,
  };
}

const KERNEL_RULES: OptionRules<WebGpuKernelOptions> = {
  code: required(aText),
  entryPoint: required(aText),
  pure: aBoolean,
  records: ruleOf("an object that has records by name", (value) => {
    return (
      typeof value === "object" && value !== null && Object.values(value).every(isRecordLayout)
    );
  }),
};

/** The text with what its records add to it. Throws EINVAL. */
export function kernelOptions(given: WebGpuKernelOptions): KernelOrder {
  const refuse = refusalOf("name the kernel");
  const options = takeOptions<WebGpuKernelOptions>(refuse, given, KERNEL_RULES);
  const { code, entryPoint, records, pure: isPure = false } = options;
  if (records === undefined) return { code, entryPoint, isPure };
  const { declared } = scanWgsl(code);
  for (const name of recordNames(records)) {
    const isTaken = declared.has(name) || isLibraryName(name);
    const why = whyNoName(name) ?? (isTaken ? "which the text or the library declares" : undefined);
    if (why !== undefined)
      throw refuse(`the records declare "${name}", ${why}; choose another name`);
  }
  for (const name of fieldNames(records)) {
    const why = whyNoName(name);
    if (why !== undefined)
      throw refuse(`a record has the field "${name}", ${why}; choose another name`);
  }
  return { code: `${code}\n${recordsText(records)}`, entryPoint, isPure };
}

const someWorkgroups = ruleOf(
  "a whole number of workgroups from 0 on, or an array of one to three such numbers",
  (value) => {
    const numbers: readonly unknown[] = Array.isArray(value) ? value : [value];
    const areNumbers = numbers.every((one) => Number.isSafeInteger(one) && Number(one) >= 0);
    return areNumbers && numbers.length > 0 && numbers.length <= 3;
  },
);

const DISPATCH_RULES: OptionRules<WebGpuDispatchOptions> = {
  args: ruleOf(`an array of up to ${ARGUMENTS_MAX} numbers`, (value) => {
    const isShort = Array.isArray(value) && value.length <= ARGUMENTS_MAX;
    return isShort && value.every((one) => typeof one === "number");
  }),
  signal: ruleOf("an AbortSignal", (value) => value instanceof AbortSignal),
  window: wholeNumber(0, END_BYTES - 4, 4),
  bindings: anObject,
  ranges: ruleOf("an array of ranges", (value) => Array.isArray(value)),
};

const RANGE_RULES: OptionRules<WebGpuRange> = {
  variable: required(aText),
  address: required(wholeNumber(0, END_BYTES - 4, 256)),
  lengthBytes: required(wholeNumber(4, END_BYTES, 4)),
};

/** As what is bound. Throws EINVAL. */
function rangeOrders(refuse: Refuse, ranges: readonly WebGpuRange[]): Record<string, BindingOrder> {
  const orders: Record<string, BindingOrder> = {};
  for (const [i, range] of ranges.entries()) {
    const name = `ranges[${i}]`;
    const { variable, address, lengthBytes } = takeOptions(refuse, range, RANGE_RULES, name);
    const most = END_BYTES - address;
    checkArgument(refuse, `${name}.lengthBytes`, lengthBytes, wholeNumber(4, most));
    if (variable in orders) throw refuse(`two ranges are bound to "${variable}"`);
    orders[variable] = { kind: "range", address, lengthBytes };
  }
  return orders;
}

/** Throws EINVAL. */
export function dispatchOptions(
  workgroups: number | readonly number[],
  given: WebGpuDispatchOptions,
): Pick<DispatchOrder, "groups" | "args" | "window"> & {
  readonly signal: AbortSignal | undefined;
  readonly bindings: Readonly<Record<string, WebGpuBinding>>;
  readonly ranges: Readonly<Record<string, BindingOrder>>;
} {
  const refuse = refusalOf("dispatch");
  checkArgument(refuse, "workgroups", workgroups, someWorkgroups);
  const [x = 1, y = 1, z = 1] = typeof workgroups === "number" ? [workgroups] : workgroups;
  checkArgument(refuse, "the number of workgroups", x * y * z, wholeNumber(0, WORKGROUPS_MAX));
  const options = takeOptions<WebGpuDispatchOptions>(refuse, given, DISPATCH_RULES);
  const { args = [], signal, window = 0, bindings = {} } = options;
  const ranges = rangeOrders(refuse, options.ranges ?? []);
  for (const name of Object.keys(bindings))
    if (name in ranges) throw refuse(`"${name}" is in bindings and in ranges; give it once`);
  return { groups: [x, y, z], args: [...args], window, signal, bindings, ranges };
}
