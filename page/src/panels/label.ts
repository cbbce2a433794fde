import type { Context } from "../context";
import { choice, fill, h, plural, setOptions, whole } from "../dom";
import { PictureView } from "../picture";
import type { LabelSet, Labels } from "../types";
import { Strip } from "./strip";

/** Keys of a set: 0..5 for interest; 1..9, then a, c, e, ... for classes. */
export function labelKeys(set: Pick<LabelSet, "kind" | "classes">): { key: string; value: number | string }[] {
  if (set.kind === "interest") return [0, 1, 2, 3, 4, 5].map((v) => ({ key: String(v), value: v }));
  const keys = [..."123456789", ..."aceijkoqrwxz"];
  return set.classes.slice(0, keys.length).map((value, i) => ({ key: keys[i], value }));
}

/** Label mode: one object after the other, by keys. */
export class LabelPanel {
  readonly element = h("div", { class: "panel-body labelling" });
  private readonly select: HTMLSelectElement;
  private readonly field: HTMLElement;
  private readonly picture = new PictureView(300);
  private readonly name = h("p", { class: "id current" });
  private readonly buttons = h("div", { class: "label-buttons", role: "group", "aria-label": "Label" });
  private readonly why = h("p", { class: "quiet sentence" });
  private readonly progress = h("p", { class: "quiet", role: "status" });
  private readonly work: HTMLElement;
  private readonly form = h("form");
  private readonly maker = h("details", { class: "new-set" }, h("summary", {}, "New set"), this.form);
  private readonly queueStrip: Strip;
  private readonly meter = h("progress", { max: 1, value: 0, "aria-label": "Labelled part" });
  private set: LabelSet | null = null;
  private labels: Labels | null = null;
  private queue: number[] = [];
  private current = -1;
  private undoButton: HTMLButtonElement;
  /** The object whose picture is there. */
  private seen = -1;
  /** Labelled here since the set was opened. */
  private readonly given = new Set<number>();
  private busy = false;

