/**
 * Text with a way back: UTF-16 code units, and for each unit the span of the original text (UTF-16 offsets, end
 * exclusive) that it came from. Starts and ends never decrease.
 */
export interface MappedText {
  readonly units: Uint16Array;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly length: number;
}

const maxChunk = 8192;

export function toText(mapped: MappedText): string {
  let text = "";
  for (let i = 0; i < mapped.length; i += maxChunk) {
    text += String.fromCharCode(...mapped.units.subarray(i, Math.min(i + maxChunk, mapped.length)));
  }
  return text;
}

/** Grows by doubling, so that n appends cost O(n). */
export class MappedTextBuilder implements MappedText {
  units: Uint16Array;
  starts: Uint32Array;
  ends: Uint32Array;
  length = 0;

  constructor(capacity: number) {
    const size = Math.max(16, capacity);
    this.units = new Uint16Array(size);
    this.starts = new Uint32Array(size);
    this.ends = new Uint32Array(size);
  }

  push(unit: number, start: number, end: number): void {
    if (this.length === this.units.length) this.#grow();
    const at = this.length++;
    this.units[at] = unit;
    this.starts[at] = start;
    this.ends[at] = end;
  }

  pushText(text: string, start: number, end: number): void {
    for (let i = 0; i < text.length; i++) this.push(text.charCodeAt(i), start, end);
  }

  /** A space of its own, between what was pushed last and text that starts at `next`. */
  pushGap(next: number): void {
    const lastEnd = this.length > 0 ? (this.ends[this.length - 1] as number) : 0;
    this.push(0x20, Math.min(lastEnd, next), lastEnd);
  }

  /** The last unit takes in what follows it and vanishes (a mark, an invisible character). */
  extendLast(end: number): void {
    if (this.length > 0) this.ends[this.length - 1] = end;
  }

  #grow(): void {
    const size = this.units.length * 2;
    const units = new Uint16Array(size);
    const starts = new Uint32Array(size);
    const ends = new Uint32Array(size);
    units.set(this.units);
    starts.set(this.starts);
    ends.set(this.ends);
    this.units = units;
    this.starts = starts;
    this.ends = ends;
  }
}
