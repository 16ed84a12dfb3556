// Keys for those who review a hundred sites. Nothing happens while somebody writes.

import type { App } from "./app";
import { mayCompare, neighbour, walkOn } from "./app";
import { isPublished } from "./base/api";
import { go, look } from "./base/state";
import { showHelp } from "./panels/dialogs";
import type { ReviewBox } from "./panels/review";
import type { Search } from "./panels/search";
import type { TimeSlider } from "./panels/time_slider";

export interface Keyed {
  app: App;
  review: ReviewBox;
  search: Search;
  slider: TimeSlider;
  compare: () => void;
  copyLink: () => void;
}

export function listenToKeys(keyed: Keyed): void {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open], .gate")) return;
    const target = event.target as HTMLElement;
    const writes = target.matches("textarea, select, input:not([type=checkbox]):not([type=range])");
    if (writes) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (press(keyed, event)) event.preventDefault();
  });
}

/** Whether the key meant something. */
function press({ app, review, search, slider, compare, copyLink }: Keyed, event: KeyboardEvent): boolean {
  const { key } = event;
  const site = look().site;
  if (site && review.reasonKey(key)) return true;
  const target = event.target as HTMLElement;
  // Arrows belong to the map, to sliders and to the chart where those have the focus.
  const ownArrows = target.matches("input, canvas, [role=slider]");
  switch (key.length === 1 ? key.toLowerCase() : key) {
    case "?":
      showHelp(app);
      return true;
    case "/":
      search.field.focus();
      return true;
    case "l":
      copyLink();
      return true;
    case "b":
      if (!mayCompare(app)) return false;
      compare();
      return true;
    case "j":
      void walkOn(app);
      return true;
    case "k": {
      const last = neighbour(app, site, -1, false);
      if (last) go({ site: last });
      return last !== null;
    }
    case "ArrowLeft":
    case "ArrowRight":
      if (ownArrows) return false;
      slider.step(key === "ArrowLeft" ? -1 : 1);
      return true;
    case "Escape":
      if (review.asksWhy) review.closeWhy();
      else if (look().compare) go({ compare: null });
      else if (site) go({ site: null });
      else return false;
      return true;
    default:
      // Whose review is not wanted has no box for it.
      return site && !isPublished && !review.root.hidden ? pressReview(review, key.toLowerCase()) : false;
  }
}

function pressReview(review: ReviewBox, key: string): boolean {
  if (key === "c") review.give("confirmed", null);
  else if (key === "u") review.give("unsure", null);
  else if (key === "r") review.askWhy();
  else if (key === "n") review.focusNote();
  else if (key === "o") review.redraw();
  else return false;
  return true;
}
