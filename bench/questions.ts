/**
 * @module What the figures mean to who uses hmm-ts: the questions that a user asks, in the order in
 * which users ask them, and what each figure tells about the answer. docs/BENCHMARKS.md has this
 * order. A test holds that every figure answers one question.
 */

export interface Answer {
  /** Of the figure. */
  readonly name: string;
  /** What a user takes from it. */
  readonly means: string;
}

export interface Question {
  readonly asked: string;
  /** In short, and without numbers: those are in the figures. */
  readonly short: string;
  readonly answers: readonly Answer[];
}

export const questions: readonly Question[] = [
  {
    asked: "What does it cost to read and write by address?",
    short:
      "A load through the address space is some instructions more than one of a typed array, at every size of memory. A store alone costs more, for it marks its thread; put many into a section.",
    answers: [
      {
        name: "load",
        means:
          "What your loop pays for each number of 32 bits that it loads by address, where the memory is near the processor or is read in order.",
      },
      {
        name: "reach",
        means:
          "The same where you jump about in much memory, or follow pointers through it: the price must not grow with the memory.",
      },
      {
        name: "load-ptr",
        means: "The same for pointers: what it costs to read the address of the next node.",
      },
      {
        name: "reach-ptr",
        means: "A list or tree of pointers in much memory: what each hop costs.",
      },
      { name: "load-f64", means: "The same for doubles, near the processor or in order." },
      { name: "reach-f64", means: "Doubles, all over much memory." },
      {
        name: "section",
        means:
          "What a store costs in `space.section`: the way to store in a loop. Whoever changes a mapping meanwhile waits for the section's next access.",
      },
      {
        name: "store",
        means:
          "What one store costs without a section. The plain side has the same two marks, so this is what the translation adds.",
      },
      {
        name: "mappings",
        means:
          "Whether loads become slower by what is mapped: RAM that has grown, read-only memory, a fork.",
      },
      {
        name: "huge-load",
        means: "Whether huge pages make jumps through a gigabyte cheaper. They do, a little.",
      },
    ],
  },
  {
    asked: "How do I get full speed?",
    short: "Open a view: inside it you have a plain typed array. To copy, use `read` and `write`.",
    answers: [
      { name: "view", means: "Inside a view nothing of ours is in your loop." },
      {
        name: "view-open",
        means:
          "What it costs to open one over much memory, a page: new memory, and memory that lies in a row already.",
      },
      { name: "copy", means: "`space.read` and `space.write` of much memory at once." },
    ],
  },
  {
    asked: "What do new memory, files and the calls cost?",
    short:
      "New memory costs about what a new buffer costs, and the calls cost what they do in Linux, give or take the factor below.",
    answers: [
      {
        name: "touch",
        means: "A program that fills fresh memory, page by page, against one that fills a buffer.",
      },
      { name: "huge-touch", means: "The same with huge pages: one fault for each 2 MiB." },
      {
        name: "call-touch",
        means:
          "Faults, `mprotect` and `mremap` of much memory, beside the kernel's own: whether you can use them as you do in C.",
      },
      {
        name: "call-pages",
        means: "`fork`, the stores that copy pages after it, and giving memory back.",
      },
      {
        name: "mmap-page",
        means: "An allocator of yours that maps page by page: the price of one call.",
      },
      { name: "munmap-page", means: "The same when it gives the pages back." },
      {
        name: "file",
        means: "To map a large file and read through it, instead of reading it into a buffer.",
      },
    ],
  },
  {
    asked: "Do threads get in each other's way?",
    short: "Threads that fault share no word that they write.",
    answers: [
      {
        name: "threads",
        means:
          "How much faster two threads touch memory than one, beside two threads that have nothing in common: 1.00x says that the address space adds no wait.",
      },
    ],
  },
  {
    asked: "How fast is a device on my pointers?",
    short:
      "A kernel of the software device loads as a CPU thread does. It pays off where data are larger than what the device may hold, or where several threads compute.",
    answers: [
      { name: "kernel-load", means: "What a load by address costs in a kernel." },
      { name: "kernel-store", means: "What a store by address costs in a kernel." },
      { name: "dispatch", means: "What each dispatch costs beside its work." },
      {
        name: "device-touch",
        means: "What the first use of each page costs a kernel, by kind of memory.",
      },
      {
        name: "geocode",
        means:
          "A whole job, a search through a tree of pointers, beside the same job on plain arrays: with a quarter of the tree on the device, and with all of it.",
      },
      { name: "device-start", means: "How long you wait for a device when you make one." },
    ],
  },
  {
    asked: "What if threads and devices change the same memory?",
    short:
      "A device lets go before a mapping changes. That costs a message there and back; many devices and ranges elsewhere cost next to nothing.",
    answers: [
      {
        name: "invalidation",
        means:
          "How long a call waits because a device has the page, and how long until the device sees the new value.",
      },
      {
        name: "idle-device",
        means: "What it costs your threads' calls that a device is there, which has nothing of it.",
      },
      {
        name: "ranges",
        means: "Whether a call gets slower by what devices use elsewhere in the space.",
      },
      {
        name: "snapshot",
        means: "For drivers: how fast the page table is read for a device, beside C.",
      },
      {
        name: "huge-walk",
        means: "For drivers: what a device with large pages saves on a huge mapping.",
      },
      {
        name: "migrate-huge",
        means: "How fast huge pages move to a device's own memory and back, beside a plain copy.",
      },
      { name: "migrate-small", means: "The same for pages of 4 KiB: each has an entry to change." },
    ],
  },
  {
    asked: "What does a GPU cost, through WebGPU?",
    short:
      "Spans and direct ranges run at full speed. Bare loads pay for a translation in WGSL each. Pages that come on demand beat an upload of everything where a kernel reads little of it.",
    answers: [
      { name: "webgpu-span", means: "A kernel that reads runs of addresses by spans." },
      { name: "webgpu-direct", means: "A kernel that gets a range as a plain array." },
      { name: "webgpu-load", means: "A kernel whose invocations load neighbouring addresses." },
      { name: "webgpu-random", means: "A kernel whose invocations load all over the memory." },
      {
        name: "webgpu-random-2",
        means: "The same where the device's memory is larger than one buffer: two of them.",
      },
      { name: "webgpu-random-4", means: "The same with four." },
      {
        name: "webgpu-sparse",
        means:
          "A kernel that needs few pages of much data: what you save by not uploading the rest.",
      },
      {
        name: "webgpu-stream",
        means:
          "A kernel that reads everything once, and says nothing of it before: the worst case.",
      },
      { name: "webgpu-pure", means: "The same, where you know that the kernel is pure." },
      {
        name: "webgpu-declared",
        means: "The same, where the dispatch names the range before it runs.",
      },
      {
        name: "webgpu-tiles",
        means: "Data that do not fit: declared ranges beside tiles that you would write by hand.",
      },
      { name: "webgpu-faults", means: "What a dispatch pays if pages are missing." },
      {
        name: "webgpu-chase",
        means: "Pointers that nobody can foresee, half of them on the device.",
      },
      {
        name: "webgpu-chain",
        means: "Several dispatches on the same data, where what they write stays on the GPU.",
      },
      {
        name: "webgpu-backups",
        means: "What it costs that a pass over pages that stay on the GPU can be undone.",
      },
      {
        name: "webgpu-memory",
        means: "How much memory of the host it takes to work on data larger than the GPU's memory.",
      },
    ],
  },
  {
    asked: "How long does the checker take?",
    short: "Small programs are explored to the end while you wait.",
    answers: [
      {
        name: "checker",
        means: "How many executions a second it explores, and what a second processor gives.",
      },
    ],
  },
];
