// The index's documents: files in, pages of what is there, deletions.

import { ask, lines, send } from "./api.js";
import { by, confirmed, make, passage, title } from "./dom.js";
import { documentsOf } from "./files.js";

const PAGE = 10;
const MOST_FAILURES = 50;
const ONE_REQUEST = { documents: 5000, characters: 20e6 };
// Of the request; to whoever chose files it says nothing.
const PLACE = /^body\.documents\.\d+\./;
const STEPS = "Name a new index above, choose files, and add them: the first document makes the index.";

export function install(page) {
  let offset = 0;
  let latest = 0;
  let shown = "";

  by("upload").addEventListener("submit", (event) => {
    event.preventDefault();
    page.doing(by("send"), () => upload(page).finally(() => show(0)));
  });
  by("before").addEventListener("click", () => page.doing(by("before"), () => show(offset - PAGE)));
  by("after").addEventListener("click", () => page.doing(by("after"), () => show(offset + PAGE)));
  const drop = by("drop");
  const calm = confirmed(drop, "Really delete it?", () => page.doing(drop, async () => {
    await ask("DELETE", path(shown));
    await show(0, true);
    by("count").focus();
  }));

  // Of several calls the last one counts, whichever is answered first.
  async function show(wanted, any = false) {
    latest += 1;
    const mine = latest;
    try {
      const found = await look(Math.max(0, wanted), any);
      if (mine === latest) render(found);
    } catch (error) {
      if (mine !== latest) return;
      render({ documents: [], total: 0, from: 0, hint: "" });
      throw error;
    }
  }

  async function look(from, any) {
    const names = await page.refresh(any);
    const name = page.index();
    if (!names.includes(name)) return { documents: [], total: 0, from: 0, hint: name ? absent(name) : STEPS };
    const found = await ask("GET", `${path(name)}/documents?limit=${PAGE}&offset=${from}`);
    if (!found.documents.length && from) return look(Math.max(0, from - PAGE), any);
    return { name, documents: found.documents, total: found.total_items, from, hint: "The index has no documents." };
  }

  function render({ name = "", documents, total, from, hint }) {
    calm();
    [shown, offset] = [name, from];
    by("count").textContent = name ? `Documents: ${total}` : "Documents";
    drop.hidden = !name;
    const cards = documents.map((each) => card(name, each));
    by("listing").replaceChildren(...(cards.length ? cards : [make("li", { class: "empty" }, hint)]));
    by("pages").hidden = total <= PAGE;
    by("page").textContent = `${from + 1} to ${from + documents.length} of ${total}`;
    by("before").disabled = !from;
    by("after").disabled = from + PAGE >= total;
  }

  function card(name, each) {
    const called = title(each.metadata, each.doc_id);
    const remove = make("button", { class: "danger", type: "button", "aria-label": `Delete ${called}` }, "Delete");
    confirmed(remove, "Really?", () => page.doing(remove, async () => {
      await ask("POST", `${path(name)}/documents/delete`, { doc_ids: [each.doc_id] });
      await show(offset);
      by("count").focus();
    }));
    return passage({
      title: called,
      small: [each.doc_id.slice(0, 12), ...told(each.metadata)].join(" · "),
      text: each.text + (each.is_truncated ? " …" : ""),
      actions: [remove],
    });
  }

  return show;
}

const path = (name) => `../indexes/${encodeURIComponent(name)}`;
const absent = (name) => `There is no index "${name}" yet: choose files and add them; the first document makes it.`;

async function upload(page) {
  const name = page.needed("Give the new index a name first, above.");
  const files = [...by("files").files];
  if (!files.length) throw new Error("Choose one or more files first.");
  by("failures").replaceChildren();
  const documents = [];
  for (const file of files) {
    try {
      documents.push(...(await documentsOf(file)));
    } catch (error) {
      fail(file.name, error.message);
    }
  }
  const progress = { done: 0, total: documents.length, states: {} };
  by("progress").hidden = false;
  tell(progress);
  for (const part of requests(documents)) await put(name, part, progress);
  by("files").value = "";
}

async function put(name, documents, progress) {
  const answer = await send("POST", "../index", { index_name: name, documents }, {
    headers: { Accept: "application/x-ndjson" },
  });
  let at = 0;
  for await (const line of lines(answer)) {
    if (line.detail) throw new Error(line.detail);
    for (const each of line.results) {
      if (each.error) fail(title(documents[at]?.metadata, each.doc_id ?? ""), each.error.replace(PLACE, ""));
      progress.states[each.status] = (progress.states[each.status] ?? 0) + 1;
      at += 1;
    }
    progress.done += line.results.length;
    tell(progress);
  }
}

function fail(called, error) {
  const list = by("failures");
  if (list.children.length < MOST_FAILURES) list.append(make("li", {}, `${called}: ${error}`));
  else if (list.children.length === MOST_FAILURES) list.append(make("li", {}, "and more"));
}

function tell({ done, total, states }) {
  by("bar-done").max = Math.max(total, 1);
  by("bar-done").value = total ? done : 1;
  const parts = Object.entries(states).map(([state, count]) => `${count} ${state}`);
  by("told").textContent = [total ? `${done} of ${total} documents` : "Nothing was added", parts.join(", ")].filter(Boolean).join(": ");
}

// As many as one request may hold.
function* requests(documents) {
  let part = [];
  let size = 0;
  for (const each of documents) {
    if (part.length && (part.length >= ONE_REQUEST.documents || size + each.text.length > ONE_REQUEST.characters)) {
      yield part;
      [part, size] = [[], 0];
    }
    part.push(each);
    size += each.text.length;
  }
  if (part.length) yield part;
}

function told(metadata) {
  const others = Object.entries(metadata ?? {}).filter(([name]) => name !== "source");
  return others.map(([name, value]) => `${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
}
