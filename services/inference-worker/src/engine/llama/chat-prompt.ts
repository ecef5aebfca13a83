import type { ChatHistoryItem, ChatWrapper, LlamaModel, Token } from "node-llama-cpp";
import { type LlamaText, SpecialToken, SpecialTokensText } from "node-llama-cpp";
import { type ChatTurn, EngineError } from "../engine.ts";

export interface ChatPrompt {
  tokens: Token[];
  /** Tokens that end the turn, beside those that the model file itself names. */
  endTokens: ReadonlySet<Token>;
  /** Where a template's end of turn is ordinary text. */
  endTexts: string[];
}

/**
 * The model's own chat template around the turns. Only the template's text may become control tokens: a turn that spells
 * one out ("<|end|>") stays text, also with files that declare their markers as ordinary words.
 */
export function renderChat(model: LlamaModel, wrapper: ChatWrapper, turns: readonly ChatTurn[]): ChatPrompt {
  const history: ChatHistoryItem[] = turns.map(({ role, text }) =>
    role === "assistant" ? { type: "model", response: [text] } : { type: role, text },
  );
  const chatHistory = [...history, { type: "model", response: [] } satisfies ChatHistoryItem];
  const { contextText, stopGenerationTriggers } = wrapper.generateContextState({ chatHistory });
  const markers = markersOf(model, contextText);
  const tokens: Token[] = [];
  for (const part of contextText.values) {
    if (typeof part === "string") tokens.push(...plainTokens(model, part, markers));
    else tokens.push(...part.tokenize(model.tokenizer));
  }
  return { tokens, ...endsOf(model, stopGenerationTriggers) };
}

/** Tokens that mean something to the template and are not ordinary words. */
function markersOf(model: LlamaModel, contextText: LlamaText): Set<Token> {
  const markers = new Set<Token>();
  for (const part of contextText.values) {
    if (typeof part === "string") continue;
    for (const token of part.tokenize(model.tokenizer)) {
      const { control, userDefined } = model.getTokenAttributes(token);
      if (control || userDefined) markers.add(token);
    }
  }
  return markers;
}

function plainTokens(model: LlamaModel, text: string, markers: ReadonlySet<Token>): Token[] {
  const tokens = model.tokenize(text, false);
  const isMarker = (token: Token) =>
    markers.has(token) || model.isEogToken(token) || model.getTokenAttributes(token).control;
  const found = new Set(tokens.filter(isMarker));
  if (found.size === 0) return tokens;
  const spellings = [...found].map((token) => model.detokenize([token], true).trim());
  const apart = splitInside(text, spellings).flatMap((piece) => model.tokenize(piece, false));
  // The last line of defence: rather no answer than a turn that speaks as someone else.
  if (apart.some(isMarker)) throw new EngineError("PROMPT_UNUSABLE", "a control token of this model is in the text");
  return apart;
}

/** Cuts every marker after its first character: the same text, in pieces that no longer contain one. */
export function splitInside(text: string, markers: readonly string[]): string[] {
  let pieces = [text];
  for (const marker of markers.filter((spelling) => spelling.length > 1)) {
    pieces = pieces.flatMap((piece) => {
      const parts = piece.split(marker);
      return parts.map((part, i) => {
        const tail = i === 0 ? "" : marker.slice(1);
        return tail + part + (i < parts.length - 1 ? marker[0] : "");
      });
    });
  }
  return pieces;
}

function endsOf(model: LlamaModel, triggers: readonly LlamaText[]): Pick<ChatPrompt, "endTokens" | "endTexts"> {
  const endTokens = new Set<Token>();
  const endTexts: string[] = [];
  for (const trigger of triggers) {
    const special = trigger.values.every((part) => part instanceof SpecialToken || part instanceof SpecialTokensText);
    const tokens = special ? trigger.tokenize(model.tokenizer) : [];
    const [token] = tokens;
    if (tokens.length === 1 && token !== undefined && model.isSpecialToken(token)) endTokens.add(token);
    else if (trigger.values.every((part) => typeof part === "string" || part instanceof SpecialTokensText)) {
      endTexts.push(trigger.values.map(String).join(""));
    }
  }
  return { endTokens, endTexts: endTexts.filter((text) => text !== "") };
}
