// Files that the service makes: fetched first, so that a refusal is told and not saved.

import { faultOf, showFault } from "../app";
import * as api from "../base/api";
import { el } from "../base/dom";
import { t } from "../base/words";

/** Where it is told how downloads go. */
export const downloadsTold = (): HTMLElement => el("p", { class: "downloads", role: "status" });

/**
 * A link to a file.
 *
 * @param told From `downloadsTold`.
 * @param name What the file is saved as; left out, as the service names it.
 */
export function downloadLink(label: string, href: string, told: HTMLElement, name = ""): HTMLAnchorElement {
  const link = el("a", { class: "button", href, download: name }, label);
  link.addEventListener("click", (event) => {
    // With a key held the browser does what the key means.
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (link.getAttribute("aria-busy") !== "true") void save(link, told, name);
  });
  return link;
}

async function save(link: HTMLAnchorElement, told: HTMLElement, name: string): Promise<void> {
  link.setAttribute("aria-busy", "true");
  told.classList.remove("fault");
  told.textContent = t("file_is_made");
  try {
    const file = await api.file(link.href);
    const address = URL.createObjectURL(file.content);
    el("a", { href: address, download: name || file.name }).click();
    // The browser reads it after this turn.
    window.setTimeout(() => URL.revokeObjectURL(address), 60_000);
    told.textContent = t("file_is_saved", { name: name || file.name });
  } catch (error) {
    told.classList.add("fault");
    showFault(told, faultOf(error));
  } finally {
    link.removeAttribute("aria-busy");
  }
}
