// Pictures that hold numbers: tiles in rows, read back from a PNG.

const COLUMNS = 8;
const ZERO = 128;
const STEPS = 32;
const MOST_PIXELS = 16_000_000;

/** Decode a PNG into {width, height, bytes: RGBA}. */
export async function readSprite(blob) {
  // no colour management: the bytes are numbers
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new Error(`the picture has ${width} × ${height} pixels`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { width, height, bytes: context.getImageData(0, 0, width, height).data };
}

/** Say how many whole tiles a sprite has. */
export function tileCount(sprite, [height, width]) {
  return Math.floor(sprite.height / height) * Math.floor(sprite.width / width);
}

function corner(sprite, [height, width], index, top) {
  const columns = Math.max(1, Math.min(COLUMNS, Math.floor(sprite.width / width)));
  return { x: (index % columns) * width, y: Math.max(0, top) + Math.floor(index / columns) * height };
}

/** Read a tile's values: Float32Array, NaN where undefined; null if the sprite has no such tile. `top` is the row where its tiles begin. */
export function tileValues(sprite, tile, index, scale, top = 0) {
  const [height, width] = tile;
  const { x, y } = corner(sprite, tile, index, top);
  if (x + width > sprite.width || y + height > sprite.height) return null;
  const values = new Float32Array(height * width);
  for (let row = 0, out = 0; row < height; row++) {
    let at = 4 * ((y + row) * sprite.width + x);
    for (let column = 0; column < width; column++, out++, at += 4) {
      const byte = sprite.bytes[at];
      values[out] = byte === 0 ? NaN : ((byte - ZERO) / STEPS) * scale;
    }
  }
  return values;
}

/** Cut a tile's pixels out: ImageData; null if the sprite has no such tile. */
export function tilePixels(sprite, tile, index, top = 0) {
  const [height, width] = tile;
  const { x, y } = corner(sprite, tile, index, top);
  if (x + width > sprite.width || y + height > sprite.height) return null;
  const pixels = new ImageData(width, height);
  for (let row = 0; row < height; row++) {
    const from = 4 * ((y + row) * sprite.width + x);
    pixels.data.set(sprite.bytes.subarray(from, from + 4 * width), 4 * width * row);
  }
  return pixels;
}
