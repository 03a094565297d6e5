// The kinds of input, a file each in modalities/: an event names its kind, and its layout for readers without that file.
//
// A file exports create(onPick), which returns
//   legend(full, unit, compared): a node that tells how to read the drawing;
//   draw(grid, a, b, {probe, positions, full, large, state}): fills the grid with the samples at these positions. a and
//     b are {header, sprite, method} or null, probe {header, sprite} or null, full the size of the full colour or null.

import { words } from "./checked.js";

const LAYOUTS = new Map([["pictures", "image"], ["words", "tokens"], ["bars", "table"], ["lists", "entities"]]);
const NAME = /^[a-z][a-z0-9_]{0,40}$/;

async function named(name) {
  if (!NAME.test(name)) return null;
  try {
    return await import(`./modalities/${name}.js`);
  } catch {
    return null; // a kind that only a newer version knows
  }
}

/** Load what draws the inputs of an event, given its header. */
export async function modalityOf(header) {
  return (await named(words(header?.form))) ?? named(LAYOUTS.get(words(header?.layout)) ?? "image");
}
