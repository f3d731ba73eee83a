/**
 * @module docs/ERRORS.md: every code of an HmmError, and the texts of the operations' failures,
 * which are those of the source (src/space/failures.ts, src/devices/device-fault.ts).
 */

/**
 * What each code means, when it comes, and what to do. A test compares the names with
 * `HmmErrorCode`.
 *
 * @type {readonly (readonly [code: string, meaning: string, when: string, remedy: string])[]}
 */
export const codes = [
  [
    "EACCES",
    "The source does not allow it.",
    "`mmap` or `mprotect` would make a shared mapping writable, and its source cannot be written; a file that may not be opened.",
    "Map it privately or for reading, or open the source for writing.",
  ],
  [
    "EAGAIN",
    "It would take too long now.",
    "On a page's main thread: a load or store waits for something that takes longer than a moment. Anywhere: other threads change the mapping all the time.",
    "Use the promise form, or try again later; change mappings less often.",
  ],
  [
    "EBADF",
    "The object has been disposed of.",
    "Any use of an `AddressSpace`, `View`, `SoftwareDevice` or `DriverThread` after its end; a file that has been closed.",
    "Make another one; end it later.",
  ],
  [
    "EBUSY",
    "Something else uses it, and did not let go in time.",
    "`view`, when another view or a fork holds the pages; `mremap` under a write view; a device's fault, while its mapping goes on changing.",
    "Dispose of the view first; change the mapping less often.",
  ],
  [
    "ECANCELED",
    "It was begun and given up.",
    "A kernel threw (`KernelFailure`: `cause` is what it threw); a device was disposed of during its dispatch; the `signal` of a dispatch was raised (`cause` is its reason).",
    "Mend the kernel; await the dispatch before the device's end.",
  ],
  [
    "EDEADLK",
    "The thread would wait for itself.",
    "A blocking form needs what a suspended task of this thread holds, or a source of this thread's own that answers by a promise; a section that held others up (debug builds).",
    "Use the promise form, and let the event loop turn.",
  ],
  [
    "EEXIST",
    "Something is mapped there.",
    '`mmap` with `fixed: "noreplace"`.',
    'Unmap it first, or use `fixed: "replace"`.',
  ],
  [
    "EFAULT",
    "Nothing is mapped there, or not with that right.",
    "`SegmentationFault` of a load, store, `read` or `write`; `DeviceFault`; `view` and `mremap` of what is not mapped.",
    "Map it, change its protection, or check the address.",
  ],
  ["EFBIG", "It is too long.", "A source of more than 8 GiB.", "Map a shorter one."],
  [
    "EINTR",
    "The host interrupted it.",
    "What a source's own code or a file reported so: `msync`, or the write-back of an unmap.",
    "Call again: the data are kept.",
  ],
  [
    "EINVAL",
    "An argument or an option cannot be right.",
    "A wrong type, a number out of its range, an unknown option, an address that is not aligned, a damaged handle; a kernel that is no plain function, or whose module cannot be loaded.",
    "The message names the argument, what was given, and what is wanted.",
  ],
  [
    "EIO",
    "The source or the host failed.",
    "A page could not be read or written (`cause` has what was thrown); a thread of a device ended with an error of its own.",
    "Mend the source and call again: data that could not be written are kept.",
  ],
  ["EISDIR", "The path is a folder.", "`mmap` of a file.", "Give a regular file."],
  ["ELOOP", "The path has too many links.", "`mmap` of a file.", "Give another path."],
  [
    "EMFILE",
    "Too many of them.",
    "The machine has 64 threads; a thread owns as many spaces, views and ranges as it may; the host has too many open files.",
    "Dispose of some, or let another thread own them.",
  ],
  ["ENAMETOOLONG", "The path is too long.", "`mmap` of a file.", "Give a shorter path."],
  [
    "ENODEV",
    "The device, or its driver, is gone.",
    "A thread of the device has ended; `attach` in a thread that has not loaded a driver in use, or any operation there if the driver came into use later; `mmap` of what is no regular file.",
    "Make a new device; import the driver's module before attaching.",
  ],
  ["ENOENT", "There is no such file.", "`mmap` of a file; a kernel's module.", "Check the path."],
  [
    "ENOMEM",
    "Memory or a limit is used up, or part of the range is not mapped.",
    "RAM, the kernel heap, the limits of the space or the host's memory; `mprotect`, `msync` and `madvise` over a hole.",
    "Unmap something, or create the space with more `ramBytes` or `heapBytes`; map the whole range.",
  ],
  [
    "ENOSPC",
    "The store behind a source is full.",
    "`msync`, or the write-back of an unmap.",
    "Make room, and call `msync` again: the data are kept.",
  ],
  [
    "ENOSYS",
    "The host lacks what it needs.",
    "A page that is not cross-origin isolated has no shared memory.",
    "Send the two headers that the message names.",
  ],
  ["ENOTDIR", "Part of the path is no folder.", "`mmap` of a file.", "Check the path."],
  [
    "ENOTRECOVERABLE",
    "The machine has stopped.",
    "An operation failed while it held a lock, so what the lock guards may be half changed. Every thread gets it.",
    "Make a new machine with `AddressSpace.create`; please report the message.",
  ],
  [
    "ENXIO",
    "A buffer has not arrived in this thread.",
    "Another thread has mapped a `SharedArrayBuffer`, and this one has not received it.",
    "Let the event loop turn and try again; in a browser connect the threads with `connect`.",
  ],
  [
    "EOPNOTSUPP",
    "Not in this thread, or not with this memory.",
    "A blocking form where the thread may not block; files where the host has none; shared memory that a device was to have alone.",
    "Use the promise form; map private memory.",
  ],
  [
    "EOWNERDEAD",
    "The machine has stopped.",
    "A thread was ended while it held a lock for writing; the message names both. Every thread gets it.",
    "Make a new machine with `AddressSpace.create`.",
  ],
  [
    "EPERM",
    "That access is not permitted.",
    "A device stores where the mapping is read-only; a debug build found a store through a read view.",
    'Map it read-write; open the view with "write".',
  ],
  [
    "ESRCH",
    "The device's address space is gone.",
    "A dispatch after the last hold of the space has ended.",
    "Keep an `AddressSpace` object until the device is done.",
  ],
  [
    "ESTALE",
    "The handle's space is gone.",
    "`attach`, when all who used the space have disposed of it.",
    "Attach before the last of them does.",
  ],
  [
    "ETIMEDOUT",
    "It took too long.",
    "What a source's own code reported so: `msync`, or the write-back of an unmap. A kernel in WGSL went round in its loops for too long.",
    "Mend the source, and call again: the data are kept. Let the kernel end, or allow more.",
  ],
];

