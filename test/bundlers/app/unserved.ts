// What a bundled program is told that hands its device no Worker.
import { AddressSpace, SoftwareDevice } from "hmm-ts";

AddressSpace.create({ ramBytes: 2 ** 20 })
  .then((space) => SoftwareDevice.create(space, { memoryBytes: 4096 }))
  .then(
    () => (globalThis.outcome = "no error"),
    (error: unknown) => (globalThis.outcome = String(error)),
  );
