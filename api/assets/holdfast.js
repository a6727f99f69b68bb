// What pages gain from a script: countdowns on the server's clock, live changes, dialogs, local times. Every page is whole
// without it.

const says = document.getElementById("says");

/** Tells those who cannot see the page. */
function say(text) {
  if (says && says.textContent !== text) says.textContent = text;
}

/** Times in the visitor's own zone, written as the rest of the page writes them. */
function localTimes(root) {
  const shapes = {
    clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
    full: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  };
  for (const time of root.querySelectorAll("time[data-show]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) time.textContent = at.toLocaleString("en-GB", shapes[time.dataset.show]);
  }
}

/** Spoken at these many seconds left, and at every whole minute of the last five. */
const SPOKEN_S = [30, 10];
let countdowns = [];

/** Counts seconds that the server gave down by this page's own monotonic clock: the visitor's wall clock has no part. */
function startCountdowns(root) {
  const now = performance.now();
  countdowns = [...root.querySelectorAll("[data-left]")].map((face) => ({
    face,
    ends: now + Number(face.dataset.left) * 1000,
    spoken: Infinity,
  }));
}

function tick() {
  for (const countdown of countdowns) {
    const left = Math.max(0, Math.ceil((countdown.ends - performance.now()) / 1000));
    countdown.face.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
    countdown.face.closest(".countdown")?.classList.toggle("soon", left <= 60);
    if ("says" in countdown.face.dataset && left < countdown.spoken) {
      const isTold = SPOKEN_S.includes(left) || (left > 0 && left <= 300 && left % 60 === 0);
      if (isTold) say(left >= 60 ? `${left / 60} minutes left to pay` : `${left} seconds left to pay`);
      countdown.spoken = left;
    }
    if (left === 0 && !countdown.over) {
      countdown.over = true;
      setTimeout(refresh, 700);
    }
  }
}

let refreshing = false;

/** Fetches this page again and puts its live part in place of the old one. */
async function refresh() {
  const part = document.querySelector("[data-live]");
  if (!part || refreshing || document.querySelector("dialog[open]") || part.querySelector("form[aria-busy]")) return;
  refreshing = true;
  try {
    const answer = await fetch(location.pathname, { headers: { accept: "text/html" } });
    if (answer.redirected) return location.assign(answer.url);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
    if (!fresh) return location.reload();
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const chosen = part.querySelector("input[type=radio]:checked")?.value;
    part.replaceChildren(...fresh.childNodes);
    part.dataset.version = fresh.dataset.version;
    const again = chosen && part.querySelector(`input[type=radio][value="${CSS.escape(chosen)}"]`);
    if (again) again.checked = true;
    if (focused) document.getElementById(focused)?.focus();
    dress(part);
    startCountdowns(document);
    const told = part.querySelectorAll("[role=status], #price, #state, section.box h2");
    say([...told].map((element) => element.textContent.trim()).join(". "));
  } catch {
    setTimeout(refresh, 3000);
  } finally {
    refreshing = false;
  }
}

/** One stream of this page, closed while nobody looks at it. */
function listen(url, events) {
  let source;
  const open = () => {
    source?.close();
    source = new EventSource(url);
    for (const [name, handle] of Object.entries(events)) {
      source.addEventListener(name, (event) => handle(event.data ? JSON.parse(event.data) : {}));
    }
    source.addEventListener("end", (event) => {
      source.close();
      const reason = JSON.parse(event.data || "{}").reason;
      if (reason === "stopping") setTimeout(open, 2000);
      else location.reload();
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return source.close();
    open();
    refresh();
  });
  addEventListener("pagehide", () => source.close());
  open();
}

function live() {
  const part = document.querySelector("[data-live]");
  if (part) {
    listen(part.dataset.live, {
      [part.dataset.event]: (seen) => {
        if (String(seen.version) !== part.dataset.version || part.dataset.event === "cluster") refresh();
      },
    });
  }
  const list = document.querySelector("[data-availability]");
  if (list) listen(list.dataset.availability, { availability: (seen) => showAvailability(list, seen), reset: () => location.reload() });
}

const STATES = {
  available: ["good", "Available"],
  locked: ["wait", "Held by a buyer"],
  offered: ["wait", "Offered to the line"],
  sold: ["off", "Sold"],
  withdrawn: ["off", "Off sale"],
};

/** A ticket of the list has changed. */
function showAvailability(list, seen) {
  const card = list.querySelector(`[data-ticket="${CSS.escape(seen.id)}"]`);
  if (!card || Number(seen.version) <= Number(card.dataset.version)) return;
  card.dataset.version = seen.version;
  const [tone, words] = STATES[seen.status] ?? ["off", seen.status];
  const tag = card.querySelector("[data-state]");
  tag.className = `tag ${tone}`;
  tag.textContent = words;
  card.classList.toggle("gone", seen.status !== "available");
  const price = Intl.NumberFormat("en-US", { style: "currency", currency: seen.currency }).format(seen.price);
  if (["USD", "EUR", "GBP"].includes(seen.currency)) card.querySelector("[data-price]").textContent = price;
}

/** Forms: progress while one is sent, never twice at once, and questions in a dialog instead of on a page. */
async function send(event) {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.hasAttribute("aria-busy")) return event.preventDefault();
  form.setAttribute("aria-busy", "true");
  const button = event.submitter ?? form.querySelector("button");
  const face = button?.innerHTML;
  const wait = setTimeout(() => {
    if (!button) return;
    const spinner = Object.assign(document.createElement("span"), { className: "spinner" });
    spinner.setAttribute("aria-hidden", "true");
    if (form.dataset.busy) button.textContent = form.dataset.busy;
    button.prepend(spinner);
    say(form.dataset.busy ?? "One moment");
  }, 150);
  const rest = () => {
    clearTimeout(wait);
    form.removeAttribute("aria-busy");
    if (button) button.innerHTML = face;
  };
  addEventListener("pageshow", rest, { once: true });
  if (!("asks" in form.dataset)) return;
  event.preventDefault();
  try {
    const answer = await fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), headers: { accept: "text/html" } });
    if (answer.redirected) return location.assign(answer.url);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const question = page.querySelector("[data-dialog]");
    rest();
    if (question) return ask(question);
    document.title = page.title;
    document.querySelector("dialog")?.remove();
    document.getElementById("main").replaceChildren(...page.getElementById("main").childNodes);
    dress(document);
    startCountdowns(document);
    document.querySelector("[role=alert]")?.scrollIntoView({ block: "center" });
    say(document.querySelector("[role=alert]")?.textContent.trim() ?? document.title);
  } catch {
    // No answer came: the same form, sent the plain way, happens at most once by its key.
    form.submit();
  }
}

