import type { Context } from "./context";
import { choice, h, setOptions, whole } from "./dom";
import type { Scope, State } from "./state";

/** Which objects the gallery and the table show, null for all in the order of the store. */
export function scopeRows(state: State): Uint32Array | null {
  if (state.scope === "selection") return state.selection;
  if (state.scope === "filter") return state.filter;
  return null;
}

/** The chooser of all, filtered, selected. */
export function scopeChooser(ctx: Context): HTMLElement {
  const { store } = ctx;
  const field = choice("Show", [], "", (v) => store.set({ scope: v as Scope }));
  const select = field.querySelector("select")!;
  const sync = () => {
    const { filter, selection, scope } = store.state;
    const options = [{ value: "all", text: `all ${whole(ctx.space.n)}` }];
    if (filter) options.push({ value: "filter", text: `matching the filter (${whole(filter.length)})` });
    options.push({ value: "selection", text: `selected (${whole(selection.length)})` });
    setOptions(select, options, scope);
  };
  store.on(["filter", "selection", "scope"], sync);
  sync();
  return field;
}

/** A switch: clicks select, so that it goes without a keyboard. */
export function pickSwitch(ctx: Context): HTMLElement {
  const { store } = ctx;
  const button = h("button", { type: "button", class: "button toggle", "aria-pressed": "false", title: "Clicks select; or Ctrl-click, Space, and Shift for a range", onclick: () => store.set({ picking: !store.state.picking }) }, "Select");
  store.on(["picking"], (s) => button.setAttribute("aria-pressed", String(s.picking)));
  return button;
}
