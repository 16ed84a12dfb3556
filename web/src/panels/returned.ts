// The verdicts that the service would not have: to say something else, or to throw them away.

import { type App, ownWords } from "../app";
import { button, el, replace } from "../base/dom";
import { go } from "../base/state";
import { t } from "../base/words";
import { dialog } from "./dialogs";
import { returnedTold } from "./unsent";

export function showReturned(app: App): void {
  const list = el("ul", { class: "said returned-list" });
  const made = dialog(t("not_taken_title"), el("p", {}, t("not_taken_what")), list);
  const render = (): void => {
    const back = app.unsent?.returned ?? [];
    if (!back.length) return made.close();
    replace(
      list,
      ...back.map((one) => {
        const { said, fault } = returnedTold(one);
        const open = (): void => {
          made.close();
          go({ site: one.site });
        };
        const drop = (): void => {
          app.unsent?.drop(one);
          render();
        };
        return el(
          "li",
          {},
          el("strong", {}, one.site),
          ` · ${said}`,
          one.note && el("q", {}, one.note),
          el("p", { class: "fault" }, fault.words, ownWords(fault.own)),
          el(
            "div",
            { class: "links" },
            button(t("show_on_map"), open, { class: "button" }),
            button(t("throw_away"), drop, { class: "button" }),
          ),
        );
      }),
    );
  };
  render();
}
