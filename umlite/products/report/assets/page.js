/* What every script of a page uses: its data and its sentences. */

/** The element with this id. */
function byId(id) {
  return document.getElementById(id);
}

/** What a data block of the page holds; null where the page has none. */
function dataOf(id) {
  const block = byId(id);
  return block && JSON.parse(block.textContent);
}

const SENTENCES = dataOf("sentences") || {};

/** A sentence of the page's language with its {gaps} filled. */
function sentence(name, values = {}) {
  return SENTENCES[name].replace(/\{(\w+)\}/g, (_, gap) => String(values[gap]));
}

/** A number in its range. */
function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
