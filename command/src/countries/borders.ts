/**
 * @module Borders from GeoJSON that comes in pieces: a FeatureCollection of polygons, ring by ring.
 * Beside one piece of the file, one ring is in memory.
 */

import { JsonReader, type JsonListener } from "./json-events.ts";
import { coordinateOf } from "./layout.ts";

/** Hears of the borders in the order of the file. */
export interface BorderListener {
  /**
   * A ring of the country of this number, counted from 0: `count` places, x and y by turns, of
   * which the last is the first. `places` is valid until this returns, and may be longer.
   */
  onRing(country: number, places: Uint32Array, count: number): void;
  /** All rings of this country have come. */
  onCountry(name: string): void;
}

/** The file is no FeatureCollection of polygons. */
export class BorderError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "BorderError";
  }
}

/** Properties that name a country, the best one first. */
const NAMES: readonly string[] = ["A3", "name", "NAME", "ADMIN"];
/** As many as a leaf can tell apart. */
const COUNTRIES_MAX = 2 ** 31 - 1;
/** A ring has its first place again as its last. */
const RING_PLACES_MIN = 4;

/** Reads pieces of a file. Throws BorderError and JsonError. */
export class BorderReader {
  readonly #json: JsonReader;
  readonly #features: FeatureListener;

  constructor(listener: BorderListener) {
    this.#features = new FeatureListener(listener);
    this.#json = new JsonReader(this.#features);
  }

  push(piece: Uint8Array): void {
    this.#json.push(piece);
  }

  /** The file is over. */
  end(): void {
    this.#json.end();
    this.#features.checkEnd();
  }
}

/**
 * Depths of brackets: the file 1, `features` 2, a feature 3, its geometry or properties 4,
 * `coordinates` 5. A Polygon's rings lie at 6 and its places at 7; a MultiPolygon's one deeper.
 */
const FEATURES = 2;
const FEATURE = 3;
const PART = 4;
const COORDINATES = 5;

class FeatureListener implements JsonListener {
  readonly #listener: BorderListener;
  #places = new Uint32Array(1024);
  #count = 0;
  /** Numbers of the place that is being read. */
  #numbers = 0;
  #country = 0;
  #depth = 0;
  /** The last key at each depth. */
  readonly #keys: string[] = [];
  #type = "";
  /** Depth of the places of this feature; 0 if none has come. */
  #placeDepth = 0;
  #name: string | undefined;
  #nameRank: number = NAMES.length;
  #hasFeatures = false;

  constructor(listener: BorderListener) {
    this.#listener = listener;
  }

  onStart(isArray: boolean): void {
    this.#depth++;
    if (this.#depth === FEATURES && isArray && this.#keys[1] === "features")
      this.#hasFeatures = true;
    if (this.#isInCoordinates() && this.#depth > COORDINATES) this.#numbers = 0;
  }

  onEnd(): void {
    const depth = this.#depth--;
    if (depth === FEATURE && this.#keys[1] === "features") this.#endFeature();
    if (depth <= COORDINATES || !this.#isInCoordinates()) return;
    if (depth === this.#placeDepth) this.#endPlace();
    else if (depth === this.#placeDepth - 1) this.#endRing();
  }

  onKey(name: string): void {
    this.#keys[this.#depth] = name;
  }

  onNumber(value: number): void {
    if (!this.#isInCoordinates() || this.#depth < COORDINATES) return;
    if (this.#placeDepth === 0) this.#placeDepth = this.#depth;
    if (this.#depth !== this.#placeDepth) this.#fail("its places are nested unevenly");
    const limit = this.#numbers === 0 ? 180 : 90;
    if (this.#numbers < 2) {
      if (Math.abs(value) > limit) this.#fail(`${value} is no longitude or latitude in degrees`);
      if (2 * this.#count + 2 > this.#places.length) {
        const larger = new Uint32Array(2 * this.#places.length);
        larger.set(this.#places);
        this.#places = larger;
      }
      this.#places[2 * this.#count + this.#numbers] = coordinateOf(value);
    }
    this.#numbers++;
  }

  onText(text: string): void {
    if (this.#depth !== PART || this.#keys[1] !== "features") return;
    const key = this.#keys[PART] ?? "";
    if (this.#keys[FEATURE] === "geometry" && key === "type") this.#type = text;
    if (this.#keys[FEATURE] !== "properties") return;
    const rank = NAMES.indexOf(key);
    if (rank < 0 || rank >= this.#nameRank) return;
    this.#name = text;
    this.#nameRank = rank;
  }

  onLiteral(): void {}

  checkEnd(): void {
    if (!this.#hasFeatures) throw new BorderError("it has no features; name a FeatureCollection");
    if (this.#country === 0) throw new BorderError("it has no feature at all");
  }

  /** Of a feature's geometry; deeper brackets have no keys of their own. */
  #isInCoordinates(): boolean {
    return (
      this.#depth >= PART &&
      this.#keys[PART] === "coordinates" &&
      this.#keys[FEATURE] === "geometry" &&
      this.#keys[1] === "features"
    );
  }

  #endPlace(): void {
    if (this.#numbers < 2) this.#fail("a place has fewer than two numbers");
    this.#count++;
  }

  #endRing(): void {
    const [places, count] = [this.#places, this.#count];
    this.#count = 0;
    const last = 2 * (count - 1);
    const isClosed = places[0] === places[last] && places[1] === places[last + 1];
    if (count < RING_PLACES_MIN || !isClosed) this.#fail("a ring is not closed");
    this.#listener.onRing(this.#country, places, count);
  }

  #endFeature(): void {
    const wanted = { Polygon: COORDINATES + 2, MultiPolygon: COORDINATES + 3 }[this.#type];
    if (wanted === undefined || (this.#placeDepth !== 0 && this.#placeDepth !== wanted))
      this.#fail(`its geometry is no polygon but ${JSON.stringify(this.#type.slice(0, 40))}`);
    const name = this.#name ?? `country ${this.#country + 1}`;
    this.#country++;
    if (this.#country > COUNTRIES_MAX) this.#fail("it is one feature too many");
    [this.#type, this.#placeDepth, this.#name] = ["", 0, undefined];
    this.#nameRank = NAMES.length;
    this.#keys.length = FEATURE;
    this.#listener.onCountry(name);
  }

  #fail(what: string): never {
    throw new BorderError(`feature ${this.#country + 1}: ${what}`);
  }
}