  constructor(private readonly ctx: Context) {
    this.field = choice("Set", [], "", (name) => void this.open(name));
    this.select = this.field.querySelector("select")!;
    this.queueStrip = new Strip(ctx, { px: 44, label: "Next objects", pick: (row) => void this.look(row) });
    this.undoButton = h("button", { type: "button", class: "button", onclick: () => void this.undo() }, "Undo (U)");
    this.work = h("div", { hidden: true }, ctx.source.can.pixels ? this.picture.element : null, this.name, this.buttons,
      h("div", { class: "buttons" }, this.undoButton, h("button", { type: "button", class: "button", onclick: () => this.skip() }, "Skip (→)"),
        h("button", { type: "button", class: "button", onclick: () => void this.labelSelection() }, "Label the selection …")),
      this.progress, this.meter, h("h3", {}, "Next"), this.why, this.queueStrip.element, h("h3", {}, "Score"),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "button primary", onclick: () => void this.train() }, "Score all objects"),
        this.download("csv", "CSV"), this.download("votable", "VOTable")));
    this.element.append(h("h2", {}, "Label"), this.field, this.work, this.maker);
    this.buildForm();
    ctx.store.on(["panel"], (s) => {
      if (s.panel === "label") void this.enter();
    });
    ctx.store.on(["chosen"], (s) => {
      if (s.panel === "label" && s.chosen >= 0 && s.chosen !== this.current && this.set) void this.look(s.chosen);
    });
    ctx.store.on(["picture"], (s) => this.picture.draw(s.picture));
    if (ctx.store.state.panel === "label") void this.enter();
  }

  private download(format: "csv" | "votable", text: string): HTMLElement {
    return h("a", { class: "button", href: "#", download: "", onclick: (e: Event) => {
      const anchor = e.currentTarget as HTMLAnchorElement;
      if (this.set) anchor.href = this.ctx.source.labelExport(this.set.name, format);
      else e.preventDefault();
    } }, text);
  }

  private buildForm(): void {
    const name = h("input", { type: "text", required: true, pattern: "[\\w .\\-]+", placeholder: "e.g. mergers", "aria-label": "Name of the new set" });
    const classes = h("input", { type: "text", placeholder: "spiral, elliptical, merger", "aria-label": "Class names, separated by commas" });
    const classField = h("label", { class: "field", hidden: true }, h("span", {}, "Classes"), classes);
    const kind = choice("Kind", [{ value: "interest", text: "interest, 0 to 5" }, { value: "class", text: "named classes" }], "interest", (v) => (classField.hidden = v !== "class"));
    fill(this.form, h("label", { class: "field" }, h("span", {}, "Name"), name), kind, classField, h("button", { type: "submit", class: "button" }, "Make it"));
    this.form.addEventListener("submit", (e) => {
      e.preventDefault();
      const names = classes.value.split(",").map((c) => c.trim()).filter(Boolean);
      const chosen = kind.querySelector("select")!.value;
      void this.ctx.attempt(async () => {
        if (chosen === "class" && names.length < 2) throw new Error("Give at least two class names, separated by commas.");
        await this.ctx.source.newLabels(name.value.trim(), chosen, chosen === "class" ? names : []);
        await this.ctx.refresh();
        await this.open(name.value.trim());
        this.maker.open = false;
        name.value = classes.value = "";
      });
    });
  }

  private async enter(): Promise<void> {
    const sets = this.ctx.space.label_sets;
    this.field.hidden = !sets.length;
    this.maker.open = !sets.length;
    if (sets.length && !this.set) await this.open(sets[0].name);
  }

  private async open(name: string): Promise<void> {
    const { ctx } = this;
    const set = ctx.space.label_sets.find((s) => s.name === name);
    if (!set) return;
    this.set = set;
    this.given.clear();
    this.field.hidden = false;
    setOptions(this.select, [...ctx.space.label_sets.map((s) => ({ value: s.name, text: `${s.name} (${s.kind === "interest" ? "0 to 5" : plural(s.classes.length, "class", "classes")})` }))], name);
    this.work.hidden = false;
    fill(this.buttons, ...labelKeys(set).map(({ key, value }) => h("button", { type: "button", class: "label-button", "data-value": String(value), onclick: () => void this.give(value) }, h("kbd", {}, key), set.kind === "class" ? String(value) : null)));
    await ctx.attempt(async () => {
      await this.reload();
      if (this.set === set) await this.refill();
      if (this.set === set) this.skip(); // another may have been opened meanwhile
    });
  }

  private async reload(): Promise<void> {
    const { set } = this;
    if (!set) return;
    const labels = await this.ctx.source.labels(set.name);
    if (this.set !== set) return;
    this.labels = labels;
    const done = new Set(labels.labels.map((l) => l.row)).size;
    this.undoButton.disabled = !labels.can_undo;
    this.progress.textContent = `${whole(done)} of ${whole(this.ctx.space.n)} labelled.`;
    this.meter.max = this.ctx.space.n;
    this.meter.value = done;
    this.ctx.stale(`@label:${set.name}`);
    this.markButtons();
  }

  private markButtons(): void {
    const value = this.labels?.labels.find((l) => l.row === this.current)?.value;
    for (const button of this.buttons.querySelectorAll<HTMLElement>("[data-value]")) button.setAttribute("aria-pressed", String(value !== undefined && String(value) === button.dataset.value));
  }

  private async refill(): Promise<void> {
    const { set } = this;
    if (!set) return;
    const next = await this.ctx.source.next(set.name, 10);
    if (this.set !== set) return;
    const done = new Set(this.labels?.labels.map((l) => l.row));
    this.queue = next.rows.filter((row) => !done.has(row) && !this.given.has(row) && row !== this.current);
    this.why.textContent = next.why;
    this.showQueue();
  }

  private showQueue(): void {
    this.queueStrip.show(this.queue.slice(0, 6).map((row) => ({ row })));
  }

  /** Go to the next object offered. */
  skip(): void {
    const row = this.queue.shift();
    if (row === undefined) {
      void this.ctx.attempt(async () => {
        await this.refill();
        if (this.queue.length) this.skip();
        else this.ctx.notice("There is nothing more to offer in this set.");
      });
      return;
    }
    this.showQueue();
    void this.look(row);
  }

  private async look(row: number): Promise<void> {
    this.current = row;
    this.queue = this.queue.filter((r) => r !== row);
    this.markButtons();
    const { ctx } = this;
    ctx.store.set({ chosen: row, dropped: null });
    await ctx.attempt(async () => {
      try {
        const [known, pixels] = await Promise.all([ctx.rows.get(row), ctx.source.can.pixels ? ctx.source.pixels(row) : null]);
        if (this.current !== row) return;
        this.name.textContent = known.id;
        this.picture.set(pixels, known.id);
        this.picture.draw(ctx.store.state.picture);
      } finally {
        if (this.current === row) this.seen = row;
      }
    });
  }

  private async give(value: number | string | null): Promise<void> {
    if (!this.set || this.current < 0 || this.busy || this.seen !== this.current) return; // a quick key is not for what has not been seen
    this.busy = true;
    const row = this.current;
    await this.ctx.attempt(async () => {
      try {
        await this.ctx.source.label(this.set!.name, [row], value);
        this.given.add(row);
        this.ctx.say(`Labelled ${value}.`);
        this.skip();
      } finally {
        this.busy = false;
      }
      await this.reload();
      if (this.queue.length < 3) await this.refill();
    });
  }

  private async undo(): Promise<void> {
    if (!this.set) return;
    await this.ctx.attempt(async () => {
      const before = new Map(this.labels?.labels.map((l) => [l.row, l.value]));
      await this.ctx.source.undo(this.set!.name);
      await this.reload();
      const after = new Map(this.labels?.labels.map((l) => [l.row, l.value]));
      const changed = [...before.keys(), ...after.keys()].find((row) => before.get(row) !== after.get(row));
      this.ctx.say("The last label is taken back.");
      if (changed !== undefined) {
        this.given.delete(changed);
        if (this.current >= 0 && this.current !== changed) this.queue.unshift(this.current);
        await this.look(changed);
        this.showQueue();
      }
    });
  }

  private async labelSelection(): Promise<void> {
    const { ctx, set } = this;
    const rows = Array.from(ctx.store.state.selection);
    if (!set) return;
    if (!rows.length) {
      ctx.notice("Nothing is selected: draw around points with the lasso (L) first.");
      return;
    }
    const dialog = h("dialog", { class: "dialog", "aria-label": "Label the selection" });
    const give = (value: number | string | null) => {
      dialog.close();
      void ctx.attempt(async () => {
        await ctx.source.label(set.name, rows, value);
        await this.reload();
        ctx.notice(`${plural(rows.length, "object")} labelled ${value === null ? "no more" : value} in ${set.name}.`);
      });
    };
    dialog.append(h("h2", {}, `Label ${plural(rows.length, "object")} in ${set.name}`),
      h("div", { class: "label-buttons" }, ...labelKeys(set).map(({ value }) => h("button", { type: "button", class: "label-button", onclick: () => give(value) }, String(value)))),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "button", onclick: () => give(null) }, "Take their labels away"), h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel")));
    dialog.addEventListener("close", () => dialog.remove());
    ctx.root.append(dialog);
    dialog.showModal();
  }

  private async train(): Promise<void> {
    const { ctx, set } = this;
    if (!set) return;
    this.progress.textContent = "Learning from your labels …";
    await ctx.attempt(async () => {
      try {
        const made = await ctx.source.score(set.name);
        ctx.stale(`@score:${made.score}`);
        await ctx.refresh();
        ctx.store.set({ colour: `@score:${made.score}` });
        ctx.notice(`All objects are scored from ${plural(made.n_labels, "label")} (${made.method}); the map shows the score.`);
        await this.refill();
      } finally {
        await this.reload();
      }
    });
  }

  /** Keys of label mode; true if one was used. */
  key(event: KeyboardEvent): boolean {
    if (this.ctx.store.state.panel !== "label" || !this.set) return false;
    if ((event.key === "z" && (event.ctrlKey || event.metaKey)) || (event.key === "u" && !event.ctrlKey)) {
      void this.undo();
      return true;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (event.key === "ArrowRight") {
      this.skip();
      return true;
    }
    const hit = labelKeys(this.set).find((k) => k.key === event.key.toLowerCase());
    if (!hit) return false;
    void this.give(hit.value);
    return true;
  }
}
