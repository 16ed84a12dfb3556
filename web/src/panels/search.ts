// Search by coordinates, and by the names that the store knows: a combobox as WAI-ARIA describes it.

import { type App, tellFault } from "../app";
import * as api from "../base/api";
import { announce, el, icon, replace } from "../base/dom";
import { go } from "../base/state";
import type { Found } from "../base/types";
import { layerWord } from "../map/layer_styles";
import { t } from "../base/words";

const WAIT_MS = 200;

export class Search {
  readonly root: HTMLElement;
  readonly field: HTMLInputElement;
  private readonly list = el("ul", { class: "found", id: "found", role: "listbox", hidden: true, "aria-label": t("search_results") });
  private found: Found[] = [];
  private at = -1;
  private timer = 0;
  private asked = 0;

  constructor(private readonly app: App) {
    this.field = el("input", {
      type: "search",
      role: "combobox",
      placeholder: t("search_hint"),
      "aria-label": t("search"),
      "aria-autocomplete": "list",
      "aria-controls": "found",
      "aria-expanded": "false",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.later(),
      onkeydown: (event: KeyboardEvent) => this.key(event),
      onblur: () => window.setTimeout(() => this.close(), 150),
    });
    this.root = el("div", { class: "search", role: "search" }, icon("search"), this.field, this.list);
  }

  private later(): void {
    // What was found is of other words.
    this.at = -1;
    this.found = [];
    this.asked++;
    this.point();
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.ask(), WAIT_MS);
  }

  /** @param first Go to the first that is found, as Enter before any answer means. */
  private async ask(first = false): Promise<void> {
    window.clearTimeout(this.timer);
    const words = this.field.value.trim();
    if (words.length < 2) return this.close();
    const mine = ++this.asked;
    try {
      const found = await api.search(words);
      if (mine !== this.asked) return;
      this.found = found;
      this.at = found.length ? 0 : -1;
      if (first && found.length) this.take(0);
      // Whoever has gone elsewhere meanwhile is not followed by a list.
      else if (document.activeElement === this.field) this.render();
    } catch (error) {
      if (mine === this.asked) tellFault(error);
    }
  }

  private render(): void {
    const options = this.found.map((one, index) =>
      el(
        "li",
        {
          role: "option",
          id: `found-${index}`,
          "aria-selected": index === this.at ? "true" : "false",
          onmousedown: (event: Event) => {
            event.preventDefault();
            this.take(index);
          },
        },
        el("span", {}, one.label),
        el("span", { class: "kind" }, kindWord(one.kind)),
      ),
    );
    replace(this.list, ...options);
    if (!options.length) {
      replace(this.list, el("li", { role: "option", "aria-disabled": "true", "aria-selected": "false", class: "none" }, t("nothing_found")));
    }
    this.list.hidden = false;
    this.field.setAttribute("aria-expanded", "true");
    this.point();
    announce(t("found_count", { n: this.found.length }));
  }

  private point(): void {
    if (this.at >= 0) this.field.setAttribute("aria-activedescendant", `found-${this.at}`);
    else this.field.removeAttribute("aria-activedescendant");
    [...this.list.children].forEach((option, index) => {
      option.setAttribute("aria-selected", index === this.at ? "true" : "false");
    });
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      if (!this.list.hidden) event.stopPropagation();
      // What is asked for already is not wanted any more either.
      window.clearTimeout(this.timer);
      this.asked++;
      this.close();
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (!this.list.hidden && this.at >= 0) this.take(this.at);
      else void this.ask(true);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (this.found.length) this.at = (this.at + step + this.found.length) % this.found.length;
      this.point();
    }
  }

  private take(index: number): void {
    const one = this.found[index];
    if (!one) return;
    this.field.value = one.label;
    this.close();
    const id = one.id ?? one.label;
    if (one.kind === "site") return go({ site: id });
    if (one.kind === "area" && this.app.areas.some((area) => area.name === id)) {
      go({ area: id, site: null });
    }
    if (one.bbox) this.app.map.fit(one.bbox);
    else this.app.map.flyTo(one.lon, one.lat, Math.max(this.app.map.camera.zoom, 14));
  }

  private close(): void {
    this.list.hidden = true;
    this.field.setAttribute("aria-expanded", "false");
    this.field.removeAttribute("aria-activedescendant");
  }
}

function kindWord(kind: string): string {
  if (kind === "site") return t("kind_site");
  if (kind === "area") return t("kind_area");
  if (kind === "coordinates") return t("kind_coordinates");
  return layerWord(kind);
}
