/** WebGPU's types, for the files that use a GPUDevice: those of no program's own declarations. */
/// <reference types="@webgpu/types" />
