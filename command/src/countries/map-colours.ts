/** @module The colours of a map: one for each answer, far apart for countries that follow. */

/** Where no country is. */
const SEA: readonly [number, number, number] = [0xdc, 0xe6, 0xee];
/** The golden angle: hues that follow each other lie far apart, however many there are. */
const HUE_STEP_DEGREES = 137.508;

/** Red, green and blue, 0 to 255, of an answer (layout.ts). */
export function colourOf(answer: number): readonly [number, number, number] {
  if (answer === 0) return SEA;
  const hue = (answer * HUE_STEP_DEGREES) % 360;
  const lightness = 0.45 + 0.1 * (answer % 3);
  return [channel(hue, lightness, 0), channel(hue, lightness, 8), channel(hue, lightness, 4)];
}

const SATURATION = 0.45;

/** A channel of a hue, by the formula of CSS for hsl(). */
function channel(hue: number, lightness: number, shift: number): number {
  const place = (shift + hue / 30) % 12;
  const range = SATURATION * Math.min(lightness, 1 - lightness);
  return Math.round(255 * (lightness - range * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
}

/** The pixels of the answers, three bytes each. */
export function paint(answers: Uint32Array): Uint8Array {
  const pixels = new Uint8Array(3 * answers.length);
  const colours = new Map<number, readonly [number, number, number]>();
  for (const [i, answer] of answers.entries()) {
    let colour = colours.get(answer);
    if (colour === undefined) {
      colour = colourOf(answer);
      colours.set(answer, colour);
    }
    pixels.set(colour, 3 * i);
  }
  return pixels;
}
