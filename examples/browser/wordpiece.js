// BERT's WordPiece tokenizer, from a tokenizer.json, with the exact place of every token in the text.
//
// Places are counted as JavaScript counts them, in UTF-16 units: text.slice(start, end) is what a token stands for.
// It gives what the `tokenizers` library gives, whose steps these are: special tokens written out in the text, then
// normalising character by character, then words, then the longest pieces from the left.

const CHINESE = [
  [0x3400, 0x4dbf], [0x4e00, 0x9fff], [0xf900, 0xfaff], [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f], [0x2b740, 0x2b81f], [0x2b920, 0x2ceaf], [0x2f800, 0x2fa1f],
];
const REMOVED = /^(?![\t\n\r])[\0\ufffd\p{Cc}\p{Cf}\p{Co}]$/u;
const BLANK = /^\p{White_Space}$/u;
const PUNCTUATION = /^[!-/:-@[-`{-~\p{P}]$/u;

/**
 * Read a parsed tokenizer.json; gives a function from a text to its tokens, [{ id, start, end }, ...].
 *
 * With splitSpecial a special token that is written out in a text is text like any other.
 */
export function readTokenizer({ model, normalizer, pre_tokenizer: words, added_tokens: all }, splitSpecial = false) {
  if (model?.type !== "WordPiece" || normalizer?.type !== "BertNormalizer" || words?.type !== "BertPreTokenizer") {
    throw new Error("the tokenizer is none of BERT's kind (WordPiece), which is the only kind that is read here");
  }
  const added = all.filter((token) => !(splitSpecial && token.special));
  if (added.some((token) => token.single_word || token.normalized)) {
    throw new Error("the tokenizer has added tokens of a kind that is not read here");
  }
  const vocabulary = { ...model, ids: new Map(Object.entries(model.vocab)) };
  const special = new Map(added.map((token) => [token.content, token.id]));
  const written = anyOf([...special.keys()]);

  function* tokens(text) {
    let place = 0;
    for (const { 0: content, index } of text.matchAll(written)) {
      yield* plainTokens(text.slice(place, index), place, vocabulary, normalizer);
      place = index + content.length;
      yield { id: special.get(content), start: index, end: place };
    }
    yield* plainTokens(text.slice(place), place, vocabulary, normalizer);
  }
  return (text) => [...tokens(text)];
}

/** A pattern that finds any of some strings, the longest where there are several. */
function anyOf(strings) {
  const longestFirst = strings.toSorted((one, other) => other.length - one.length);
  const escaped = longestFirst.map((string) => string.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  return new RegExp(escaped.join("|") || "(?!)", "gu");
}

/** Tokens of a stretch of text without special tokens, which begins at a place of the whole. */
function* plainTokens(text, place, vocabulary, normalizer) {
  let word = [];
  for (const character of normalized(text, place, normalizer)) {
    const blank = BLANK.test(character.value);
    const alone = PUNCTUATION.test(character.value);
    if (blank || alone) {
      yield* pieces(word, vocabulary);
      word = [];
    }
    if (alone) yield* pieces([character], vocabulary);
    else if (!blank) word.push(character);
  }
  yield* pieces(word, vocabulary);
}

/** The characters that the vocabulary is made of, each with the place of the character that it came from. */
function* normalized(text, place, normalizer) {
  const stripsAccents = normalizer.strip_accents ?? normalizer.lowercase;
  let end = place;
  for (const original of text) {
    const start = end;
    end += original.length;
    if (normalizer.clean_text && REMOVED.test(original)) continue;
    let value = normalizer.clean_text && BLANK.test(original) ? " " : original;
    if (normalizer.handle_chinese_chars && isChinese(original)) value = ` ${value} `;
    if (stripsAccents) value = value.normalize("NFD").replace(/\p{Mn}/gu, "");
    // One by one, as some letters change differently at the end of a word.
    if (normalizer.lowercase) value = Array.from(value, (part) => part.toLowerCase()).join("");
    for (const part of value) yield { value: part, start, end };
  }
}

function isChinese(character) {
  const code = character.codePointAt(0);
  return CHINESE.some(([first, last]) => first <= code && code <= last);
}

/** The longest pieces of a word from the left, or the unknown token for the whole of a word that has no such pieces. */
function pieces(word, { ids, unk_token: unknown, continuing_subword_prefix: prefix, max_input_chars_per_word: most }) {
  const found = [];
  const add = (id, first, end) => found.push({ id, start: word[first].start, end: word[end - 1].end });
  for (let first = 0, end = word.length; first < word.length; end--) {
    const piece = (first ? prefix : "") + word.slice(first, end).map((character) => character.value).join("");
    if (word.length > most || first === end) {
      found.length = 0;
      add(ids.get(unknown), 0, word.length);
      break;
    }
    if (ids.has(piece)) {
      add(ids.get(piece), first, end);
      first = end;
      end = word.length + 1;
    }
  }
  return found;
}
