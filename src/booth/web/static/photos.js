// Photos: sending them with progress, captions that never overwrite others, crops and masks.
"use strict";
(() => {
  const told = document.getElementById("set");
  const set = told ? JSON.parse(told.textContent) : null;
  const base = set ? `/api/photos/${set.id}` : null;
  const drop = document.getElementById("drop"), files = document.getElementById("files"), list = document.getElementById("uploads");

  // Sending: two at a time, each with its progress.
  function put(address, file, progress) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("PUT", address);
      request.setRequestHeader("x-booth-studio", "1");
      request.setRequestHeader("content-type", "application/octet-stream");
      request.upload.onprogress = (event) => progress(event.loaded / (event.total || 1));
      request.onload = () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* no JSON: the status tells */ }
        if (request.status < 300) resolve(answer); else reject(new Error(answer.error || say("failed")));
      };
      request.onerror = () => reject(new Error(say("offline")));
      request.send(file);
    });
  }

  async function take(chosen) {
    const waiting = [...chosen];
    if (!waiting.length) return;
    let target = set?.id, failures = 0;
    const rows = new Map(waiting.map((file) => {
      const bar = make("progress", { max: 1, value: 0, "aria-label": file.name }), said = make("span", { class: "small soft" }, say("waiting"));
      list.append(make("li", { class: "upload" }, make("span", { title: file.name }, file.name), bar, said));
      return [file, { bar, said }];
    }));
    try { if (!target) target = (await send("POST", "/api/photos", { name: "" })).id; } catch (problem) { notice(problem.message); return; }
    const one = async () => {
      for (let file = waiting.shift(); file; file = waiting.shift()) {
        const { bar, said } = rows.get(file);
        try {
          await put(`/api/photos/${target}/upload?name=${encodeURIComponent(file.name.slice(0, 200))}`, file, (share) => { bar.value = share * 0.9; said.textContent = say(share < 1 ? "sending" : "checking"); });
          bar.value = 1; said.textContent = say("taken");
        } catch (problem) { failures += 1; bar.remove(); said.className = "small"; said.textContent = problem.message; }
      }
    };
    await Promise.all([one(), one()]);
    const done = rows.size - failures;
    if (done && !failures) location.assign(`/photos/${target}`);
    else if (done) list.append(make("li", {}, make("a", { class: "button", href: `/photos/${target}` }, say("see_photos", { n: done }))));
  }

  if (drop) {
    files.addEventListener("change", () => take(files.files));
    for (const kind of ["dragover", "dragleave", "drop"]) drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files);
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => event.preventDefault());
  }
  if (!set) return;

  // Captions.
  document.addEventListener("change", async (event) => {
    const box = event.target.closest("[data-caption]");
    if (!box) return;
    try {
      const done = await send("PUT", `${base}/${box.dataset.caption}/caption`, { text: box.value, version: box.dataset.version });
      box.dataset.version = done.version; box.value = done.text;
      notice(say("caption_kept"));
    } catch (problem) {
      if (problem.status !== 409) { notice(problem.message); return; }
      const mine = box.value;
      box.value = problem.told.text; box.dataset.version = problem.told.version;
      notice(problem.message, say("take_mine"), () => { box.value = mine; box.dispatchEvent(new Event("change", { bubbles: true })); });
    }
  });

  const bulk = document.getElementById("bulk");
  const asked = () => ({ find: bulk.find.value, put: bulk.put.value });
  bulk?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { changes } = await send("POST", `${base}/replace`, { ...asked(), apply: false }).catch((problem) => { notice(problem.message); return { changes: [] }; });
    const rows = changes.map((c) => make("li", {}, make("span", {}, make("span", { class: "was" }, c.before || "–"), " ", make("span", { class: "is-now" }, c.after))));
    document.getElementById("changes").replaceChildren(make("p", { class: "strong" }, say("would_change", { n: changes.length })), make("ul", { class: "list" }, ...rows));
    document.getElementById("apply").hidden = !changes.length;
  });
  document.getElementById("apply")?.addEventListener("click", () => send("POST", `${base}/replace`, { ...asked(), apply: true }).then(() => location.reload(), (problem) => notice(problem.message)));
  document.getElementById("undo")?.addEventListener("click", () => send("POST", `${base}/undo`, {}).then(() => location.reload(), (problem) => notice(problem.message)));

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-remove], [data-edit]");
    if (!button) return;
    if (button.dataset.edit) { open(button.dataset.edit); return; }
    try {
      const { undo } = await send("DELETE", `${base}/${button.dataset.remove}`);
      const card = button.closest("[data-photo]");
      card.hidden = true;
      notice(say("removed"), say("take_back"), () => send("POST", `/api/restore/${undo}`, {}).then(() => { card.hidden = false; }, (problem) => notice(problem.message)));
    } catch (problem) { notice(problem.message); }
  });

  // The editor: a crop that can be moved, and a mask that is painted.
  const dialog = document.getElementById("editor"), canvas = document.getElementById("stage"), context = canvas.getContext("2d");
  const size = document.getElementById("brush-size"), coverage = document.getElementById("coverage");
  let photo, image, mask, paint, box, tool = "brush", past = [], drag = null, touched = false, painted = false, cursor = null;

  function open(id) {
    photo = set.photos.find((p) => p.id === id);
    if (!photo || photo.bad) return;
    image = new Image();
    image.onload = () => {
      const scale = Math.min(1, 1100 / Math.max(image.width, image.height));
      const up = Math.max(1, Math.min(6, Math.floor(560 / Math.max(image.width, image.height))));
      canvas.width = Math.round(image.width * scale * up); canvas.height = Math.round(image.height * scale * up);
      mask = new OffscreenCanvas(canvas.width, canvas.height);
      paint = mask.getContext("2d", { willReadFrequently: true });
      box = photo.crop ? [...photo.crop] : [0, 0, 1, 1];
      past = []; touched = false; painted = photo.mask !== null; cursor = [canvas.width / 2, canvas.height / 2];
      if (painted) {
        const there = new Image();
        there.onload = () => { paint.drawImage(there, 0, 0, canvas.width, canvas.height); keyed(); show(); };
        there.src = `/media/photos/${set.id}/${id}?size=mask&t=${Date.now()}`;
      }
      dialog.showModal(); show(); canvas.focus();
    };
    image.src = `/media/photos/${set.id}/${id}`;
  }

  /** Black of a mask's file becomes transparent, so that white alone lies over the photo. */
  function keyed() {
    const data = paint.getImageData(0, 0, mask.width, mask.height);
    for (let i = 0; i < data.data.length; i += 4) data.data[i + 3] = data.data[i] > 127 ? 255 : 0;
    paint.putImageData(data, 0, 0);
  }

  function share() {
    const { data } = paint.getImageData(0, 0, mask.width, mask.height);
    let count = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) count += 1;
    return count / (mask.width * mask.height);
  }

  function show() {
    context.drawImage(image, 0, 0, canvas.width, canvas.height);
    if (painted) {
      const veil = new OffscreenCanvas(canvas.width, canvas.height), over = veil.getContext("2d");
      over.fillStyle = "#c2371a"; over.fillRect(0, 0, veil.width, veil.height);
      over.globalCompositeOperation = "destination-out"; over.drawImage(mask, 0, 0);
      context.globalAlpha = 0.55; context.drawImage(veil, 0, 0); context.globalAlpha = 1;
    }
    const [l, t, r, b] = [box[0] * canvas.width, box[1] * canvas.height, box[2] * canvas.width, box[3] * canvas.height];
    if (tool === "crop" || box.join() !== "0,0,1,1") {
      context.fillStyle = "rgb(0 0 0 / 55%)";
      context.beginPath(); context.rect(0, 0, canvas.width, canvas.height); context.rect(l, t, r - l, b - t); context.fill("evenodd");
      context.strokeStyle = "#fff"; context.lineWidth = 2; context.strokeRect(l + 1, t + 1, r - l - 2, b - t - 2);
      context.fillStyle = "#fff";
      for (const [x, y] of [[l, t], [r, t], [l, b], [r, b]]) context.fillRect(x - 5, y - 5, 10, 10);
    }
    if (cursor && tool !== "crop") { context.strokeStyle = "#fff"; context.lineWidth = 1.5; context.beginPath(); context.arc(...cursor, radius(), 0, 7); context.stroke(); }
    coverage.textContent = painted ? say("covers", { share: Math.round(share() * 100), weight: set.unmasked }) : say("no_mask");
  }

  const radius = () => (Number(size.value) / 100) * Math.max(canvas.width, canvas.height) / 2;
  const keep = () => { past.push({ pixels: paint.getImageData(0, 0, mask.width, mask.height), painted }); if (past.length > 12) past.shift(); };

  function dab(x, y, from) {
    paint.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
    paint.strokeStyle = paint.fillStyle = "#fff"; paint.lineWidth = radius() * 2; paint.lineCap = "round";
    paint.beginPath(); paint.moveTo(...(from || [x, y])); paint.lineTo(x, y + 0.01); paint.stroke();
    paint.globalCompositeOperation = "source-over";
    touched = true; painted = true;
  }

  const where = (event) => { const edge = canvas.getBoundingClientRect(); return [(event.clientX - edge.left) * canvas.width / edge.width, (event.clientY - edge.top) * canvas.height / edge.height]; };
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));

  function grip([x, y]) {
    const [px, py] = [x / canvas.width, y / canvas.height], near = 0.06;
    const h = Math.abs(px - box[0]) < near ? 0 : Math.abs(px - box[2]) < near ? 2 : null;
    const v = Math.abs(py - box[1]) < near ? 1 : Math.abs(py - box[3]) < near ? 3 : null;
    return { h, v, from: [px, py], box: [...box] };
  }

  function pull(by, start, h, v) {
    const next = [...start];
    if (h === null && v === null) {
      const dx = clamp(by[0], -start[0], 1 - start[2]), dy = clamp(by[1], -start[1], 1 - start[3]);
      next[0] += dx; next[2] += dx; next[1] += dy; next[3] += dy;
    }
    if (h !== null) next[h] = h === 0 ? clamp(start[0] + by[0], 0, start[2] - 0.1) : clamp(start[2] + by[0], start[0] + 0.1, 1);
    if (v !== null) next[v] = v === 1 ? clamp(start[1] + by[1], 0, start[3] - 0.1) : clamp(start[3] + by[1], start[1] + 0.1, 1);
    box = next;
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    const at = where(event);
    if (tool === "crop") drag = grip(at); else { keep(); drag = { last: at }; dab(...at); }
    show();
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = where(event);
    cursor = at;
    if (drag?.last) { dab(...at, drag.last); drag.last = at; }
    else if (drag) pull([at[0] / canvas.width - drag.from[0], at[1] / canvas.height - drag.from[1]], drag.box, drag.h, drag.v);
    show();
  });
  for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, () => { drag = null; });

  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (tool === "crop" && step) pull([step[0] * 0.02, step[1] * 0.02], [...box], event.shiftKey && step[0] ? 2 : null, event.shiftKey && step[1] ? 3 : null);
    else if (step) cursor = [clamp(cursor[0] + step[0] * radius(), 0, canvas.width), clamp(cursor[1] + step[1] * radius(), 0, canvas.height)];
    else if (event.key === " " && tool !== "crop") { keep(); dab(...cursor); }
    else return;
    event.preventDefault(); show();
  });

  dialog.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const wish = button.dataset.do;
    if (button.dataset.close !== undefined) dialog.close();
    else if (button.dataset.tool) {
      tool = button.dataset.tool;
      for (const one of dialog.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", String(one === button));
      show();
    } else if (wish === "find") find(button);
    else if (wish === "undo") { const last = past.pop(); if (last) { paint.putImageData(last.pixels, 0, 0); painted = last.painted; touched = true; show(); } }
    else if (wish === "clear") { keep(); paint.clearRect(0, 0, mask.width, mask.height); touched = true; painted = false; show(); }
    else if (wish === "invert") {
      keep();
      paint.globalCompositeOperation = "xor"; paint.fillStyle = "#fff"; paint.fillRect(0, 0, mask.width, mask.height); paint.globalCompositeOperation = "source-over";
      touched = true; painted = true; show();
    } else if (wish === "nocrop") { box = [0, 0, 1, 1]; show(); }
    else if (wish === "nomask") { paint.clearRect(0, 0, mask.width, mask.height); painted = false; touched = true; show(); }
    else if (wish === "save") save();
  });
  size.addEventListener("input", show);

  /** A mask to begin with, of what stands out from the border. */
  function find(button) {
    const first = new Image();
    button.disabled = true;
    coverage.textContent = say("looking");
    first.onload = () => {
      button.disabled = false; keep();
      paint.clearRect(0, 0, mask.width, mask.height); paint.drawImage(first, 0, 0, canvas.width, canvas.height); keyed();
      touched = true; painted = true; show();
    };
    first.onerror = () => { button.disabled = false; show(); notice(say("failed")); };
    first.src = `/media/photos/${set.id}/${photo.id}?size=outline`;
  }

  async function save() {
    try {
      await send("PUT", `${base}/${photo.id}/crop`, { box: box.join() === "0,0,1,1" ? null : box });
      if (touched && painted && share() > 0) {
        const flat = new OffscreenCanvas(image.width, image.height), on = flat.getContext("2d");
        on.fillStyle = "#000"; on.fillRect(0, 0, flat.width, flat.height); on.drawImage(mask, 0, 0, flat.width, flat.height);
        await send("PUT", `${base}/${photo.id}/mask`, await flat.convertToBlob({ type: "image/png" }), "application/octet-stream");
      } else if (touched) await send("DELETE", `${base}/${photo.id}/mask`);
      location.reload();
    } catch (problem) { notice(problem.message); }
  }
})();
