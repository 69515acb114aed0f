// Asks the person for a token.

import { say } from "./dom.js";

const dialog = document.getElementById("token");
const form = dialog.querySelector("form");
const why = document.getElementById("token-why");
const first = why.textContent;

/** Promises a token; `problem` says why the one before would not do. */
export function askForToken(problem) {
  say(why, problem ? `${problem} ${first}` : first);
  dialog.showModal();
  // Without it nothing can be shown.
  dialog.oncancel = (event) => event.preventDefault();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      const token = form.elements.token.value.trim();
      form.reset();
      dialog.close();
      resolve(token);
    };
  });
}
