// What needs MapLibre, loaded beside the rest of the page.

export { Compare } from "./compare";
export { Graticule } from "./graticule";
export { Reported } from "./reported";
export { SiteMap } from "./site_map";
