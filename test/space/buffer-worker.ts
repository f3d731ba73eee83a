/**
 * @module The Worker of the tests of users' buffers between threads: it loads, stores and maps as
 * its owner requests.
 */

import { parentPort, workerData } from "node:worker_threads";
import { AddressSpace, type AddressSpaceHandle } from "../../src/index.ts";

/** The owner's requests. */
export type BufferRequest =
  | { readonly do: "load"; readonly address: number }
  | { readonly do: "read"; readonly address: number }
  | { readonly do: "store"; readonly address: number; readonly value: number }
  | { readonly do: "map"; readonly address: number; readonly lengthBytes: number }
  | { readonly do: "map mine"; readonly address: number; readonly buffer: SharedArrayBuffer }
  | { readonly do: "unmap"; readonly address: number; readonly lengthBytes: number }
  | { readonly do: "block"; readonly words: Int32Array }
  | { readonly do: "leave" };

const space = AddressSpace.attachSync(workerData as AddressSpaceHandle);
let own: SharedArrayBuffer | undefined;

async function obey(request: BufferRequest): Promise<unknown> {
  switch (request.do) {
    case "load":
      return space.u32.load(request.address);
    case "read": {
      const bytes = new Uint8Array(4);
      await space.read(request.address, bytes);
      return bytes[0];
    }
    case "store":
      space.u32.store(request.address, request.value);
      return request.value;
    case "map":
      own = new SharedArrayBuffer(request.lengthBytes);
      new Uint32Array(own).fill(77);
      return space.mmapSync(request.lengthBytes, {
        address: request.address,
        fixed: "replace",
        buffer: own,
      });
    case "map mine":
      return space.mmapSync(request.buffer.byteLength, {
        address: request.address,
        fixed: "replace",
        buffer: request.buffer,
      });
    case "unmap":
      space.munmapSync(request.address, request.lengthBytes);
      return own?.byteLength;
    case "block":
      Atomics.wait(request.words, 0, 0);
      return "woken";
    case "leave":
      space.disposeSync();
      return "left";
    default:
      throw new Error("no such request");
  }
}

async function answer(request: BufferRequest): Promise<void> {
  const result = await obey(request).catch(String);
  parentPort?.postMessage({ answer: result });
  if (request.do === "leave") parentPort?.close();
}

parentPort?.on("message", (request: BufferRequest) => void answer(request));
