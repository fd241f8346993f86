"use strict";
// Filters and searches the test rows, shows 200 of them at a time, and copies the prompt. Without it all rows are shown.
(() => {
  const PAGE = 200;
  const form = document.getElementById("find");
  if (form) {
    const rows = [...document.querySelectorAll("#rows > details")];
    const { show, text } = form.elements;
    const count = document.getElementById("count");
    const more = document.getElementById("more");
    const texts = new Map();
    let limit = PAGE;

    const textOf = (row) => {
      if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
      return texts.get(row);
    };
    const fits = (row, kind, query) =>
      (kind === "all" || row.classList.contains(kind)) && (query === "" || textOf(row).includes(query));
    const apply = () => {
      const query = text.value.trim().toLowerCase();
      let found = 0;
      for (const row of rows) {
        const fit = fits(row, show.value, query);
        found += fit;
        row.hidden = !fit || found > limit;
      }
      count.textContent = `${found} of ${rows.length} rows`;
      more.hidden = found <= limit;
      more.textContent = `show ${Math.min(PAGE, found - limit)} more`;
    };
    const onInput = () => {
      limit = PAGE;
      apply();
      history.replaceState(null, "", `#${new URLSearchParams({ show: show.value, text: text.value })}`);
    };
    const restore = () => {
      const saved = new URLSearchParams(location.hash.slice(1));
      const kind = saved.get("show");
      if ([...show.options].some((option) => option.value === kind)) show.value = kind;
      text.value = saved.get("text") || "";
      apply();
    };
    form.addEventListener("input", onInput);
    form.addEventListener("submit", (event) => event.preventDefault());
    more.addEventListener("click", () => {
      limit += PAGE;
      apply();
    });
    form.hidden = false;
    restore();
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
