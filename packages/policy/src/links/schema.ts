/** A link in a text, offsets in UTF-16 units of the original. */
export interface Link {
  kind: "url" | "domain" | "markdown-link" | "markdown-image" | "html";
  /** lower case; "" when the link has none (a bare domain, a relative target) */
  scheme: string;
  /** ASCII (punycode) host in lower case; "" when there is none or it is not valid */
  host: string;
  /** loaded without a click */
  image: boolean;
  /** written so that a plain search would miss it (hxxp, [.], invisible characters) */
  obfuscated: boolean;
  /** the whole construct: for Markdown from the bracket to the closing parenthesis */
  start: number;
  end: number;
}

export interface LinkSettings {
  /** top-level domains by which a bare name without a path counts as a link */
  bareTopLevels: string[];
}

export interface LinkResult {
  /** ordered, without overlaps */
  links: Link[];
  /** text from here on may be the beginning of a link, a tag or a word that is not complete yet */
  openFrom: number;
}

/** A candidate before offsets are mapped back: offsets in the cleaned text. */
export interface Candidate {
  kind: Link["kind"];
  target: string;
  image: boolean;
  start: number;
  end: number;
}
