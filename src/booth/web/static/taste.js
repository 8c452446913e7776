// The blind taste test: left arrow, right arrow, or = for the same.
"use strict";
(() => {
  const home = document.getElementById("taste"), at = (id) => document.getElementById(id), race = home.dataset.race;
  let now = null;
  async function next() {
    try { now = await send("POST", `/api/races/${race}/pair`, {}); at("left").src = now.left; at("right").src = now.right; } catch (problem) { notice(problem.message); }
  }
  async function answer(winner) {
    if (!now) return;
    const pair = now.pair;
    now = null;
    try {
      const told = await send("POST", `/api/races/${race}/answer`, { pair, winner });
      at("said").textContent = say("answered", { n: told.answers, left: told.left, right: told.right });
      if (told.answers >= Number(home.dataset.goal)) at("ranks").replaceChildren(...told.ranks.map((r) => make("li", {}, make("span", { class: "strong" }, r.method), make("span", {}, `${(100 * r.value).toFixed(0)} % [${(100 * r.low).toFixed(0)}, ${(100 * r.high).toFixed(0)}]`))));
    } catch (problem) { notice(problem.message); }
    next();
  }
  document.addEventListener("click", (event) => { const button = event.target.closest("[data-answer]"); if (button) answer(button.dataset.answer); });
  document.addEventListener("keydown", (event) => { const winner = { ArrowLeft: "left", ArrowRight: "right", "=": "same" }[event.key]; if (winner) { event.preventDefault(); answer(winner); } });
  next();
})();
