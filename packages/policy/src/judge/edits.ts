/** A change to a text: the span (UTF-16 offsets, end exclusive) is replaced. */
export interface Edit {
  start: number;
  end: number;
  replacement: string;
  /** why: "link" or "mask" */
  reason: "link" | "mask";
}

/** Orders edits and unites those that overlap or touch with the same replacement. */
export function mergeEdits(edits: readonly Edit[]): Edit[] {
  const sorted = [...edits].sort((a, b) => a.start - b.start || b.end - a.end);
  const merged: Edit[] = [];
  for (const edit of sorted) {
    const last = merged.at(-1);
    if (last !== undefined && edit.start < last.end) last.end = Math.max(last.end, edit.end);
    else merged.push({ ...edit });
  }
  return merged;
}

/** Applies ordered, non-overlapping edits; throws RangeError on any others, rather than let something through. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  const pieces: string[] = [];
  let at = 0;
  for (const edit of edits) {
    if (edit.start < at || edit.end < edit.start || edit.end > text.length)
      throw new RangeError("edits out of order or range");
    pieces.push(text.slice(at, edit.start), edit.replacement);
    at = edit.end;
  }
  pieces.push(text.slice(at));
  return pieces.join("");
}
