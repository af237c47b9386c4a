// Whether the reader is on the way to another page: a word to the server that comes after the click on its link
// would call the page before back.

let onLink = false;

document.addEventListener(
  "pointerdown",
  (event) => (onLink = event.composedPath().some((one) => one.localName === "a")),
  { capture: true },
);

function isLeaving(focused) {
  return onLink || Boolean(focused?.closest?.("a"));
}
