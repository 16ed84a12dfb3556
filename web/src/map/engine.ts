// What needs MapLibre, loaded beside the rest of the page.

export { Compare } from "./compare";
export { SiteMap } from "./site_map";
