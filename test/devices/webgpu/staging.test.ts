/** @module Memory through which pages go to the GPU: whose it is, and when. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { STAGE_BYTES, Staging } from "../../../src/devices/webgpu/staging.ts";
import { missingGpu, plainGpu } from "./find-gpu.ts";

const skip = missingGpu;
const PART = STAGE_BYTES / 4;

async function openDevice(): Promise<GPUDevice> {
  const gpu = await plainGpu();
  const adapter = typeof gpu === "string" ? null : await gpu.requestAdapter();
  assert.ok(adapter !== null);
  return await adapter.requestDevice();
}

/** Fills so many parts with `value`, as far as there is room, and encodes their copies to `to`. */
function stage(staging: Staging, encoder: GPUCommandEncoder, to: GPUBuffer, value: number): void {
  for (let at = 0; at < STAGE_BYTES; at += PART) {
    const room = staging.take(PART);
    assert.ok(room !== undefined);
    room.fill(value);
    assert.equal(staging.use(new Uint8Array(PART), PART), undefined, "that was not taken");
    const from = staging.use(room, PART);
    assert.ok(from !== undefined);
    encoder.copyBufferToBuffer(from.buffer, from.offsetBytes, to, at, PART);
  }
}

test(
  "what is staged arrives; what the GPU has is nobody's until it is back",
  { skip },
  async () => {
    const device = await openDevice();
    const [store, read] = [0x4 | 0x8, 0x1 | 0x8].map((usage) =>
      device.createBuffer({ size: STAGE_BYTES, usage }),
    );
    assert.ok(store !== undefined && read !== undefined);
    const staging = new Staging(device);
    const submit = (encoder: GPUCommandEncoder): void => {
      staging.unmap();
      device.queue.submit([encoder.finish()]);
      staging.mapAgain();
    };
    let away = 0;
    for (let value = 1; value < 8; value++) {
      if (!staging.hasRoom(PART)) {
        assert.ok(away > 0);
        await staging.nextBack;
      }
      const encoder = device.createCommandEncoder();
      stage(staging, encoder, store, value);
      assert.ok(staging.isFullFor(1));
      assert.equal(staging.take(1), undefined, "it is full");
      encoder.copyBufferToBuffer(store, 0, read, 0, STAGE_BYTES);
      submit(encoder);
      away++;
      await read.mapAsync(1);
      const bytes = new Uint8Array(read.getMappedRange());
      assert.ok(
        bytes.every((byte) => byte === value),
        `not all of it is ${value}`,
      );
      read.unmap();
    }
    await staging.settled();
    assert.equal(staging.nextBack, undefined);
    staging.destroy();
    device.destroy();
  },
);

test("there is no room on a device that was destroyed, and nobody waits", { skip }, async () => {
  const device = await openDevice();
  const staging = new Staging(device);
  const room = staging.take(PART);
  assert.ok(room !== undefined);
  device.destroy();
  assert.equal(room.length, 0, "whoever destroys a device unmaps it");
  assert.equal(staging.take(PART), undefined);
  await staging.settled();
});