/** Shows a question in a dialog. */
function ask(question) {
  document.querySelector("dialog")?.remove();
  const dialog = document.createElement("dialog");
  const title = question.querySelector("h1");
  title.id = "dialog-title";
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.append(question);
  dialog.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    refresh();
  });
  document.body.append(dialog);
  dialog.showModal();
}

/**
 * The provider's own card form: the number goes from its frame to the provider, and this page gets a token in its place, which
 * is what the form sends.
 */
function cardForm(form) {
  const wrong = form.querySelector("#card-error");
  const tell = (message) => {
    form.removeAttribute("aria-busy");
    wrong.textContent = message;
    wrong.hidden = false;
  };
  if (!window.Stripe) {
    if (document.readyState === "complete") tell("Our payment provider's card form does not load. Try again in a moment.");
    else addEventListener("load", () => cardForm(form), { once: true });
    return;
  }
  const provider = window.Stripe(form.dataset.card);
  const { amount, currency } = form.dataset;
  const elements = provider.elements({
    mode: "payment",
    amount: Number(amount),
    currency,
    captureMethod: "manual",
    paymentMethodCreation: "manual",
    paymentMethodTypes: ["card"],
  });
  elements.create("payment").mount(form.querySelector("[data-card-field]"));
  form.addEventListener("submit", async (event) => {
    if (form.elements.token.value) return;
    event.preventDefault();
    event.stopPropagation();
    if (form.hasAttribute("aria-busy")) return;
    form.setAttribute("aria-busy", "true");
    wrong.hidden = true;
    try {
      const { error: unfit } = await elements.submit();
      if (unfit) return tell(unfit.message);
      const { error, paymentMethod } = await provider.createPaymentMethod({ elements });
      if (error) return tell(error.message);
      form.elements.token.value = paymentMethod.id;
    } catch {
      return tell("Our payment provider does not answer. Nothing was charged: try again in a moment.");
    }
    form.removeAttribute("aria-busy");
    // Not before this submission is over: a form that is being sent cannot be sent.
    setTimeout(() => form.requestSubmit());
  });
}

/** What elements gain, once a part of a page stands. */
function dress(root) {
  localTimes(root);
  for (const form of root.querySelectorAll("form[data-card]")) cardForm(form);
  for (const button of root.querySelectorAll("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }
  for (const button of root.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
      button.textContent = "Copied";
      say("Copied");
    });
  }
  for (const pick of root.querySelectorAll("[data-pick]")) {
    pick.hidden = false;
    pick.querySelector("input").addEventListener("change", async (event) => {
      const file = event.target.files[0];
      if (file) document.getElementById(pick.dataset.pick).value = await file.text();
    });
  }
  for (const field of root.querySelectorAll("input[data-price]")) {
    field.addEventListener("blur", () => {
      const price = field.value.replaceAll(",", "").trim();
      const hasTwoDecimals = field.form.elements.currency?.value !== "JPY";
      if (hasTwoDecimals && /^\d+(\.\d{0,2})?$/.test(price)) field.value = Number(price).toFixed(2);
    });
  }
}

/** While sales pause, this page is asked for again until they go on, unless somebody is typing. */
function awaitSales() {
  if (!document.querySelector(".pause")) return;
  setTimeout(() => (document.activeElement?.matches("input, textarea, select") ? awaitSales() : location.reload()), 5000);
}

document.addEventListener("submit", send);
dress(document);
startCountdowns(document);
setInterval(tick, 1000);
live();
awaitSales();
