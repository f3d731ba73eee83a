/**
 * @module The program of the live page. The page shows the text of this function, without the
 * `yield`s, and runs it: what is shown is what runs. Each `yield` waits for the reader's next step;
 * it says what the lines up to the next one do. A forked space is handed over for its map.
 */

import type { AddressSpace } from "hmm-ts";
import type { Machine } from "./machine.ts";
import { BASE, PAGE } from "./layout.ts";

/** What comes next, and the child of the space if there is one. */
export interface Pause {
  readonly text: string;
  readonly child: AddressSpace | undefined;
}

function say(text: string, child?: AddressSpace): Pause {
  return { text, child };
}

/** So many ones. */
function bytes(length: number): Uint8Array {
  return new Uint8Array(length).fill(1);
}

export async function* program(machine: Machine): AsyncGenerator<Pause, void> {
  const { space, thread, device } = machine;
  yield say("Map 24 pages of private memory. No page has a frame yet.");
  const data = await space.mmap(24 * PAGE, { address: BASE });
  yield say("Read four of them. What nobody has stored to is the one page of zeros.");
  await space.read(data, bytes(4 * PAGE));
  yield say("Store to twelve pages: each gets a frame of its own, also where zeros were.");
  await space.write(data, bytes(12 * PAGE));
  yield say("A second thread, a Worker, stores to four more, by the same addresses.");
  await thread.store(data + 12 * PAGE, { pages: 4 });
  yield say("Map four shared pages and read them: they have frames, and nothing was stored.");
  const shared = await space.mmap(4 * PAGE, { address: BASE + 24 * PAGE, shared: true });
  await space.read(shared, bytes(4 * PAGE));
  yield say(
    "The device sums up twelve pages in its memory of eight frames. It faults, copies and evicts. " +
      "The pages that it copies are write-protected. The sums go straight to RAM.",
  );
  await device.kernel({ exportName: "sum" }).dispatch(12, { args: [data, shared] });
  yield say("The Worker stores to a copied page. First the device must drop its copy.");
  await thread.store(data + 11 * PAGE, { pages: 1 });
  yield say("Fork. The child has the same frames; nothing is copied. The device lets go again.");
  const child = await space.fork();
  yield say(
    "The child stores to two pages. It gets copies; the parent keeps the old frames.",
    child,
  );
  await child.write(data, bytes(2 * PAGE));
  yield say("The child stores to shared memory: no copy, and the parent sees it.", child);
  await child.write(shared + 3 * PAGE, bytes(PAGE));
  yield say(
    "The device adds to four pages. Its stores, too, copy what the child still has.",
    child,
  );
  await device.kernel({ exportName: "increment" }).dispatch(4, { args: [data] });
  yield say("Four pages may only be read from now on.", child);
  await space.mprotect(data + 4 * PAGE, 4 * PAGE, "read");
  yield say("The parent does not need four others any more. The child keeps them.", child);
  await space.madvise(data + 12 * PAGE, 4 * PAGE, "dontneed");
  yield say("Unmap eight pages. An access there is a SegmentationFault from now on.", child);
  await space.munmap(data + 16 * PAGE, 8 * PAGE);
  yield say("The child ends. What it shared is the parent's alone.", child);
  await child.dispose();
  yield say("The end.");
}
