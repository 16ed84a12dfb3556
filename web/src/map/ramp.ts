// The colours of the tiles of probabilities, for their key in the legend: the service draws them.

type Colour = readonly [red: number, green: number, blue: number, alpha: number];

/** On the scale of log odds, evenly apart. Below the first one nothing is drawn, above the last one the same. */
export const RAMP: readonly { share: number; colour: Colour }[] = [
  { share: 0.01, colour: [255, 237, 160, 70] },
  { share: 0.0886, colour: [254, 178, 76, 120] },
  { share: 0.4834, colour: [240, 59, 32, 170] },
  { share: 0.9, colour: [122, 1, 119, 220] },
];
export const UNSEEN: Colour = [110, 110, 110, 90];

export const cssOf = ([red, green, blue, alpha]: Colour): string => `rgba(${red}, ${green}, ${blue}, ${alpha / 255})`;
