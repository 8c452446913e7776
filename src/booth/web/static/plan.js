// The plan: a form made from the schema, what is idle and why, what methods cost here, and Start.
"use strict";
(() => {
  const plan = document.getElementById("plan"), at = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(at(id).textContent);
  let form = null, whys, asked, level = "simple", given = null;

  const method = () => plan.querySelector("[name=method]:checked")?.value || "lora";
  const racing = () => Boolean(at("race")?.checked);
  const base = () => plan.base.value.trim() || "embedded";
  const chosen = () => racing() ? [...plan.querySelectorAll("[data-method] input:checked")].map((i) => i.value) : [method()];

  function example() {
    const noun = plan.noun.value.trim(), token = plan.token.value.trim(), style = plan.kind.value === "style";
    at("example").textContent = noun || style ? say(style ? "example_style" : "example", { token, noun: noun || "style" }) : "";
    const names = chosen();
    if (at("scored")) at("scored").hidden = !racing();
    at("will").textContent = form && names.length ? say(racing() ? "will_race" : "will", { n: names.length, methods: names.join(", ") }) : "";
  }

  // Fields.
  const listOf = () => [...form.run.map((f) => ({ ...f, of: "run" })), ...(form.settings[method()] || []).map((f) => ({ ...f, of: "settings" }))].sort((a, b) => a.place - b.place);
  const valueOf = (name) => { const f = listOf().find((one) => one.name === name); return f ? (name in given[f.of] ? given[f.of][name] : f.default) : undefined; };

  function idle(name) {
    for (const [field, other, values, why] of form.idle) {
      if (field !== name) continue;
      const value = other.startsWith("@") ? form.facts[other] : valueOf(other);
      if (value === undefined) continue;
      if (values.includes("falsy") ? !value : values.includes(value)) return whys[why];
    }
    return "";
  }

  function input(field) {
    const id = `f-${field.of}-${field.name}`, now = field.name in given[field.of] ? given[field.of][field.name] : field.default;
    let box;
    if (field.type === "bool") box = make("input", { type: "checkbox", id, checked: Boolean(now) });
    else if (field.type === "choice") {
      box = make("select", { id }, ...(field.optional ? [make("option", { value: "" }, say("automatic"))] : []), ...field.choices.map((c) => make("option", { value: c }, c)));
      box.value = now ?? "";
    } else {
      const number = field.type === "int" || field.type === "float";
      box = make("input", { id, type: number ? "number" : "text", placeholder: field.optional ? say("automatic") : "" });
      if (number) { box.step = field.type === "int" ? "1" : "any"; if (field.low !== null) box.min = field.low; if (field.high !== null) box.max = field.high; }
      box.value = now === null || now === undefined ? "" : typeof now === "object" ? (Array.isArray(now) ? now.join(", ") : JSON.stringify(now)) : now;
    }
    box.setAttribute("aria-describedby", `${id}-hint`);
    box.addEventListener("change", () => {
      const value = field.type === "bool" ? box.checked : box.value === "" ? null : field.type === "int" || field.type === "float" ? Number(box.value) : box.value;
      if (value === field.default || (value === null && field.optional && field.default === null)) delete given[field.of][field.name]; else given[field.of][field.name] = value;
      fields(); example(); at(id)?.focus();
    });
    const why = idle(field.name), label = make("label", { for: id }, say(`field.${field.name}`) === `field.${field.name}` ? field.name.replaceAll("_", " ") : say(`field.${field.name}`));
    const wrap = make("div", { class: "field option" }, field.type === "bool" ? make("div", { class: "check" }, box, label) : label);
    if (field.type !== "bool") wrap.append(box);
    wrap.append(make("span", { class: "hint", id: `${id}-hint` }, field.meaning));
    if (why) { wrap.classList.add("idle"); wrap.append(make("span", { class: "badge is-warn" }, say("idle")), make("span", { class: "hint" }, why)); }
    if (field.name in given[field.of]) wrap.append(make("span", { class: "hint strong" }, say("changed", { value: field.default ?? say("automatic") })));
    return wrap;
  }

  function fields() {
    const word = at("search").value.trim().toLowerCase();
    const shown = listOf().filter((f) => word ? `${f.name.replaceAll("_", " ")} ${f.name} ${f.meaning}`.toLowerCase().includes(word) : level === "advanced" || f.simple || f.name in given[f.of]);
    at("fields").replaceChildren(...shown.map(input));
    at("no-fields").hidden = shown.length > 0;
    times();
  }

  function cards() {
    for (const card of plan.querySelectorAll("[data-method]")) {
      const box = card.querySelector("input");
      box.type = racing() ? "checkbox" : "radio";
      card.classList.toggle("chosen", box.checked);
    }
    if (!racing() && !plan.querySelector("[name=method]:checked")) plan.querySelector("[name=method]").checked = true;
  }

  // What was measured is of the method's own steps; of as many as are asked for, training takes that much more or less.
  function times() {
    for (const card of plan.querySelectorAll("[data-method][data-cost]")) {
      const cost = JSON.parse(card.dataset.cost), usual = (form.settings[card.dataset.method] || []).find((f) => f.name === "steps")?.default;
      const wanted = usual ? (cost.steps - usual + Number(given.settings.steps ?? usual)) / cost.steps : 1;
      const seconds = cost.seconds + cost.train_seconds * (wanted - 1);
      card.querySelector("[data-fact=seconds]").textContent = `${span(seconds)} ± ${Math.round(cost.plus_minus * 100)} %`;
    }
  }

  // Advice and costs.
  let watched = null;
  async function measure() {
    const noun = plan.noun.value.trim() || (plan.kind.value === "style" ? "style" : "");
    if (!noun) { wrong([{ sentence: say("noun_first"), field: "noun" }]); return; }
    at("measure").disabled = true;
    at("measuring").textContent = say("measuring");
    try {
      const methods = [...plan.querySelectorAll("[data-method]")].filter((c) => !c.hidden).map((c) => c.dataset.method);
      const { job } = await send("POST", `/api/plan/${plan.dataset.set}/advice`, { noun, token: plan.token.value.trim(), kind: plan.kind.value, base: base(), methods });
      watched = job;
      watch();
    } catch (problem) { at("measure").disabled = false; at("measuring").textContent = problem.message; }
  }

  async function watch() {
    let told;
    try { told = await ask(`/api/advice/${watched}`); } catch { setTimeout(watch, 2000); return; }
    if (told.advice) {
      const best = told.advice.method;
      for (const badge of plan.querySelectorAll("[data-best]")) badge.hidden = badge.closest("[data-method]").dataset.method !== best;
      const note = at("advice");
      note.hidden = false;
      note.replaceChildren(make("p", { class: "strong" }, say("advised", { method: best })), ...told.advice.reasons.map((r) => make("p", { class: "small" }, `${r.sentence} (${r.source})`)), ...told.advice.warnings.map((w) => make("p", { class: "small" }, w)));
    }
    if (told.token) at("token-said").textContent = told.token.warnings[0] || say("token_good");
    for (const cost of told.costs) {
      const card = plan.querySelector(`[data-method="${CSS.escape(cost.method)}"]`);
      if (!card) continue;
      const put = (name, text) => { card.querySelector(`[data-fact=${name}]`).textContent = text; };
      if (cost.error) { put("seconds", "–"); continue; }
      card.dataset.cost = JSON.stringify(cost);
      put("peak_memory_bytes", bytes(cost.peak_memory_bytes));
      put("artifact_bytes", bytes(cost.artifact_bytes));
      put("disk", bytes(cost.disk));
    }
    times();
    const busy = ["queued", "starting", "running"].includes(told.state);
    at("measuring").textContent = told.state === "queued" ? say("measure_waits") : busy ? say("measured_so_far", { n: told.costs.length }) : told.state === "done" ? say("measured") : told.reason;
    if (busy) setTimeout(watch, 1200); else at("measure").disabled = false;
  }

  // Show the fields behind Advanced where one of them is at fault.
  function reveal(problems = []) {
    if (problems.some((p) => p.field && form && listOf().some((f) => p.field === (f.of === "run" ? f.name : `settings.${f.name}`) && !f.simple))) plan.querySelector("[data-level=advanced]")?.click();
  }

  // All that is wrong, each at its field: "noun", "seed" of the run, "settings.rank" of the method.
  function wrong(problems) {
    const note = at("wrong");
    note.replaceChildren(...problems.map((p) => make("p", {}, plain(`${p.sentence} ${p.advice || ""}`))));
    note.hidden = false;
    for (const one of plan.querySelectorAll(".wrong")) { one.classList.remove("wrong"); one.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid"); }
    const boxes = problems.map((p) => p.field && (plan.elements[p.field] || at(`f-run-${p.field}`) || at(`f-${p.field.replace(".", "-")}`))).filter((box) => box?.closest);
    for (const box of boxes) { box.closest(".field")?.classList.add("wrong"); box.setAttribute("aria-invalid", "true"); }
    (boxes[0] || note).focus();
  }

  plan.addEventListener("submit", async (event) => {
    event.preventDefault();
    at("wrong").hidden = true;
    const also = [...plan.querySelectorAll("[data-also]:checked")].map((box) => { const row = box.closest("li"); return { set: box.dataset.also, token: row.querySelector("[data-token]").value.trim(), noun: row.querySelector("[data-noun]").value.trim() }; });
    const own = new Set((form?.settings[method()] || []).map((f) => f.name));
    const settings = Object.fromEntries(Object.entries(given.settings).filter(([name]) => own.has(name)));
    at("start").disabled = true;
    try {
      const told = await send("POST", `/api/plan/${plan.dataset.set}`, { noun: plan.noun.value.trim(), token: plan.token.value.trim(), kind: plan.kind.value, base: base(), methods: form ? chosen() : ["lora"], race: racing(), encoders: racing() ? encoders() : [], run: given.run, settings, also, start_from: plan.elements.start_from?.value || "" });
      location.assign(told.go);
    } catch (problem) { at("start").disabled = false; reveal(problem.told?.problems); wrong(problem.told?.problems || [{ sentence: problem.message }]); }
  });

  plan.addEventListener("input", (event) => { if (["noun", "token", "kind"].includes(event.target.name)) example(); if (event.target.id === "search") fields(); });
  const again = () => { form = null; htmx.trigger("#methods", "booth:base"); };
  plan.base.addEventListener("change", again);
  plan.elements.start_from?.addEventListener("change", (event) => {
    const former = event.target.selectedOptions[0].dataset;
    for (const name of ["token", "noun", "kind", "base"]) if (former[name]) plan.elements[name].value = former[name];
    again(); example();
  });
  plan.addEventListener("change", (event) => { if (event.target.name === "method" || event.target.id === "race") { cards(); fields(); example(); } });
  plan.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "measure") measure();
    if (button.id === "more") { for (const card of plan.querySelectorAll("[data-more]")) card.hidden = false; button.remove(); }
    if (button.dataset.level) {
      level = button.dataset.level;
      for (const one of plan.querySelectorAll("[data-level]")) one.setAttribute("aria-pressed", String(one === button));
      fields();
    }
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    if (form || !at("form")) return;
    form = read("form"); whys = read("whys"); asked = read("asked");
    if (!given) given = { run: asked.run || {}, settings: asked.settings || {} };
    if ((asked.methods || []).length > 1) {
      at("race").checked = true; cards();
      for (const card of plan.querySelectorAll("[data-method]")) { card.querySelector("input").checked = asked.methods.includes(card.dataset.method); if (asked.methods.includes(card.dataset.method)) card.hidden = false; }
    }
    cards(); fields(); example();
    if (asked.problems?.length) { reveal(asked.problems); wrong(asked.problems); }
  });
  example();
})();
