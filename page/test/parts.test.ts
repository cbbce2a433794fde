import { describe, expect, it } from "vitest";
import { cellPlace } from "../src/cache";
import { colourChoices, paintRows, shownRows } from "../src/colouring";
import { direction } from "../src/embedded";
import { pack, packRows, unpack, unpackRows } from "../src/hash";
import { withoutEmpty } from "../src/http";
import { HOME } from "../src/maths/camera";
import { PICTURE } from "../src/maths/stretch";
import { labelKeys } from "../src/panels/label";
import { type State, Store, combined, modeOf } from "../src/state";
import type { Space } from "../src/types";

const state: State = {
  view: "gallery", panel: "query", sheet: false, map: "tsne", axes: [0, 2], colour: "@cluster:a b", ramp: "magma", reversed: true, off: new Set([-1, 3]), where: "snr > 10 and name == 'a&b'",
  filter: null, chosen: 7, dropped: null, selection: Uint32Array.of(1, 2, 90), like: [4, 5], unlike: [6], scope: "all", thumbs: true, picking: false,
  picture: { ...PICTURE, curve: "log", low: 2, clip: 3, bands: [2, 0, 1], northUp: false },
};

const space = {
  n: 100, columns: [{ name: "a", kind: "number", n_missing: 0 }, { name: "none", kind: "number", n_missing: 100 }, { name: "t", kind: "text" }],
  maps: [], clusters: [{ name: "g", k: 3, fresh: false }], anomalies: [], scores: [], label_sets: [], bands: [],
} as unknown as Space;

describe("links", () => {
  it("restore the view", () => {
    const saved = unpack(`#${pack(state, { x: 0.25, y: -0.5, zoom: 8 })}`, 100);
    expect(saved).toEqual({
      view: "gallery", panel: "query", map: "tsne", axes: [0, 2], colour: state.colour, ramp: "magma", reversed: true, off: [-1, 3], where: state.where, chosen: 7,
      selection: [1, 2, 90], like: [4, 5], unlike: [6], camera: { x: 0.25, y: -0.5, zoom: 8 }, picture: state.picture,
    });
  });

  it("leave out what makes no sense", () => {
    const saved = unpack("#row=500&sel=zz.%3Cscript%3E&at=1,2&axes=0.9&panel=constructor&pix=curve:evil,low:99,high:1,soft:-1", 100);
    expect(saved.chosen).toBeUndefined();
    expect(saved.selection).toBeUndefined();
    expect(saved.camera).toBeUndefined();
    expect(saved.axes).toBeUndefined();
    expect(saved.panel).toBeUndefined();
    expect(saved.picture).toEqual(PICTURE);
  });

  it("pack rows without loss", () => {
    const rows = [0, 1, 5, 1000, 999_999];
    expect(unpackRows(packRows(rows))).toEqual(rows);
    expect(unpackRows("")).toEqual([]);
  });

  it("stay short for the view of the start", () => {
    const start = { ...state, view: "map", panel: "object", axes: [0, 1], ramp: "viridis", reversed: false, off: new Set(), where: "", chosen: -1, selection: new Uint32Array(), like: [], unlike: [], picture: PICTURE } as State;
    expect(pack(start, HOME)).toBe("map=tsne&colour=%40cluster%3Aa+b");
  });
});

describe("state", () => {
  it("tells watchers once, and of their keys only", () => {
    const store = new Store({ ...state });
    const told: string[] = [];
    store.on(["chosen"], () => told.push("chosen"));
    store.on(["map", "colour"], () => told.push("map or colour"));
    store.set({ map: "pca", colour: "x" });
    store.set({ map: "pca" });
    expect(told).toEqual(["map or colour"]);
  });

  it("follows what a watcher changes", () => {
    const store = new Store({ ...state });
    const seen: number[] = [];
    store.on(["map"], () => store.set({ chosen: 3 }));
    store.on(["chosen"], (s) => seen.push(s.chosen));
    store.set({ map: "pca" });
    expect(seen).toEqual([3]);
  });

  it("adds to and takes from a selection", () => {
    const now = Uint32Array.of(1, 20, 3);
    expect(Array.from(combined(now, [10, 1], "add"))).toEqual([1, 3, 10, 20]);
    expect(Array.from(combined(now, [20], "subtract"))).toEqual([1, 3]);
    expect(Array.from(combined(now, [9, 9, 2], "replace"))).toEqual([2, 9]);
    expect(modeOf({ shiftKey: true, altKey: false })).toBe("add");
    expect(modeOf({ shiftKey: false, altKey: true })).toBe("subtract");
  });
});

describe("colouring", () => {
  it("offers neither empty columns nor results of other rows", () => {
    expect(colourChoices(withoutEmpty(space)).map((c) => c.value)).toEqual(["", "a"]);
  });

  it("counts categories and greys the missing", () => {
    const column = { kind: "category" as const, values: Int16Array.of(0, 1, 1, -1), categories: ["a", "b"] };
    const painted = paintRows(column, 4, "viridis", false, false);
    expect(painted.counts).toEqual([1, 2, 1]);
    expect(Array.from(painted.rgb.subarray(9, 12))).toEqual([0xc3, 0xc8, 0xcf]);
    expect(Array.from(shownRows(4, null, column, new Set([1])))).toEqual([1, 0, 0, 1]);
    expect(Array.from(shownRows(4, Uint32Array.of(0, 3), column, new Set([-1])))).toEqual([1, 0, 0, 0]);
  });

  it("paints numbers along the map", () => {
    const painted = paintRows({ kind: "number", values: Float32Array.of(0, 1, NaN) }, 3, "grey", false, true);
    expect(Array.from(painted.rgb)).toEqual([0, 0, 0, 255, 255, 255, 0x4a, 0x50, 0x5a]);
  });
});

describe("sprites, labels, queries", () => {
  it("finds a cell of a sprite", () => {
    expect(cellPlace(0, 12, 64)).toEqual([0, 0]);
    expect(cellPlace(13, 12, 64)).toEqual([64, 64]);
  });

  it("gives each class its own key, none of which the page needs otherwise", () => {
    const classes = Array.from({ length: 30 }, (_, i) => `c${i}`);
    const keys = labelKeys({ kind: "class", classes }).map((k) => k.key);
    expect(new Set(keys).size).toBe(keys.length);
    for (const taken of "mgtvlbsynpdfu") expect(keys).not.toContain(taken);
    expect(labelKeys({ kind: "interest", classes: [] }).map((k) => k.value)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("points a query to the examples and away from the others", () => {
    const unit = Float32Array.of(1, 0, 0, 1);
    expect(Array.from(direction(unit, 2, [0], []))).toEqual([1, 0]);
    const away = direction(unit, 2, [0], [1]);
    expect(away[0]).toBeGreaterThan(0);
    expect(away[1]).toBeLessThan(0);
  });
});
