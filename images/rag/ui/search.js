// Passages for a query, with what they were judged by.

import { send } from "./api.js";
import { NO_INDEX, by, number, passage, title } from "./dom.js";

const FROM = { both: "in both lists", dense_only: "by meaning alone", sparse_only: "by words alone" };

export function install(page) {
  const before = by("found").textContent;
  let latest = 0;

  function show(text, cards = []) {
    by("found").textContent = text;
    by("hits").replaceChildren(...cards);
  }

  async function find() {
    latest += 1;
    const mine = latest;
    const query = by("query").value;
    const answer = await send("POST", "../retrieve", {
      index_name: page.needed(NO_INDEX),
      query,
      max_node_count: Number(by("top").value),
      mode: by("mode").value,
      metadata_filter: filter(),
    });
    const found = await answer.json();
    if (mine !== latest) return;
    const many = found.count === 1 ? "1 passage" : `${found.count} passages`;
    const text = found.count ? `${many}${took(answer)}` : "Nothing was found.";
    show(text, found.results.map((each) => hit(each, query)));
  }

  by("find").addEventListener("submit", (event) => {
    event.preventDefault();
    page.doing(by("seek"), () => find().catch((error) => {
      show("");
      throw error;
    }));
  });

  // Of another index nothing here is true.
  return () => {
    latest += 1;
    show(before);
  };
}

function took(answer) {
  const times = (answer.headers.get("Server-Timing") ?? "").matchAll(/(\w+);dur=([\d.]+)/g);
  return [...times].map(([, name, milliseconds]) => ` · ${name} ${milliseconds} ms`).join("");
}

function filter() {
  const text = by("filter").value.trim();
  if (!text) return null;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('The metadata filter is no JSON; write it as {"name": "value"}.');
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error('The metadata filter is no JSON object; write it as {"name": "value"}.');
  }
  return value;
}

export function hit(each, query) {
  const called = title(each.metadata, each.doc_id);
  const scores = [`part ${each.position + 1}`];
  if (each.dense_score !== null) scores.push(`cosine ${number(each.dense_score)}`);
  if (each.sparse_score !== null) scores.push(`BM25 ${number(each.sparse_score)}`);
  return passage({
    title: each.number ? `[${each.number}] ${called}` : called,
    score: number(each.score),
    small: [...scores, FROM[each.source] ?? each.source].join(" · "),
    text: each.text,
    query,
  });
}
