// Word pieces of tokenizers, put together to words: "play", "##ing"; "Ġplay", "ing"; "▁play", "ing".

const [WORDPIECE, STARTS] = ["##", /^[Ġ▁]/u];

/** The tokens as they are written one by one: a piece that goes on with the word before it begins with a hyphen. */
export const aloneWords = (tokens) => wordPieces(tokens).map((piece) => (piece === null ? "" : `${piece.joins ? "-" : ""}${piece.text}`));

/**
 * Say of each token what is written of it, and whether it goes on with the word before it: [{text, joins}], null for padding.
 * Marks of a tokenizer are taken off only where a text has them: in a text of none, tokens are words.
 */
export function wordPieces(tokens) {
  const marked = tokens.some((token) => typeof token === "string" && STARTS.test(token));
  let before = false; // a token that can be gone on with
  return tokens.map((token) => {
    if (typeof token !== "string") {
      before = false;
      return null;
    }
    const isSpecial = /^[[<].*[\]>]$/u.test(token);
    const continues = token.startsWith(WORDPIECE) && token.length > WORDPIECE.length;
    const joins = before && !isSpecial && (continues || (marked && !STARTS.test(token)));
    const text = continues ? token.slice(WORDPIECE.length) : marked ? token.replace(STARTS, "") : token;
    before = !isSpecial;
    return { text, joins };
  });
}
