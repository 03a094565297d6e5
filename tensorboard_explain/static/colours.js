// Numbers to colours that colour-blind readers can tell apart. In the dark, 0 is dark instead of white.

const SIGNED = {
  light: ["#053061", "#2166ac", "#4393c3", "#92c5de", "#d1e5f0", "#f7f7f7", "#fddbc7", "#f4a582", "#d6604d", "#b2182b", "#67001f"],
  dark: ["#a9d4ff", "#63aef5", "#3a86d1", "#1f5d99", "#173a5e", "#14181d", "#5c1f19", "#a5362a", "#e5563f", "#ff7d62", "#ffb8a5"],
};
const SHARES = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const CLASSES = {
  light: ["#0b6bb8", "#b3530a", "#1d7a4c", "#a8356f", "#6d4bb5", "#8a6a00", "#0a7a85", "#c0322b", "#55606e", "#4c6b1f"],
  dark: ["#6fb7f2", "#f2a25c", "#66cf9b", "#ee8fc0", "#b9a2f5", "#e0c04e", "#5ecbd6", "#ff8d83", "#aab4c0", "#a9cc6b"],
};
const DASHES = ["", "7 3", "2 3", "9 3 2 3", "4 2", "12 4", "2 2 6 2"];
const UNDEFINED = [160, 160, 160];
const [MARKED, LEAST_SIDE] = [600, 4]; // pixels of a picture with marks, and of each of its values at least
const WEAK = 0.1; // of the full colour: negative values below it have no mark
const LEVELS = 254; // even, so that 0 has a colour of its own

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

function table(stops) {
  const colours = stops.map(rgb);
  const bytes = new Uint8Array(3 * (LEVELS + 1));
  for (let level = 0; level <= LEVELS; level++) {
    const place = (level / LEVELS) * (colours.length - 1);
    const from = Math.min(colours.length - 2, Math.floor(place));
    for (let c = 0; c < 3; c++) {
      bytes[3 * level + c] = colours[from][c] + (place - from) * (colours[from + 1][c] - colours[from][c]);
    }
  }
  return bytes;
}

const tables = { light: table(SIGNED.light), dark: table(SIGNED.dark), shares: table(SHARES) };
const theme = () => (document.documentElement.dataset.theme === "dark" ? "dark" : "light");

function painted(data, values, colours, share) {
  for (let i = 0, at = 0; i < values.length; i++, at += 4) {
    const value = values[i];
    if (Number.isNaN(value)) data.set(UNDEFINED, at);
    else {
      const level = 3 * Math.round(LEVELS * Math.min(1, Math.max(0, share(value))));
      data[at] = colours[level];
      data[at + 1] = colours[level + 1];
      data[at + 2] = colours[level + 2];
    }
    data[at + 3] = 255;
  }
}

/**
 * Paint signed values on a canvas: red for positive, blue for negative; `full` gets the full colour. `isMarked` writes a minus
 * into what is negative, for eyes that cannot tell the colours apart; the canvas has several pixels for each value then.
 * Returns true if there was room for that.
 */
export function paintSigned(canvas, values, [height, width], full, { isMarked = false } = {}) {
  const side = isMarked ? Math.floor(MARKED / Math.max(height, width)) : 1;
  if (side >= LEAST_SIDE) {
    paintCells(canvas, values, [height, width], full, [side, side]);
    return true;
  }
  const pixels = sized(canvas, height, width);
  const scale = full > 0 ? full : 1;
  painted(pixels.data, values, tables[theme()], (value) => (value / scale + 1) / 2);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return false;
}

/** Paint signed values as cells of so many pixels, tall and wide, with a minus in what is negative, however narrow a cell is. */
export function paintCells(canvas, values, [height, width], full, [tall, wide]) {
  const scale = full > 0 ? full : 1;
  sized(canvas, height * tall, width * wide);
  const context = canvas.getContext("2d");
  const colour = new Uint8ClampedArray(4);
  const [inset, thick] = [wide < LEAST_SIDE ? 0 : Math.floor(wide / 4), Math.max(1, Math.round(tall / 10))];
  values.forEach((value, i) => {
    painted(colour, [value], tables[theme()], (v) => (v / scale + 1) / 2);
    const [x, y] = [(i % width) * wide, Math.floor(i / width) * tall];
    context.fillStyle = `rgb(${colour[0]}, ${colour[1]}, ${colour[2]})`;
    context.fillRect(x, y, wide, tall);
    if (!(value < -WEAK * scale)) return;
    context.fillStyle = inkOn(colour);
    context.fillRect(x + inset, y + Math.floor(tall / 2), wide - 2 * inset, thick);
  });
}

