// Sends what a form of the interface's page asks for, and shows the answer. Streams are shown until they are stopped.

const SHOWN_CHARACTERS_MAX = 100_000;
const SHOWN_HEADERS = ["content-type", "etag", "link", "location", "log-index", "retry-after", "ratelimit", "x-request-id"];

function requestOf(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of form.querySelectorAll("input")) {
    const value = input.value.trim();
    if (input.dataset.place === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(value));
    else if (value && input.dataset.place === "query") query.append(input.name, value);
    else if (value && input.dataset.place === "header") headers[input.name] = value;
  }
  const body = form.querySelector("textarea")?.value;
  if (body !== undefined) headers["content-type"] = "application/json";
  const asked = query.toString();
  return [asked ? `${path}?${asked}` : path, { method: form.dataset.method, headers, body }];
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

async function showStream(response, show) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text = (text + value).slice(-SHOWN_CHARACTERS_MAX);
    show(text);
  }
}

async function send(form) {
  const answer = form.querySelector(".answer");
  const status = answer.querySelector("[data-status]");
  const shown = answer.querySelector("pre");
  const stop = form.querySelector("[data-stop]");
  const [path, options] = requestOf(form);
  const abort = new AbortController();
  answer.hidden = false;
  status.textContent = `${options.method} ${path} …`;
  shown.textContent = "";
  stop.hidden = false;
  stop.onclick = () => abort.abort();
  try {
    const response = await fetch(path, { ...options, signal: abort.signal });
    status.textContent = `${response.status} ${response.statusText}`;
    const names = SHOWN_HEADERS.filter((name) => response.headers.has(name));
    const head = names.map((name) => `${name}: ${response.headers.get(name)}\n`).join("");
    const show = (text) => { shown.textContent = `${head}\n${text}`; };
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) await showStream(response, show);
    else show(pretty(await response.text()).slice(0, SHOWN_CHARACTERS_MAX));
  } catch (error) {
    status.textContent = abort.signal.aborted ? "Stopped" : `No answer: ${error.message}`;
  } finally {
    stop.hidden = true;
  }
}

for (const form of document.querySelectorAll("form")) {
  form.querySelector(".actions").hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (named instanceof HTMLDetailsElement) named.open = true;
}
addEventListener("hashchange", openNamed);
openNamed();
