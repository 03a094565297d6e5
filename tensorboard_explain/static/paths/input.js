// What was put in, at the left of a path: the image with its patches outlined, or all words of a text in order.

import { svg } from "../dom.js";
import { tilePixels } from "../sprite.js";
import { TOP, ROW, placesOf } from "./layout.js";

const IMAGE = 126;

/** The address of a graph's image, from the sprite of its event; "" where there is none. */
export function imageOf(sprite, tile, index) {
  const pixels = sprite && tile && index >= 0 ? tilePixels(sprite, tile, index) : null;
  if (!pixels) return "";
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas.toDataURL();
}

/** A copy of a patch as the picture of its node; null for other nodes. */
export function patchImage(graph, node, place) {
  const box = graph.box?.(node);
  if (!box) return null;
  const [top, left, height, width] = box;
  const [rows, columns] = graph.tile;
  const half = place.half;
  const crop = `${left * columns} ${top * rows} ${width * columns} ${height * rows}`;
  return svg("svg", { x: place.x - half, y: place.y - half, width: 2 * half, height: 2 * half, viewBox: crop, preserveAspectRatio: "none", overflow: "hidden" },
    svg("image", { class: "pixels", href: graph.image, width: columns, height: rows, preserveAspectRatio: "none" }));
}

function words(graph, layout) {
  const drawn = new Set(graph.nodes.filter((node) => node.unit >= 0 && graph.columns[node.column]?.isInput).map((node) => node.unit));
  const written = placesOf(graph);
  return written.map((place, i) => (drawn.has(place) ? null : svg("text", {
    class: "word", x: layout.left - 7, y: TOP + (layout.rows * ROW * (i + 0.5)) / written.length + 4, "text-anchor": "end", text: graph.words[place],
  })));
}

/** Draw what was put in. */
export function inputPicture(graph, layout) {
  if (graph.words) return words(graph, layout);
  if (!graph.box) return [];
  const [rows, columns] = graph.tile;
  const scale = IMAGE / Math.max(rows, columns);
  const [height, width] = [rows * scale, columns * scale];
  const top = TOP + (layout.rows * ROW - height) / 2;
  const parts = [svg("image", { class: "pixels", href: graph.image, x: 0, y: top, width, height })];
  for (const node of graph.nodes) {
    const [box, place] = [graph.box(node), layout.places.get(node.id)];
    if (!box || !place) continue;
    const [y, x, tall, wide] = [top + box[0] * height, box[1] * width, box[2] * height, box[3] * width];
    parts.push(svg("rect", { class: `outline ${node.contribution < 0 ? "against" : "for"}`, x, y, width: wide, height: tall, fill: "none", "stroke-dasharray": node.contribution < 0 ? "3 2" : undefined }));
    parts.push(svg("line", { class: "lead", x1: x + wide, y1: y + tall / 2, x2: place.x - place.half, y2: place.y }));
  }
  return parts;
}
