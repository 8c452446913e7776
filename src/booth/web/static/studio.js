// What every page needs: words, changes sent as JSON, notices, copying, the choice of looks.
"use strict";

const words = JSON.parse(document.getElementById("words")?.textContent || "{}");

/** The words for a key, with {name}s filled in. */
function say(key, values = {}) {
  return (words[key] || key).replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** A sentence with the names of fields as words. */
const plain = (text) => text.replace(/`(\w+)`/g, (_, name) => name.replaceAll("_", " ")).trim();

/** An element with properties and children; strings are text, never markup. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Send a change; an answer that is no success is an Error with the server's sentence. */
async function send(method, address, body, type = "application/json") {
  const raw = type !== "application/json";
  const options = { method, headers: { "x-booth-studio": "1", accept: "application/json" } };
  if (body !== undefined) {
    options.headers["content-type"] = type;
    options.body = raw ? body : JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error(say("offline"));
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(told.error || say("failed")), { status: answer.status, told });
  return told;
}

async function ask(address) {
  const answer = await fetch(address, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error || say("failed"));
  return answer.json();
}

/** A notice at the foot of the page, with at most one thing to do. */
function notice(text, action, act) {
  const home = document.getElementById("toasts");
  if (!home) return;
  const toast = make("div", { class: "toast" }, make("span", {}, text));
  const close = () => toast.remove();
  if (action) toast.append(make("button", { type: "button", onclick: () => { close(); act(); } }, action));
  home.replaceChildren(toast);
  setTimeout(close, action ? 12000 : 6000);
}

const changed = () => document.body.dispatchEvent(new CustomEvent("booth:changed"));

/** Seconds as people say them. */
function span(seconds) {
  const whole = Math.round(seconds);
  if (whole >= 3600) return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  return whole >= 60 ? `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s` : `${whole} s`;
}

function bytes(count) {
  for (const unit of ["bytes", "kB", "MB", "GB"]) {
    if (count < 1000 || unit === "GB") return unit === "bytes" ? `${count} ${unit}` : `${count.toFixed(1)} ${unit}`;
    count /= 1000;
  }
}

/** The encoders that are ticked. */
const encoders = () => [...document.querySelectorAll("[data-encoder]:checked")].map((box) => box.value);

/** The values of a form, as its fields' types say. */
function valuesOf(form) {
  const values = {};
  for (const field of form.elements) {
    if (!field.name || field.disabled) continue;
    if (field.type === "checkbox") values[field.name] = field.checked;
    else if (field.type === "radio") { if (field.checked) values[field.name] = field.value; }
    else if (field.type === "number" || field.type === "range") values[field.name] = field.value === "" ? null : Number(field.value);
    else values[field.name] = field.value;
  }
  return values;
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("form[data-json]");
  if (!form) return;
  event.preventDefault();
  const error = form.querySelector("[data-error]");
  const button = form.querySelector("button:not([type=button])");
  if (error) error.hidden = true;
  if (button) button.disabled = true;
  for (const one of form.querySelectorAll("[aria-invalid]")) { one.removeAttribute("aria-invalid"); one.closest(".field")?.classList.remove("wrong"); }
  try {
    const told = await send(form.dataset.method || "POST", form.getAttribute("action"), valuesOf(form));
    if (told.go) location.assign(told.go);
    else if (told.reload) location.reload();
    else { changed(); form.dispatchEvent(new CustomEvent("booth:sent", { detail: told, bubbles: true })); }
  } catch (problem) {
    const told = plain(problem.message);
    if (error) { error.textContent = told; error.hidden = false; error.focus?.(); } else notice(told);
    for (const { field } of problem.told?.problems || []) {
      const box = field && form.elements[field];
      if (box?.closest) { box.closest(".field")?.classList.add("wrong"); box.setAttribute("aria-invalid", "true"); box.focus(); }
    }
  } finally {
    if (button) button.disabled = false;
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { looks, act, job, copy } = button.dataset;
  try {
    if (looks) { await send("POST", "/api/looks", JSON.parse(looks)); location.reload(); }
    else if (act && job) {
      button.disabled = true;
      await send("POST", `/api/jobs/${job}`, { action: act });
      changed();
      if (["draw_now", "save_now"].includes(act)) notice(say(act));
      if (act === "resume" && document.getElementById("run")) setTimeout(() => location.reload(), 700);
      button.disabled = false;
    } else if (copy !== undefined) {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      notice(say("copied"));
    }
  } catch (problem) {
    button.disabled = false;
    notice(problem.message);
  }
});
