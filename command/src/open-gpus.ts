/**
 * @module The GPU devices of this process that have not been disposed of. Dawn ends a process
 * (SIGABRT) that exits while a device compiles or waits for its GPU, so Ctrl-C disposes of them.
 */

const open = new Set<Promise<AsyncDisposable>>();

/** The device, which `endGpus` disposes of, also while it is being made. */
export async function openGpu<Device extends AsyncDisposable>(
  making: Promise<Device>,
): Promise<Device> {
  open.add(making);
  try {
    return await making;
  } catch (error) {
    open.delete(making);
    throw error;
  }
}

/** Before the process exits: a device may have been disposed of before. */
export async function endGpus(): Promise<void> {
  await Promise.allSettled(
    Array.from(open, async (making) => await (await making)[Symbol.asyncDispose]()),
  );
}
