// Names of layers as the tags have them, and without what all of them begin with.

/** A layer's name as it stands in tags: the second call of a layer is relu-1 there, relu#1 in records. */
export const asTag = (name) => name.replaceAll("#", "-");

/** The modules that several names of layers have in common at their beginning, with the dot; "" where there are none. */
export function commonPrefix(names) {
  if (names.length < 2) return "";
  const parts = names.map((name) => name.split("."));
  let common = 0;
  while (parts.every((own) => own.length > common + 1 && own[common] === parts[0][common])) common++;
  return common ? `${parts[0].slice(0, common).join(".")}.` : "";
}
