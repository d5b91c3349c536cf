// The page: which index, which key, which tab; what goes wrong is said in one place.

import { ask, key } from "./api.js";
import * as chat from "./chat.js";
import * as documents from "./documents.js";
import { by, make } from "./dom.js";
import * as search from "./search.js";

const TABS = ["documents", "search", "chat"];
const NEW = new Option("New index…", "");

const page = {
  // One of those that there are, or the name of a new one.
  index: () => by("index").value || by("name").value.trim(),
  needed(text) {
    if (page.index()) return page.index();
    by("name").focus();
    throw new Error(text);
  },
  // Asks for the names. What is chosen stays chosen while it is there; a new one counts as there.
  async refresh(any = false) {
    const names = await ask("GET", "../indexes");
    const wanted = page.index();
    const isNew = !any && !by("index").value;
    const chosen = names.includes(wanted) ? wanted : isNew ? "" : (names[0] ?? "");
    by("index").replaceChildren(...names.map((name) => new Option(name, name)), NEW);
    by("index").value = chosen;
    naming();
    return names;
  },
  async attempt(work) {
    tell("");
    try {
      await work();
    } catch (error) {
      tell(error.message, error.status === 401);
    }
  },
  // Runs what a button starts, once at a time.
  async doing(button, work) {
    if (button.hasAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    await page.attempt(work);
    button.removeAttribute("aria-busy");
  },
};

function tell(text, keyNeeded = false) {
  by("notice").replaceChildren(...(text ? [make("p", {}, text)] : []));
  by("key").setAttribute("aria-invalid", String(keyNeeded));
  if (keyNeeded) by("key").focus();
}

function naming() {
  by("naming").hidden = by("index").value !== "";
  if (by("index").value) by("name").value = "";
}

function select(name, focus) {
  for (const each of TABS) {
    const tab = by(`tab-${each}`);
    const chosen = each === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    by(each).hidden = !chosen;
    if (chosen && focus) tab.focus();
  }
}

for (const [at, name] of TABS.entries()) {
  const tab = by(`tab-${name}`);
  tab.addEventListener("click", () => select(name, false));
  tab.addEventListener("keydown", (event) => {
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    select(TABS.at(next % TABS.length), true);
  });
}

const show = documents.install(page);
const forget = [search.install(page), chat.install(page)];

const reload = (any) => page.attempt(() => show(0, any));
const changed = () => {
  for (const each of forget) each();
  reload(false);
};
by("bar").addEventListener("submit", (event) => event.preventDefault());
by("index").addEventListener("change", () => {
  naming();
  if (!by("index").value) by("name").focus();
  changed();
});
by("name").addEventListener("change", changed);
by("key").value = key.get();
by("key").addEventListener("change", () => {
  key.set(by("key").value.trim());
  reload(!by("name").value);
});

reload(true);
