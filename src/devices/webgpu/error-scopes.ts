/** @module devices/webgpu/error-scopes: WebGPU's errors, by scopes of a device. */

/** What WebGPU said, without what Dawn adds of its own objects and calls. */
export function plainMessage(message: string): string {
  return message.replace(/\n *- While [^\n]*/gu, "").trim();
}

/**
 * What two scopes have caught, the inner one first. Both are popped at once: whoever shares the
 * device may have scopes of his own around this.
 */
export function popScopes(
  device: GPUDevice,
): Promise<[inner: GPUError | null, outer: GPUError | null]> {
  return Promise.all([device.popErrorScope(), device.popErrorScope()]);
}
