// The units of a layer that have exemplars, each by its best one: hovering shows the card, a click the unit.

import { paintPixels } from "../colours.js";
import { el, short } from "../dom.js";
import { cardOn, faceOf, unitCard } from "../units/card.js";
import { facedUnits } from "../units/faces.js";

const MOST = 40;

/** Make the gallery; empty where no unit of the layer has exemplars. */
export function unitGallery(units, layer, chosen, onUnit) {
  const faces = facedUnits(units.a, layer).slice(0, MOST).map((unit) => faceOf(units.a, layer, unit)).filter(Boolean);
  const buttons = faces.map((face) => {
    const canvas = face.picture && el("canvas", { role: "img", "aria-label": "its best exemplar" });
    if (canvas) paintPixels(canvas, face.picture);
    const button = el("button", { type: "button", "aria-pressed": String(face.unit === chosen), on: { click: () => onUnit(face.unit) } },
      canvas, el("span", { text: String(face.unit) }), face.reason && el("span", { text: short(face.reason, 24) }));
    cardOn(button, () => unitCard({ layer, unit: face.unit }, units), { click: false });
    return button;
  });
  return buttons.length ? el("div", { class: "unit-gallery", role: "group", "aria-label": "Neurons by their best exemplar" }, ...buttons) : el("div");
}
