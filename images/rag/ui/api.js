// Requests to the service, and its refusals in words.

const KEY = "kaito-rag-key";
const BROKEN_OFF = "The connection to the service broke off.";

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function send(method, path, body, more = {}) {
  const headers = { ...(more.headers ?? {}) };
  if (key.get()) headers.Authorization = `Bearer ${sendable(key.get())}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: more.signal,
  }).catch((error) => {
    throw error.name === "AbortError" ? error : new Refused(0, "The service cannot be reached.");
  });
  if (!answer.ok) throw new Refused(answer.status, words(answer.status, await answer.text()));
  return answer;
}

export async function ask(method, path, body) {
  return (await send(method, path, body)).json();
}

// Lines of JSON, each as soon as it is whole.
export async function* lines(answer) {
  for await (const line of split(answer, "\n")) {
    if (line.trim()) yield JSON.parse(line);
  }
}

// The data of server-sent events, as text.
export async function* events(answer) {
  for await (const block of split(answer, "\n\n")) {
    const data = block
      .split("\n")
      .filter((line) => line.startsWith("data:"))
      .map((line) => line.slice(5).replace(/^ /, ""));
    if (data.length) yield data.join("\n");
  }
}

// A piece that has no end was cut off, and is nothing.
async function* split(answer, end) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read().catch((error) => {
        throw error.name === "AbortError" ? error : new Refused(0, BROKEN_OFF);
      });
      if (done) break;
      const parts = (rest + value).split(end);
      rest = parts.pop();
      yield* parts;
    }
    if (rest.trim()) throw new Refused(0, BROKEN_OFF);
  } finally {
    reader.cancel().catch(() => {});
  }
}

function sendable(value) {
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new Refused(401, "This cannot be an API key: it has spaces or other characters that no key has.");
}

function words(status, text) {
  if (status === 401) {
    return key.get()
      ? "The service does not know this API key: mend it in the field above."
      : "The service asks for an API key: fill in the field above.";
  }
  let detail;
  try {
    detail = JSON.parse(text).detail;
  } catch {
    // Not from the service itself, as a proxy's page.
  }
  if (Array.isArray(detail)) return detail.map((each) => `${each.loc.slice(1).join(".")}: ${each.msg}`).join("; ");
  return typeof detail === "string" ? detail : `The service answered ${status}.`;
}