/** @param {readonly (readonly string[])[]} rows */
function tableOf(rows) {
  return rows.map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`);
}

/** @returns {Promise<string>} */
export async function renderErrors() {
  const built = new URL("../../.build/src/", import.meta.url);
  const { explainedFailures } = await import(new URL("space/failures.js", built).href);
  const { explainedFaults } = await import(new URL("devices/device-fault.js", built).href);
  const quoted = codes.map(([code, ...rest]) => [`\`${code}\``, ...rest]);
  return [
    "# Errors",
    "",
    "The codes and words are those of the source: `npm run docs` writes this file, and a test checks that it is current.",
    "",
    "What an operation cannot do, it throws or rejects with, as an `HmmError`:",
    "",
    "| field | content |",
    "| --- | --- |",
    "| `code` | one of the codes below, of the type `HmmErrorCode`: a `switch` over it is checked by the compiler |",
    "| `syscall` | the operation, such as `mmap` |",
    "| `address` | the address that it was about, or undefined |",
    "| `message` | `Cannot <what>: <state>; <what to do>` |",
    "| `cause` | what your own code, a file or a kernel threw, if that is the reason |",
    "| `stack` | begins at your call, or at your `await` of its promise (in hosts that let a library say so: Node, Chromium, Deno, Bun, Safari) |",
    "",
    "`SegmentationFault` is an `HmmError` of a load or store, with `signal`, `access` and `reason`. `DeviceFault` is that of a device,",
    "`KernelFailure` that of its kernel; their stacks begin at the kernel's line, where it is JavaScript, and go on with the dispatch.",
    "An `AssertionFailure` is a defect of this library, or of a driver: do not catch it, report it.",
    "",
    "## Codes",
    "",
    "| code | meaning | when | what to do |",
    "| --- | --- | --- | --- |",
    ...tableOf(quoted),
    "",
    "## Words, by operation",
    "",
    "Bad arguments have words of their own: the name, what was given, what is wanted.",
    "",
    "| operation | code | state; what to do |",
    "| --- | --- | --- |",
    ...tableOf(explainedFailures()),
    ...tableOf(
      explainedFaults().map(
        /** @param {readonly [string, string]} fault */ ([code, text]) => ["device", code, text],
      ),
    ),
    "",
  ].join("\n");
}
