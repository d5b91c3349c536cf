// Questions to the model, answered from the index as the words come, with the passages they rest on.

import { events, send } from "./api.js";
import { NO_INDEX, by, make } from "./dom.js";
import { hit } from "./search.js";

// As the service reads them: [1], [1, 3], [2-4], 【1】.
const CITED = /\[\d{1,4}(?:\s*[,;–-]\s*\d{1,4})*\]|【\d{1,4}[^】\n]{0,40}】/g;
const NEAR = 120;

export function install(page) {
  let history = [];
  let running = null;

  const started = (control) => {
    running = control;
    by("stop").disabled = !control;
  };

  function clear() {
    running?.abort();
    history = [];
    by("talk").replaceChildren();
    by("hint").hidden = false;
  }

  async function answer() {
    const question = by("question").value.trim();
    if (!question) return;
    const asked = [...history, { role: "user", content: question }];
    const body = { index_name: page.needed(NO_INDEX), messages: asked, stream: true };
    const control = new AbortController();
    const said = bubble(question);
    started(control);
    by("question").value = "";
    by("hint").hidden = true;
    try {
      await follow(await send("POST", "../v1/chat/completions", body, { signal: control.signal }), said);
      said.done();
    } catch (error) {
      const stopped = error.name === "AbortError";
      said.fail(stopped ? "Stopped." : error.message);
      if (!said.text && said.shown && !by("question").value) by("question").value = question;
      if (!stopped) throw error;
    } finally {
      started(null);
      // What was cleared meanwhile is another chat.
      if (said.text && said.shown) history = [...asked, { role: "assistant", content: said.text }];
    }
  }

  by("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    page.doing(by("put"), answer);
  });
  by("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    by("ask").requestSubmit();
  });
  by("stop").addEventListener("click", () => running?.abort());
  by("clear").addEventListener("click", () => {
    clear();
    by("question").focus();
  });
  return clear;
}

async function follow(opened, said) {
  for await (const data of events(opened)) {
    if (data === "[DONE]") return;
    const piece = JSON.parse(data);
    if (piece.error) throw new Error(piece.error.message ?? String(piece.error));
    for (const choice of piece.choices ?? []) if (!choice.index) said.add(choice.delta?.content);
    if (piece.source_nodes) said.sources(piece.source_nodes, piece.citations ?? []);
  }
  throw new Error("The answer broke off.");
}

// A question and its answer. What the model writes is text; numbers in brackets become buttons once
// it is known what they stand for.
function bubble(question) {
  const words = make("p", { class: "waiting" }, "…");
  const box = make("div", { class: "said", "aria-busy": "true" }, words);
  kept(() => by("talk").append(make("div", { class: "said user" }, make("p", {}, question)), box), true);
  let [nodes, numbers] = [[], []];
  const ended = (...more) => kept(() => {
    box.append(...more);
    box.removeAttribute("aria-busy");
  });
  const state = {
    text: "",
    get shown() {
      return box.isConnected;
    },
    add(piece) {
      if (!piece) return;
      kept(() => {
        if (!state.text) words.replaceChildren();
        words.classList.remove("waiting");
        words.append(piece);
      });
      state.text += piece;
    },
    sources(found, cited) {
      [nodes, numbers] = [found, cited];
    },
    fail(message) {
      if (!state.text) words.remove();
      ended(make("p", { class: "broken" }, message));
    },
    done() {
      if (!state.text) words.textContent = "The model answered nothing.";
      if (!nodes.length) return ended(make("p", { class: "small" }, "The index has no passage for this question."));
      const list = make("ol", { class: "cards" }, ...nodes.map((each) => hit(each, question)));
      const named = numbers.length ? `the answer names ${numbers.join(", ")}` : "the answer names none";
      const details = make("details", {}, make("summary", {}, `Sources: ${nodes.length}, ${named}`), list);
      if (state.text) words.replaceChildren(...cited(state.text, nodes, numbers, details));
      return ended(details);
    },
  };
  return state;
}

// Who reads at the end goes on reading at the end.
function kept(change, always = false) {
  const root = document.scrollingElement;
  const follows = always || root.scrollHeight - root.scrollTop - root.clientHeight < NEAR;
  change();
  if (follows) root.scrollTop = root.scrollHeight;
}

function cited(text, nodes, numbers, details) {
  const parts = [];
  let at = 0;
  for (const found of text.matchAll(CITED)) {
    for (const digits of found[0].matchAll(/\d+/g)) {
      const place = nodes.findIndex((each) => each.number === Number(digits[0]));
      if (place < 0 || !numbers.includes(Number(digits[0]))) continue;
      const from = found.index + digits.index;
      parts.push(text.slice(at, from), citation(digits[0], place, details));
      at = from + digits[0].length;
    }
  }
  return [...parts, text.slice(at)];
}

function citation(digits, place, details) {
  const show = () => {
    details.open = true;
    const cards = [...details.querySelectorAll(".card")];
    for (const [at, card] of cards.entries()) card.classList.toggle("shown", at === place);
    cards[place].tabIndex = -1;
    cards[place].focus({ preventScroll: true });
    cards[place].scrollIntoView({ block: "center" });
  };
  return make("button", { class: "cite", type: "button", "aria-label": `Source ${digits}`, on: { click: show } }, digits);
}
