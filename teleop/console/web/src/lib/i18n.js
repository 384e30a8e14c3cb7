// English is the key; Simplified Chinese stands in zh.js. A test checks that no text is missing there.
import { ZH } from "./zh.js";
import { WORDS } from "./words.js";

const KEY = "longhand.language";
let language = "en";
try { language = localStorage.getItem(KEY) ?? "en"; } catch { /* storage may be off */ }

export const getLanguage = () => language;
export function setLanguage(value) {
  language = value === "zh" ? "zh" : "en";
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  try { localStorage.setItem(KEY, language); } catch { /* storage may be off */ }
}
/** Translate; {name} parts are filled from `values`. */
export function t(words, values) {
  const english = WORDS[words] ?? words;
  let out = language === "zh" ? ZH[english] ?? english : english;
  if (values) out = out.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
  return out;
}
