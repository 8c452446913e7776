// The wall: zoom that all pictures follow, a slider between base and checkpoint, keeping another one.
"use strict";
(() => {
  const at = (id) => document.getElementById(id), table = at("wall");
  at("measure")?.addEventListener("click", () => send("POST", `/api/wall/${(at("unmeasured") || table).dataset.concept}`, { encoders: encoders() }).then(() => location.reload(), (problem) => notice(problem.message)));
  const pending = document.querySelector("[data-pending][data-state=queued], [data-pending][data-state=starting], [data-pending][data-state=running]");
  async function look() {
    try { const job = await ask(`/api/jobs/${pending.dataset.pending}`); if (job.state !== pending.dataset.state && !(["starting", "running"].includes(job.state))) { location.reload(); return; } } catch { /* look again */ }
    setTimeout(look, 1000);
  }
  if (pending) look();
  // A training that has just ended queues the measurement by itself.
  async function wait() {
    try { const told = await ask(`/api/wall/${at("unmeasured").dataset.concept}`); if (told.wall || (told.job && told.job.state !== "failed")) { location.reload(); return; } } catch { /* look again */ }
    setTimeout(wait, 2000);
  }
  if (!pending && at("unmeasured")) wait();
  if (!table) return;
  const told = JSON.parse(at("told").textContent), concept = table.dataset.concept;
  const picture = (row, column) => `/media/walls/${concept}/${row}/${column}`;

  // One zoom and one place for all pictures.
  let spot = ["50%", "50%"];
  const zoom = () => { for (const image of table.querySelectorAll(".picture")) { image.style.transformOrigin = spot.join(" "); image.style.transform = `scale(${at("zoom").value})`; } };
  at("zoom").addEventListener("input", zoom);
  table.addEventListener("pointermove", (event) => {
    const frame = event.target.closest(".frame-picture");
    if (!frame || at("zoom").value === "1") return;
    const edge = frame.getBoundingClientRect();
    spot = [`${((event.clientX - edge.left) / edge.width) * 100}%`, `${((event.clientY - edge.top) / edge.height) * 100}%`];
    zoom();
  });

  // A pair.
  const dialog = at("pair");
  let row = 1, column = 0;
  function pair() {
    const line = told.rows[row], cell = line.cells[column];
    at("pair-title").textContent = told.prompts[column];
    at("pair-base").src = picture(0, column);
    at("pair-row").src = picture(row, column);
    at("pair-row").alt = at("pair-name").textContent = say("step", { step: line.step });
    at("pair-said").textContent = say("pair", { gain: cell.gain.mean.toFixed(2), low: cell.gain.low.toFixed(2), high: cell.gain.high.toFixed(2) });
    slide();
  }
  const slide = () => { at("pair-row").style.clipPath = `inset(0 0 0 ${100 - at("pair-at").value}%)`; };
  at("pair-at").addEventListener("input", slide);
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.row) { row = Math.max(1, Number(button.dataset.row)); column = Number(button.dataset.column); pair(); dialog.showModal(); }
    else if (button.dataset.go) { row = Math.min(told.rows.length - 1, Math.max(1, row + Number(button.dataset.go))); pair(); }
    else if (button.dataset.close !== undefined) dialog.close();
    else if (button.dataset.keep) {
      button.disabled = true;
      try { await send("POST", `/api/wall/${concept}/keep`, { step: Number(button.dataset.keep) }); location.reload(); } catch (problem) { notice(problem.message); button.disabled = false; }
    }
  });
})();
