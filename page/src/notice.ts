import { h, iconButton } from "./dom";

/** Sentences for the eye, and a live region for screen readers. */
export class Notices {
  readonly element = h("div", { class: "notices" });
  readonly live = h("div", { class: "only-read", role: "status", "aria-live": "polite" });
  private last = "";

  show(said: string, bad: boolean): void {
    const sentence = /^[a-z]+ /.test(said) ? said[0].toUpperCase() + said.slice(1) : said;
    if (sentence === this.last && this.element.childElementCount) return;
    this.last = sentence;
    const note = h("div", { class: bad ? "notice bad" : "notice", role: bad ? "alert" : "status" }, h("p", {}, sentence), iconButton("close", "Close", () => note.remove()));
    this.element.append(note);
    while (this.element.childElementCount > 3) this.element.firstElementChild?.remove();
    window.setTimeout(() => note.remove(), bad ? 12_000 : 5_000);
  }

  say(sentence: string): void {
    this.live.textContent = sentence;
  }
}
