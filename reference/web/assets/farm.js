// A page reached by a hand-off keeps the spent hand-off out of the address
// bar, of bookmarks and of the history.
(() => {
  const strip = document.currentScript.dataset.strip.split(" ");
  const kept = location.search.slice(1).split("&").filter((pair) => !strip.includes(pair.split("=", 1)[0]));
  history.replaceState(null, "", location.pathname + (kept.join("&") && "?" + kept.join("&")) + location.hash);
})();
