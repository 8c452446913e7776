// A job without a page of its own yet: looks until it has one, or is over.
"use strict";
(() => {
  const badge = document.getElementById("job"), said = document.getElementById("said");
  const busy = ["queued", "starting", "running", "saving"];
  async function look() {
    try {
      const job = await ask(`/api/jobs/${badge.dataset.job}`);
      if (job.run && job.kind === "train") { location.replace(`/runs/${job.run}`); return; }
      if (job.state !== badge.dataset.state) {
        if (job.kind === "compare" && job.state === "done") location.replace("/compare"); else location.reload();
        return;
      }
      said.replaceChildren(...job.said.map((line) => make("li", {}, make("span"), make("span", {}, line))));
    } catch { /* the studio may be restarting: look again */ }
    if (busy.includes(badge.dataset.state)) setTimeout(look, 1000);
  }
  look();
})();
