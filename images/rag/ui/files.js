// Files as documents: a text is one, JSON may hold many.

const LANGUAGES = {
  c: "c", h: "c", cc: "cpp", cpp: "cpp", hpp: "cpp", cs: "csharp", go: "go", java: "java", js: "javascript",
  jsx: "javascript", kt: "kotlin", lua: "lua", php: "php", py: "python", rb: "ruby", rs: "rust", scala: "scala",
  sh: "bash", sql: "sql", swift: "swift", ts: "typescript", tsx: "tsx",
};

// Throws an Error in words; the name of the file is said by who asks.
export async function documentsOf(file) {
  const text = await read(file);
  const ending = file.name.includes(".") ? file.name.split(".").pop().toLowerCase() : "";
  if (ending === "json") return listed(file.name, parsed(text));
  if (ending === "jsonl" || ending === "ndjson") {
    const lines = text.split("\n").filter((line) => line.trim());
    return lines.map((line, at) => one(file.name, parsed(line), at));
  }
  const metadata = { source: file.name };
  if (ending === "md") metadata.split_type = "markdown";
  if (Object.hasOwn(LANGUAGES, ending)) Object.assign(metadata, { split_type: "code", language: LANGUAGES[ending] });
  return [{ text, metadata }];
}

async function read(file) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch (error) {
    throw new Error(error instanceof TypeError ? "is no text in UTF-8" : "cannot be read");
  }
  if (text.includes("\0")) throw new Error("is no text");
  return text;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`is no JSON: ${error.message}`);
  }
}

function listed(name, value) {
  const documents = Array.isArray(value) ? value : (value?.documents ?? [value]);
  if (!Array.isArray(documents)) throw new Error('"documents" is no list');
  return documents.map((each, at) => one(name, each, at));
}

function one(name, value, at) {
  if (typeof value === "string") return { text: value, metadata: { source: name } };
  if (typeof value?.text !== "string") throw new Error(`document ${at + 1} has no "text"`);
  return { text: value.text, metadata: { source: name, ...value.metadata } };
}
