// Where words begin and end in a text, whatever its script, as in src/blockskim/answering/word_boundaries.py.

const JOINER = /^[\xad\u200c\u200d]$/u;
// Skin tones, and tags as of the flag of Wales; they belong to the emoji before them.
const EMOJI_PART = /^[\u{1f3fb}-\u{1f3ff}\u{e0020}-\u{e007f}]$/u;
const FLAG_LETTER = /^[\u{1f1e6}-\u{1f1ff}]$/u;
const BLANK = /^[\s\x1c-\x1f\x85\u200b]$/u;
const WORD = /^(?:[0-9A-Za-z_]|(?=[^\0-\x7f])[\p{L}\p{N}\p{M}])$/u;
// Thai, Lao, Tibetan; Burmese; Khmer; Japanese and Chinese: written without spaces, so each character is a word.
const UNSPACED = new RegExp(
  "^[\\u0e00-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff" +
    "\\uf900-\\ufaff\\uff66-\\uff9d\\u{20000}-\\u{3ffff}]$",
  "u",
);

/** Extend a span to the beginning of its first and the end of its last word. */
export function alignToWords(text, start, end) {
  while (0 < start && start < text.length && insideWord(text, start)) start -= before(text, start).length;
  while (0 < end && end < text.length && insideWord(text, end)) end += behind(text, end).length;
  return [start, end];
}

/** Take white space off both ends of a span; what is left may be empty. */
export function trimBlanks(text, start, end) {
  while (start < end && BLANK.test(text[start])) start++;
  while (start < end && BLANK.test(text[end - 1])) end--;
  return [start, end];
}

/** The character that ends at a place; two units of UTF-16 where it takes so many. */
function before(text, place) {
  return Array.from(text.slice(Math.max(0, place - 2), place)).at(-1);
}

/** The character that begins at a place. */
function behind(text, place) {
  return String.fromCodePoint(text.codePointAt(place));
}

function insideWord(text, place) {
  const [last, next] = [before(text, place), behind(text, place)];
  if (/^\p{M}$/u.test(next) || JOINER.test(next) || JOINER.test(last) || EMOJI_PART.test(next)) return true;
  if (FLAG_LETTER.test(next)) return insideFlag(text, place);
  return continuesWords(last) && continuesWords(next);
}

/** Whether the letter before a place and the one behind it are a flag: they pair up from the left. */
function insideFlag(text, place) {
  let first = place;
  while (first > 0 && FLAG_LETTER.test(before(text, first))) first -= 2;
  return (place - first) % 4 === 2;
}

function continuesWords(character) {
  return WORD.test(character) && !UNSPACED.test(character);
}
