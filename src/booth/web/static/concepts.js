// The library and one concept: search, import, export, rename, delete with undo.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  at("find")?.addEventListener("input", () => {
    const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const one of at("library").children) { one.hidden = !words.every((w) => one.dataset.words.toLowerCase().includes(w)); shown += !one.hidden; }
    at("none-found").hidden = shown > 0;
  });
  at("import")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const file = at("file").files[0];
    if (!file) return;
    const about = new URLSearchParams({ name: file.name.slice(0, 200), noun: event.target.noun.value.trim(), token: event.target.token.value.trim(), base: event.target.base.value.trim() || "embedded" });
    try { const job = await send("PUT", `/api/import?${about}`, file, "application/octet-stream"); location.assign(`/jobs/${job.id}`); } catch (problem) { notice(problem.message); }
  });
  const concept = at("concept")?.dataset.concept;
  if (!concept) return;
  document.addEventListener("submit", async (event) => {
    if (event.target.id !== "export") return;
    event.preventDefault();
    try { await send("POST", `/api/concepts/${concept}/export`, valuesOf(event.target)); location.reload(); } catch (problem) { at("export-wrong").textContent = problem.message; at("export-wrong").hidden = false; }
  });
  at("evaluate").addEventListener("click", () => send("POST", `/api/concepts/${concept}/evaluate`, { encoders: encoders() }).then(() => location.reload(), (problem) => notice(problem.message)));
  at("delete").addEventListener("click", async () => {
    try {
      const { undo } = await send("DELETE", `/api/concepts/${concept}`);
      document.getElementById("main").inert = true;
      notice(say("deleted"), say("take_back"), () => send("POST", `/api/concepts/restore/${undo}`, {}).then((told) => location.assign(told.go), (problem) => notice(problem.message)));
      setTimeout(() => location.assign("/concepts"), 12500);
    } catch (problem) { notice(problem.message); }
  });
  const pending = document.querySelector("[data-export][data-state=queued], [data-export][data-state=starting], [data-export][data-state=running]");
  async function look() {
    try { const job = await ask(`/api/jobs/${pending.dataset.export}`); if (job.state !== pending.dataset.state) { location.reload(); return; } } catch { /* look again */ }
    setTimeout(look, 1000);
  }
  if (pending) look();
})();
