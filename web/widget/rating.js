/** How the conversation was: one to five, and a word if one likes. */
import { button, h } from "./element.js";

/** @import { Session } from "./session.js" */
/** @import { Words } from "./words.js" */

const SCORES = [1, 2, 3, 4, 5];

/** @param {Words} words @param {Session} session @param {(thanks: string) => void} onDone */
export function ratingForm(words, session, onDone) {
  const said = h("p", { class: "complaint", role: "alert" });
  const comment = h("textarea", { rows: 2, dir: "auto", "aria-label": words.rateComment, placeholder: words.rateComment, maxlength: 1000 });
  const scores = SCORES.map((score) => {
    const radio = h("input", { type: "radio", name: "score", value: score, required: true, "aria-label": words.score(score) });
    return h("label", { title: words.score(score) }, radio, h("span", { "aria-hidden": "true" }, "★"));
  });
  const send = h("button", { type: "submit", class: "primary" }, words.rateSend);
  const later = button("quiet", "", () => onDone(""), words.cancel);
  const form = h("form", { class: "rating" }, h("fieldset", {}, h("legend", {}, words.rateQuestion), h("div", { class: "stars" }, ...scores)), comment, said, h("div", { class: "line" }, send, later));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const score = Number(new FormData(form).get("score"));
    const body = { score, ...(comment.value.trim() && { comment: comment.value.trim() }) };
    send.disabled = true;
    try {
      await session.post(`rooms/${encodeURIComponent(session.room.id)}/rate`, body);
      onDone(words.rateThanks);
    } catch (error) {
      said.textContent = words.refused(/** @type {Error} */ (error).message);
      send.disabled = false;
    }
  });
  return form;
}
