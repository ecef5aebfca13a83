import confusables from "./data/confusables.json" with { type: "json" };

/** Code point → the ASCII letters that it imitates (UTS #39; origin in the data file). */
export const confusableOf: ReadonlyMap<number, string> = new Map(
  Object.entries(confusables.map).flatMap(([target, sources]) =>
    Array.from(sources, (source): [number, string] => [source.codePointAt(0) as number, target]),
  ),
);