/** Black or white, whichever has more contrast to a colour (WCAG 2.2: they have the same at a luminance of 0.179). */
function inkOn(colour) {
  const [red, green, blue] = [...colour].slice(0, 3).map((byte) => (byte <= 10 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

/** Paint shares from 0 (dark) to 1 (bright). */
export function paintShares(canvas, values, [height, width]) {
  const pixels = sized(canvas, height, width);
  painted(pixels.data, values, tables.shares, (value) => value);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

/** The colour of one signed value as CSS, and black or white for letters on it. */
export function signedInk(value, full) {
  const pixel = new Uint8ClampedArray(4);
  painted(pixel, [value], tables[theme()], (v) => (v / (full > 0 ? full : 1) + 1) / 2);
  return { ground: `rgb(${pixel[0]}, ${pixel[1]}, ${pixel[2]})`, ink: inkOn(pixel) };
}

/** Paint a map over a picture: the picture in grey, under the signed colours where the map is large; `full` gets the full colour. */
export function paintOver(canvas, pixels, values, [height, width], full) {
  const [rows, columns] = [pixels.height, pixels.width];
  const over = sized(canvas, rows, columns);
  const colours = tables[theme()];
  const scale = full > 0 ? full : 1;
  const at = (row, column) => values[Math.min(height - 1, Math.max(0, row)) * width + Math.min(width - 1, Math.max(0, column))] || 0;
  for (let y = 0; y < rows; y++) {
    const v = ((y + 0.5) * height) / rows - 0.5;
    const [top, down] = [Math.floor(v), v - Math.floor(v)];
    for (let x = 0; x < columns; x++) {
      const u = ((x + 0.5) * width) / columns - 0.5;
      const [left, right] = [Math.floor(u), u - Math.floor(u)];
      const value = (1 - down) * ((1 - right) * at(top, left) + right * at(top, left + 1)) + down * ((1 - right) * at(top + 1, left) + right * at(top + 1, left + 1));
      const share = Math.max(-1, Math.min(1, value / scale));
      const strength = 0.9 * Math.sqrt(Math.abs(share));
      const level = 3 * Math.round(LEVELS * (share >= 0 ? 0.85 : 0.15)); // strong colours only: how strong says how opaque
      const i = 4 * (y * columns + x);
      const grey = 0.3 * pixels.data[i] + 0.59 * pixels.data[i + 1] + 0.11 * pixels.data[i + 2];
      for (let c = 0; c < 3; c++) over.data[i + c] = (1 - strength) * grey + strength * colours[level + c];
      over.data[i + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(over, 0, 0);
}

const KINDS = { dead: ["--wrong", 0, 3], exclusive: ["--won", 1, 2], always: ["--soft", 2, 1] }; // colour, top, height

/** Paint a row of kinds of neurons, each in a colour and a height of its own: "dead", "exclusive", "always", or "" for none. */
export function paintKinds(canvas, kinds) {
  const style = getComputedStyle(document.documentElement);
  const context = canvas.getContext("2d");
  canvas.width = kinds.length;
  canvas.height = 3;
  kinds.forEach((kind, x) => {
    if (!kind) return;
    const [colour, top, height] = KINDS[kind];
    context.fillStyle = style.getPropertyValue(colour);
    context.fillRect(x, top, 1, height);
  });
}

/** Paint pixels as they are. */
export function paintPixels(canvas, pixels) {
  sized(canvas, pixels.height, pixels.width);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

const COARSE = 16; // a picture of fewer pixels is shown as squares

function sized(canvas, height, width) {
  canvas.classList.toggle("coarse", Math.max(height, width) < COARSE);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  return new ImageData(width, height);
}

/** A CSS gradient of the signed colours. */
export const signedGradient = () => `linear-gradient(to right, ${SIGNED[theme()].join(", ")})`;
/** A CSS gradient of the colours of shares. */
export const shareGradient = () => `linear-gradient(to right, ${SHARES.join(", ")})`;
/** The colour of a class's curve. */
export const classColour = (index) => CLASSES[theme()][((index % 10) + 10) % 10];
/** The dashes of a class's curve, so that neighbours differ by more than colour; beyond the tenth, colours begin again. */
export const classDash = (index) => DASHES[(((index % 10) + 10) % 10 + Math.floor(index / 10)) % DASHES.length];
