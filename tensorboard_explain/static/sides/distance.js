// How far two explanations of the same samples are apart: cosine distance with its error, sample by sample.

import { valuesAt } from "../views/sample_card.js";

const SURE = 2; // standard errors: 95 of 100 true errors lie below
const BYTE_STEP = 1 / 32; // of a map that travels as a picture, in its scale

function lengthOf(values) {
  let sum = 0;
  for (const value of values) if (Number.isFinite(value)) sum += value * value;
  return Math.sqrt(sum);
}

/** How far a map may be off, in shares of its length: all of it, and the part that turns it towards another map. */
function errorOf({ method, header }, values, i) {
  const stated = method.error?.[i];
  const [size, n] = [lengthOf(values) || 1, values.length];
  let sum = 0;
  for (const value of values) sum += Math.abs(value) || 0;
  const whole = Number.isFinite(stated) ? stated : 0;
  // the error lies in as many directions as the map has strong values, and only one of them leads to the other map
  const aside = whole / Math.max(1, sum / size);
  const rounding = method.numbers || !header.tile ? 0 : (BYTE_STEP * (method.scales[i] || 0)) / Math.sqrt(12) / size;
  return { whole: Math.hypot(whole, rounding * Math.sqrt(n)), aside: Math.hypot(aside, rounding) };
}

/** The cosine distance of two maps and its error; null where there is none. */
export function distanceOf(a, b, i, j = i) {
  const [one, other] = [valuesAt(a, i), valuesAt(b, j)];
  if (!one || !other || one.length !== other.length) return null;
  let dot = 0;
  for (let k = 0; k < one.length; k++) {
    const product = one[k] * other[k];
    if (Number.isFinite(product)) dot += product;
  }
  const size = lengthOf(one) * lengthOf(other);
  if (!(size > 0)) return null;
  const cosine = Math.max(-1, Math.min(1, dot / size));
  const [ofA, ofB] = [errorOf(a, one, i), errorOf(b, other, j)];
  const shrunk = (ofA.whole ** 2 + ofB.whole ** 2) / 2; // what points elsewhere makes both maps longer, and no more alike
  return { distance: 1 - cosine, error: SURE * Math.sqrt(1 - cosine * cosine) * Math.hypot(ofA.aside, ofB.aside) + Math.abs(cosine) * shrunk };
}

/** Average distances: {distance, error, n}; null where there is none. */
export function meanOf(distances) {
  const found = distances.filter(Boolean);
  if (!found.length) return null;
  const mean = (key) => found.reduce((sum, each) => sum + each[key], 0) / found.length;
  return { distance: mean("distance"), error: mean("error"), n: found.length };
}
