// A run as it goes on: state comes whole with every change, so that a page that was away is at once where the run is.
"use strict";
(() => {
  const home = document.getElementById("run");
  const at = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  let run = JSON.parse(at("first").textContent);
  let lines = 0;

  function show() {
    const all = run.all_steps, training = run.phase === "training" || !run.phase_total;
    const live = ["running", "starting", "saving"].includes(run.state);
    at("progress").max = (training ? all : run.phase_total) || 1;
    at("progress").value = run.state === "done" ? at("progress").max : training ? run.steps : run.phase_done;
    const badge = at("state");
    badge.className = `badge is-${run.state}`;
    badge.textContent = say(`state.${run.state}`);
    at("phase").textContent = live ? `${say(`phase.${run.phase.replaceAll(" ", "_")}`)}${run.phase_total ? ` · ${run.phase_done} / ${run.phase_total}` : ""}` : "";
    at("left").textContent = live && run.left !== null ? say("left", { time: span(run.left) }) : "";
    const bad = ["failed", "killed"].includes(run.state);
    at("reason").hidden = !bad && run.state !== "paused";
    at("reason").className = `note ${bad ? "bad" : "warn"}`;
    at("reason").textContent = run.state === "killed" ? say(run.checkpoints.length ? "killed" : "killed_early", { step: run.checkpoints.at(-1) }) : run.reason;
    at("steps").textContent = all ? `${run.steps} / ${all}` : "–";
    at("speed").textContent = run.left && all > run.steps ? say("per_step", { seconds: (run.left / (all - run.steps)).toFixed(2) }) : "–";
    at("elapsed").textContent = run.began ? span(Math.max(0, run.time - run.began)) : "–";
    at("memory-now").hidden = !run.memory_now;
    if (run.memory_now) at("memory").textContent = run.memory_now.device === null ? bytes(run.memory_now.process) : say("memory_both", { process: bytes(run.memory_now.process), device: bytes(run.memory_now.device) });
    at("checkpoints").textContent = String(run.checkpoints.length);
    const state = run.job ? (["queued", "stopped", "paused", "failed"].includes(run.job.state) && !live ? run.job.state : run.state) : run.state;
    for (const one of document.querySelectorAll("[data-when]")) one.hidden = !one.dataset.when.split(" ").includes(state) || Boolean(run.job?.wanted && live);
    chart(); sheet(); log();
  }

  function smoothed(points) {
    let mean = null;
    const weight = Math.min(0.95, 1 - 1 / Math.max(2, points.length / 12));
    return points.map(([x, y]) => { if (y !== null) mean = mean === null ? y : weight * mean + (1 - weight) * y; return [x, mean]; });
  }

  function shape(name, attributes, text) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function chart() {
    const svg = at("chart"), width = svg.clientWidth || 600, height = svg.clientHeight || 270;
    const points = run.losses.filter(([, y]) => y !== null);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const said = at("chart-said");
    if (points.length < 2) { said.textContent = say("no_loss"); return; }
    const log = at("logarithmic").checked, scale = log ? (y) => Math.log10(Math.max(y, 1e-9)) : (y) => y;
    const smooth = smoothed(points), shown = at("raw").checked ? points : smooth;
    const values = shown.map(([, y]) => scale(y)), low = Math.min(...values), high = Math.max(...values);
    const floor = log ? low : Math.min(0, low), range = high - floor || 1, last = run.all_steps || points.at(-1)[0];
    const left = 44, bottom = height - 24, x = (s) => left + (width - left - 10) * (s / last), y = (v) => bottom - (bottom - 10) * ((v - floor) / range);
    for (let i = 0; i <= 4; i += 1) {
      const value = floor + (range * i) / 4;
      svg.append(shape("line", { class: "axis", x1: left, x2: width - 10, y1: y(value), y2: y(value) }));
      svg.append(shape("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, (log ? 10 ** value : value).toPrecision(2)));
      svg.append(shape("text", { x: x((last * i) / 4), y: height - 6, "text-anchor": i === 4 ? "end" : "middle" }, String(Math.round((last * i) / 4))));
    }
    const path = (list) => list.map(([s, v], i) => `${i ? "L" : "M"}${x(s).toFixed(1)} ${y(scale(v)).toFixed(1)}`).join("");
    if (at("raw").checked) svg.append(shape("path", { class: "raw", d: path(points) }));
    for (const step of run.checkpoints) svg.append(shape("line", { class: "mark", x1: x(step), x2: x(step), y1: bottom, y2: bottom - 8 }));
    svg.append(shape("path", { class: "smooth", d: path(smooth) }));
    said.textContent = say("loss_now", { loss: smooth.at(-1)[1].toPrecision(3), first: smooth[0][1].toPrecision(3), step: points.at(-1)[0] });
  }

  function sheet() {
    const table = at("sheet");
    at("no-sheet").hidden = run.previews.length > 0;
    table.hidden = run.previews.length === 0;
    const want = run.previews.map((p) => p.step).join();
    if (table.dataset.shown === want || !want) return;
    table.dataset.shown = want;
    const head = make("tr", {}, make("td"), ...run.previews[0].prompts.map((p) => make("th", { scope: "col" }, p)));
    const rows = [...run.previews].reverse().map((preview) => make("tr", {}, make("th", { scope: "row" }, say("step", { step: preview.step })),
      ...Array.from({ length: preview.count }, (_, n) => make("td", {}, make("img", {
        class: "picture", loading: "lazy", alt: say("drawn_at", { prompt: preview.prompts[n] || "", step: preview.step }), src: `/media/runs/${run.id}/previews/${preview.step}/${n}` })))));
    table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }

  function log() {
    const list = at("log"), key = run.log.length ? `${run.log.length}${run.log.at(-1).time}` : "";
    if (lines === key) return;
    lines = key;
    const below = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.replaceChildren(...run.log.map((line) => make("li", { class: line.level }, make("time", {}, line.time ? new Date(line.time * 1000).toTimeString().slice(0, 8) : ""), make("span", {}, line.text))));
    if (below) list.scrollTop = list.scrollHeight;
  }

  for (const id of ["raw", "logarithmic"]) at(id).addEventListener("change", chart);
  addEventListener("resize", chart);
  show();
  const source = new EventSource(home.dataset.stream);
  source.addEventListener("state", (event) => { run = JSON.parse(event.data); show(); });
  source.addEventListener("over", () => source.close());
  document.body.addEventListener("booth:changed", () => { if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 600); });
})();
