// Draw: the form, a picture to draw over with a painted mask, and a scribble that a ControlNet follows.
"use strict";
(() => {
  const form = document.getElementById("draw"), at = (id) => document.getElementById(id);
  const asked = JSON.parse(at("asked").textContent);
  let start = asked.start, startMask = asked.mask, masked = false, scribbled = false;

  function offers() {
    const uses = [...form.querySelectorAll(".use")].filter((u) => u.querySelector("[type=checkbox]").checked && u.dataset.subject);
    at("offers").replaceChildren(...uses.map((u) => make("button", { type: "button", class: "quiet small", onclick: () => {
      const box = form.prompt, from = box.selectionStart, to = box.selectionEnd;
      box.setRangeText(u.dataset.subject, from, to, "end"); box.focus();
    } }, `+ ${u.dataset.subject}`)));
    for (const shown of form.querySelectorAll(".use output")) shown.textContent = shown.previousElementSibling.value;
  }
  form.addEventListener("input", offers);
  offers();

  /** A canvas on which one paints with the pointer, or with arrows and the space bar. */
  function pad(canvas, width, colour, done) {
    const on = canvas.getContext("2d");
    let last = null, spot = null;
    const where = (e) => { const edge = canvas.getBoundingClientRect(); return [(e.clientX - edge.left) * canvas.width / edge.width, (e.clientY - edge.top) * canvas.height / edge.height]; };
    const line = (from, to) => { on.strokeStyle = colour; on.lineWidth = width(); on.lineCap = "round"; on.beginPath(); on.moveTo(...from); on.lineTo(to[0], to[1] + 0.01); on.stroke(); done(from, to); };
    canvas.addEventListener("pointerdown", (e) => { canvas.setPointerCapture(e.pointerId); last = where(e); line(last, last); });
    canvas.addEventListener("pointermove", (e) => { if (last) { const to = where(e); line(last, to); last = to; } });
    for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { last = null; });
    canvas.addEventListener("keydown", (e) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
      spot = spot || [canvas.width / 2, canvas.height / 2];
      if (step) { const to = [spot[0] + step[0] * 12, spot[1] + step[1] * 12]; if (e.shiftKey) line(spot, to); spot = to; }
      else if (e.key === " ") line(spot, spot);
      else return;
      e.preventDefault();
    });
  }

  // A picture to draw over.
  const over = at("over-canvas"), mask = document.createElement("canvas");
  let picture = null;
  const upload = async (blob) => (await send("PUT", "/api/draw/inputs", blob, "application/octet-stream")).id;
  at("start-file").addEventListener("change", async () => {
    const file = at("start-file").files[0];
    if (!file) return;
    try {
      start = await upload(file); startMask = null;
      picture = await createImageBitmap(file);
      const scale = Math.min(1, 700 / Math.max(picture.width, picture.height));
      over.width = mask.width = Math.round(picture.width * scale); over.height = mask.height = Math.round(picture.height * scale);
      clearMask();
      over.hidden = at("over-tools").hidden = false;
    } catch (problem) { notice(problem.message); }
  });
  function clearMask() {
    masked = false;
    mask.getContext("2d").fillRect(0, 0, mask.width, mask.height);
    over.getContext("2d").drawImage(picture, 0, 0, over.width, over.height);
  }
  pad(over, () => over.width / 9, "rgb(194 55 26 / 45%)", (from, to) => {
    const on = mask.getContext("2d");
    on.strokeStyle = "#fff"; on.lineWidth = over.width / 9; on.lineCap = "round"; on.beginPath(); on.moveTo(...from); on.lineTo(to[0], to[1] + 0.01); on.stroke();
    masked = true;
  });
  at("over-tools").addEventListener("click", (event) => {
    const wish = event.target.dataset?.over;
    if (wish === "clear") { startMask = null; clearMask(); }
    if (wish === "remove") { start = startMask = picture = null; masked = false; over.hidden = at("over-tools").hidden = true; at("start-file").value = ""; }
  });

  // A scribble to follow.
  const scribble = at("guide-canvas"), ink = scribble.getContext("2d");
  const clear = () => { ink.fillStyle = "#000"; ink.fillRect(0, 0, scribble.width, scribble.height); scribbled = false; at("guide-said").textContent = ""; };
  clear();
  pad(scribble, () => at("guide-kind").value === "scribble" ? 9 : 5, "#fff", () => { scribbled = true; at("guide-said").textContent = say("guide_used"); });
  at("guide").addEventListener("click", (event) => { if (event.target.dataset?.guide === "clear") clear(); });
  const blobOf = (canvas) => new Promise((resolve) => canvas.toBlob(resolve, "image/png"));

  at("other-seed").addEventListener("click", () => { form.seed.value = Math.floor(Math.random() * 1e6); form.requestSubmit(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    at("wrong").hidden = true;
    at("go").disabled = true;
    const number = (name) => form[name].value === "" ? null : Number(form[name].value);
    try {
      if (start && masked) startMask = await upload(await blobOf(mask));
      const guides = scribbled ? [{ input: await upload(await blobOf(scribble)), kind: at("guide-kind").value, strength: 1 }] : asked.guides || [];
      const concepts = [...form.querySelectorAll(".use")].filter((u) => u.querySelector("[type=checkbox]").checked).map((u) => ({ id: u.dataset.concept, strength: Number(u.querySelector("[type=range]")?.value ?? 1) }));
      const wish = { prompt: form.prompt.value.trim(), negative: form.negative.value.trim(), concepts, count: number("count") ?? 1, seed: number("seed") ?? 0, steps: number("steps") ?? 30, guidance: number("guidance"), size: number("size"), start: start || null, mask: start ? startMask : null, strength: start ? Number(at("strength").value) : null, guides };
      const job = await send("POST", "/api/draw", wish);
      watch(job.id, wish);
    } catch (problem) { at("wrong").textContent = problem.message; at("wrong").hidden = false; at("wrong").focus(); }
    at("go").disabled = false;
  });

  async function watch(id, wish) {
    let job;
    try { job = await ask(`/api/draw/${id}`); } catch { setTimeout(() => watch(id, wish), 2000); return; }
    const home = at("drawing");
    if (job.state === "done") {
      history.replaceState(null, "", `/draw?like=${id}`);
      home.replaceChildren(make("div", { class: "drawings" }, ...Array.from({ length: job.count }, (_, n) => make("a", { href: `/media/drawings/${id}/${n}`, target: "_blank", rel: "noopener" }, make("img", { class: "picture", alt: wish.prompt, src: `/media/drawings/${id}/${n}` })))), make("p", { class: "soft small" }, `${wish.prompt} · ${say("seed", { seed: wish.seed })}`), make("div", { class: "command" }, make("code", {}, job.command), make("button", { type: "button", class: "quiet", "data-copy": "" }, say("copy"))));
      return;
    }
    if (["failed", "stopped"].includes(job.state)) { home.replaceChildren(make("p", { class: "note bad" }, job.reason || say("failed"))); return; }
    home.replaceChildren(make("p", { class: "row tight" }, make("span", { class: `badge is-${job.state}` }, say(`state.${job.state}`)), make("span", { class: "soft small" }, job.said.at(-1) || say("drawing"))));
    setTimeout(() => watch(id, wish), 1000);
  }
  const unfinished = document.querySelector(".drawn[data-state=running], .drawn[data-state=starting], .drawn[data-state=queued]");
  if (unfinished) watch(unfinished.dataset.job, asked);
})();
