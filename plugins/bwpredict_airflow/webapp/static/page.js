// Two things that the pages cannot do alone, since Airflow shows them in a frame.
"use strict";

// Airflow's own light or dark, which it keeps in the browser; the system's where it follows that.
function followAirflow() {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}
followAirflow();
addEventListener("storage", followAirflow);

// A link to one of Airflow's pages leaves the frame: the frame's owner follows it.
for (const link of document.querySelectorAll("a[data-airflow]")) {
  link.addEventListener("click", (event) => {
    if (parent === window) return;
    event.preventDefault();
    const outside = parent.document.createElement("a");
    outside.href = link.href;
    outside.click();
  });
}
