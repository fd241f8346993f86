"use strict";
// Filters and searches the test rows, a page of them at a time, and copies the prompt. Without it all rows are shown.
(() => {
  const PAGE = 200;
  const form = document.getElementById("find");
  if (form) {
    const rows = [...document.querySelectorAll("#rows > details")];
    const { show, text } = form.elements;
    const told = document.getElementById("told");
    const more = document.getElementById("more");
    const words = new Map();
    let most = PAGE;

    const wordsOf = (row) => {
      if (!words.has(row)) words.set(row, row.textContent.toLowerCase());
      return words.get(row);
    };
    const fits = (row, wanted, asked) =>
      (wanted === "all" || row.classList.contains(wanted)) && (asked === "" || wordsOf(row).includes(asked));
    const apply = () => {
      const asked = text.value.trim().toLowerCase();
      let found = 0;
      for (const row of rows) {
        const fit = fits(row, show.value, asked);
        found += fit;
        row.hidden = !fit || found > most;
      }
      told.textContent = `${found} of ${rows.length} rows`;
      more.hidden = found <= most;
      more.textContent = `show ${Math.min(PAGE, found - most)} more`;
    };
    const remember = () => {
      most = PAGE;
      apply();
      history.replaceState(null, "", `#${new URLSearchParams({ show: show.value, text: text.value })}`);
    };
    const recall = () => {
      const asked = new URLSearchParams(location.hash.slice(1));
      const wanted = asked.get("show");
      if ([...show.options].some((option) => option.value === wanted)) show.value = wanted;
      text.value = asked.get("text") || "";
      apply();
    };
    form.addEventListener("input", remember);
    form.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => {
      most += PAGE;
      apply();
    });
    form.hidden = false;
    recall();
  }
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const source = document.getElementById(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "selected: press Ctrl-C";
      }
    });
  }
})();
