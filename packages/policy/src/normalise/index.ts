import { type FoldFacts, fold } from "./fold.ts";
import { join } from "./join.ts";
import type { MappedText } from "./mapped-text.ts";
import { deleet, skeleton, squash } from "./skeleton.ts";
import { words } from "./words.ts";

export type { FoldFacts } from "./fold.ts";
export { type MappedText, toText } from "./mapped-text.ts";

/**
 * The views that rules can match on, plainest first:
 * folded (words, case- and width-folded) · leet (look-alikes, digits and symbols read as letters) · joined (separators
 * inside words and between spelled-out letters removed) · spaced (spelled-out runs, borders unknown) · squashed
 * (letters and digits only) · tags (text hidden in Unicode tag characters).
 */
export const viewNames = ["folded", "leet", "joined", "spaced", "squashed", "tags"] as const;
export type ViewName = (typeof viewNames)[number];

export interface View {
  readonly name: ViewName;
  readonly text: MappedText;
}

export interface Normalised {
  readonly original: string;
  /** NFKC without invisible characters, case kept: for links and credential formats. */
  readonly visible: MappedText;
  /** Views that differ from a plainer one; `folded` and `squashed` are always there. */
  readonly views: readonly View[];
  readonly facts: NormalisationFacts;
}

export interface NormalisationFacts extends FoldFacts {
  /** the text held look-alikes or digits and symbols standing for letters */
  lookalikes: boolean;
  /** the text held separators inside words or spelled-out letters */
  spacedOut: boolean;
}

/** Linear in the length of the text; never throws, on lone surrogates either. */
export function normalise(original: string): Normalised {
  const folded = fold(original);
  const skeletal = skeleton(folded.base);
  const leet = deleet(skeletal.text);
  const joined = join(skeletal.text);
  const lookalikes = skeletal.changed || leet.changed;
  const views: View[] = [{ name: "folded", text: words(folded.base) }];
  if (lookalikes) views.push({ name: "leet", text: words(leet.text) });
  if (joined.changed) {
    views.push({ name: "joined", text: words(deleet(joined.joined).text) });
    views.push({ name: "spaced", text: words(deleet(joined.spaced, true).text) });
  }
  views.push({ name: "squashed", text: squash(skeletal.text) });
  if (folded.facts.tags > 0) views.push({ name: "tags", text: words(lowerCase(folded.tags)) });
  return {
    original,
    visible: folded.visible,
    views,
    facts: { ...folded.facts, lookalikes, spacedOut: joined.changed },
  };
}

/** Tag text is ASCII already: only its case is folded. */
function lowerCase(tags: MappedText): MappedText {
  const units = tags.units.map((unit) => (unit >= 0x41 && unit <= 0x5a ? unit + 0x20 : unit));
  return { units, starts: tags.starts, ends: tags.ends, length: tags.length };
}

/** The forms in which a pattern of the rules is looked for; made by the same steps as the views. */
export interface PatternForms {
  /** for `folded` and `tags` */
  folded: MappedText;
  /** for `leet` and `joined`: as separate words, and with the separators inside words removed */
  leet: MappedText;
  joined: MappedText;
  /** for `spaced` and `squashed` */
  squashed: MappedText;
}

export function patternForms(pattern: string): PatternForms {
  const { base } = fold(pattern);
  const skeletal = skeleton(base).text;
  return {
    folded: words(base),
    leet: words(deleet(skeletal).text),
    joined: words(deleet(join(skeletal).joined).text),
    squashed: squash(skeletal),
  };
}
