// Elements from text. Nothing here reads text as HTML: documents may hold anything.

const WORD = /[\p{L}\p{M}\p{N}]{2,}/gu;
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}]/u;
const COMMON = new Set(
  ("about an and are as at be been but by can could did do does for from had has have how if in into is it its me my " +
    "no not of on or our should so such than that the their them then there these they this to was we were what when " +
    "where which who why will with would you your").split(" "),
);

export const NO_INDEX = "There is no index yet: add documents first.";
export const by = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

// The text, with the words of the query marked, in other forms, too. Common words only where there
// are no others.
export function marked(text, query) {
  const all = [...new Set((query.toLowerCase().match(WORD) ?? []))];
  const rare = all.filter((word) => !COMMON.has(word));
  const forms = (rare.length ? rare : all).map(form);
  if (!forms.length) return [text];
  const pattern = new RegExp(forms.join("|"), "giu");
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(pattern)) {
    parts.push(text.slice(at, found.index), make("mark", {}, found[0]));
    at = found.index + found[0].length;
  }
  return [...parts, text.slice(at)].filter((part) => part !== "");
}

// A pattern of what the service's stemmer takes for the same word, more or less.
function form(word) {
  if (UNSPACED.test(word)) return word;
  const start = "(?<![\\p{L}\\p{M}\\p{N}])";
  const end = "(?![\\p{L}\\p{M}\\p{N}])";
  if (word.length > 5) return `${start}${word.slice(0, Math.max(5, word.length - 3))}[\\p{L}\\p{M}]{0,6}${end}`;
  return `${start}${word}(?:s|es|d|ed|ing)?${end}`;
}

export function passage({ title, score, small, text, query = "", actions = [] }) {
  return make(
    "li",
    { class: "card" },
    make(
      "div",
      { class: "top" },
      make("span", { class: "name" }, title),
      ...(score === undefined ? [] : [make("span", { class: "score" }, `score ${score}`)]),
      ...actions,
    ),
    ...(small ? [make("div", { class: "small" }, small)] : []),
    make("p", { class: "text" }, ...marked(text, query)),
  );
}

// What a document is called: its source, or the beginning of its id.
export function title(metadata, id) {
  const named = metadata?.source ?? metadata?.file_path ?? metadata?.title;
  return typeof named === "string" && named ? named : `document ${id.slice(0, 12)}`;
}

export const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(3));

// Calls `action` at the second press, and says so in between. The second half of a double click is
// none. Returns what takes the first press back.
export function confirmed(button, question, action) {
  const label = button.textContent;
  const described = button.getAttribute("aria-label");
  let timer = 0;
  const say = (text) => {
    button.textContent = text;
    if (described) button.setAttribute("aria-label", text === label ? described : `${text} ${described}`);
  };
  const calm = () => {
    clearTimeout(timer);
    timer = 0;
    say(label);
  };
  button.addEventListener("blur", calm);
  button.addEventListener("click", (event) => {
    if (event.detail > 1) return;
    if (timer) {
      calm();
      action();
    } else {
      say(question);
      timer = setTimeout(calm, 6000);
    }
  });
  return calm;
}
