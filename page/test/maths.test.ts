import { describe, expect, it } from "vitest";
import { csvField, halves } from "../src/maths/bytes";
import { HOME, clipView, toMap, toScreen, zoomed } from "../src/maths/camera";
import { categoryColour, limits, ramp } from "../src/maths/colours";
import { Grid, insidePolygon } from "../src/maths/grid";
import { scaleBar, sexagesimal } from "../src/maths/scalebar";
import { TALLEST, contentTop, scrollFor, sortedBy, tiles } from "../src/maths/scroll";
import { generator, stratifiedOrder } from "../src/maths/strata";
import { CURVES, PICTURE, bandsShown, curve, paint, percentile, range, ranges, sortedFinite } from "../src/maths/stretch";

const f32 = (...values: number[]) => Float32Array.from(values);

describe("stretch", () => {
  it.each(CURVES)("%s rises from 0 to 1", (kind) => {
    expect(curve(kind, 0, 0.1)).toBeCloseTo(0);
    expect(curve(kind, 1, 0.1)).toBeCloseTo(1);
    for (let t = 0; t < 1; t += 0.05) expect(curve(kind, t + 0.05, 0.1)).toBeGreaterThan(curve(kind, t, 0.1));
  });

  it("takes percentiles as numpy does", () => {
    const sorted = sortedFinite(f32(3, 1, NaN, 2, 4));
    expect(Array.from(sorted)).toEqual([1, 2, 3, 4]);
    expect(percentile(sorted, 50)).toBeCloseTo(2.5); // numpy.percentile([1, 2, 3, 4], 50)
    expect(percentile(sorted, 99)).toBeCloseTo(3.97);
    expect(percentile(f32(), 50)).toBeNaN();
  });

  it("clips at level plus so many sigma, and only where they are known", () => {
    const sorted = f32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
    const picture = { ...PICTURE, low: 0, high: 100, clip: 3 };
    expect(range(sorted, picture, 1, 1)).toEqual([4, 10]);
    expect(range(sorted, picture, NaN, NaN)).toEqual([0, 10]);
  });

  it("never divides by a range of zero", () => {
    const [lo, hi] = range(f32(5, 5, 5), PICTURE);
    expect(hi).toBeGreaterThan(lo);
  });

  it("paints masked pixels transparent, the darkest black and the brightest white", () => {
    const rgba = paint([f32(0, 10, NaN)], [[0, 10]], { ...PICTURE, curve: "linear" });
    expect(Array.from(rgba)).toEqual([0, 0, 0, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
  });

  it("paints three planes as red, green, blue", () => {
    const rgba = paint([f32(1), f32(0), f32(0.5)], [[0, 1], [0, 1], [0, 1]], { ...PICTURE, curve: "linear" });
    expect(Array.from(rgba)).toEqual([255, 0, 128, 255]);
  });

  it("shows the longest wavelength in red, unless the bands are red, green, blue", () => {
    expect(bandsShown(PICTURE, ["g", "r", "z"])).toEqual([2, 1, 0]);
    expect(bandsShown(PICTURE, ["R", "G", "B"])).toEqual([0, 1, 2]);
    expect(bandsShown(PICTURE, ["1.4 GHz"])).toEqual([0]);
    expect(bandsShown({ ...PICTURE, bands: [7] }, ["a", "b"])).toEqual([0]);
  });
});

describe("ranges of bands", () => {
  const sorted = [f32(0, 10), f32(5, 20), f32(1, 2)];
  const picture = { ...PICTURE, low: 0, high: 100 };

  it("are one for a colour picture", () => {
    expect(ranges(sorted, [0, 1, 2], ["R", "G", "B"], picture, [], [])).toEqual([[0, 20], [0, 20], [0, 20]]);
  });

  it("are each band's own otherwise", () => {
    expect(ranges(sorted, [2, 0], ["g", "r", "z"], picture, [], [])).toEqual([[1, 2], [0, 10]]);
  });
});

describe("colours", () => {
  it("begin and end as matplotlib's", () => {
    const viridis = ramp("viridis");
    expect(Array.from(viridis.subarray(0, 3))).toEqual([0x44, 0x01, 0x54]);
    expect(Array.from(viridis.subarray(765))).toEqual([0xfd, 0xe7, 0x25]);
    expect(Array.from(ramp("viridis", true).subarray(0, 3))).toEqual([0xfd, 0xe7, 0x25]);
  });

  it("differ between the first forty categories", () => {
    expect(new Set(Array.from({ length: 40 }, (_, i) => categoryColour(i).join())).size).toBe(40);
  });

  it("take limits without NaN", () => {
    expect(limits(f32(NaN, 1, 2, 3))).toEqual([1, 3]);
    expect(limits(f32(NaN))).toBeNull();
    expect(limits(f32(2, 2))).toEqual([2, 2]);
  });
});

describe("strata", () => {
  const n = 20_000;
  const random = generator(3);
  const xy = Float32Array.from({ length: 2 * n }, () => (random() + random()) * 0.4 - 0.4);
  xy[0] = 0.99; // alone in its corner
  xy[1] = 0.99;

  it("is a permutation, without what has no place", () => {
    const holed = xy.slice();
    holed[10] = NaN;
    const order = stratifiedOrder(holed, n);
    expect(order.length).toBe(n - 1);
    expect(new Set(order).size).toBe(n - 1);
    expect(order.includes(5)).toBe(false);
  });

  it("has the outlier early and keeps the proportions", () => {
    const order = stratifiedOrder(xy, n, 16);
    const start = order.subarray(0, 2000);
    expect(start.includes(0)).toBe(true);
    const dense = (rows: ArrayLike<number>) => Array.from(rows).filter((row) => Math.hypot(xy[2 * row], xy[2 * row + 1]) < 0.2).length / rows.length;
    expect(Math.abs(dense(start) - dense(order))).toBeLessThan(0.04);
  });
});

describe("grid", () => {
  const n = 3000;
  const random = generator(5);
  const xy = Float32Array.from({ length: 2 * n }, () => random() * 2 - 1);
  const grid = new Grid(xy, n);

  it("finds the nearest, as looking at all does", () => {
    for (let k = 0; k < 50; k++) {
      const [x, y] = [random() * 2 - 1, random() * 2 - 1];
      let best = -1;
      let least = 0.1;
      for (let i = 0; i < n; i++) {
        const d = Math.hypot(xy[2 * i] - x, xy[2 * i + 1] - y);
        if (d <= least) [least, best] = [d, i];
      }
      expect(grid.nearest(x, y, 0.1, 0.1, () => true)).toBe(best);
    }
  });

  it("takes what lies in a polygon", () => {
    const square = insidePolygon(xy, n, [-0.5, -0.5, 0.5, -0.5, 0.5, 0.5, -0.5, 0.5]);
    const seen: number[] = [];
    grid.each(-0.5, -0.5, 0.5, 0.5, (row) => seen.push(row) > 0);
    expect(Array.from(square).sort()).toEqual(seen.sort());
    expect(insidePolygon(f32(NaN, NaN), 1, [-1, -1, 1, -1, 0, 1]).length).toBe(0);
  });
});

describe("camera", () => {
  it("returns to the place it came from", () => {
    const camera = { x: 0.2, y: -0.1, zoom: 3 };
    const [px, py] = toScreen(camera, 800, 600, 0.25, -0.3);
    const [x, y] = toMap(camera, 800, 600, px, py);
    expect([x, y].map((v) => Number(v.toFixed(9)))).toEqual([0.25, -0.3]);
  });

  it("zooms about the pointer", () => {
    const before = toMap(HOME, 800, 600, 500, 200);
    const after = toMap(zoomed(HOME, 800, 600, 500, 200, 4), 800, 600, 500, 200);
    expect(after[0]).toBeCloseTo(before[0]);
    expect(after[1]).toBeCloseTo(before[1]);
  });

  it("tells WebGL the same as the overlay", () => {
    const camera = { x: 0.2, y: -0.1, zoom: 3 };
    const view = clipView(camera, 800, 600);
    const [px, py] = toScreen(camera, 800, 600, 0.4, 0.1);
    expect(((0.4 * view.sx + view.tx + 1) / 2) * 800).toBeCloseTo(px);
    expect(((1 - (0.1 * view.sy + view.ty)) / 2) * 600).toBeCloseTo(py);
  });
});

describe("scale bar and sky", () => {
  it("has a round length that fits", () => {
    expect(scaleBar(400, 0.1)).toEqual({ px: 100, text: "10″" });
    expect(scaleBar(100, 3600)?.text).toBe("20°");
    expect(scaleBar(350, 1)).toEqual({ px: 120, text: "2′" });
    expect(scaleBar(400, 1e-6)?.text).toBe("0.1 mas");
    expect(scaleBar(400, NaN)).toBeNull();
  });

  it("writes positions as astropy does", () => {
    // SkyCoord(83.633083, 22.0145, unit="deg").to_string("hmsdms", sep=" ", precision=...)
    expect(sexagesimal(83.633083, 22.0145)).toBe("05 34 31.94 +22 00 52.2");
    expect(sexagesimal(359.99999999, -0.00001)).toBe("00 00 00.00 −00 00 00.0");
  });
});

describe("scrolling", () => {
  it("lays tiles into the width", () => {
    expect(tiles(400, 84, 4, 100)).toEqual({ columns: 4, lines: 25, step: 101 });
    expect(tiles(20, 84, 4, 3).columns).toBe(1);
  });

  it("reaches both ends of what is taller than a browser can", () => {
    const total = 40_000_000;
    expect(contentTop(0, 700, total)).toBe(0);
    expect(contentTop(TALLEST - 700, 700, total)).toBeCloseTo(total - 700);
    expect(contentTop(scrollFor(12_345_678, 700, total), 700, total)).toBeCloseTo(12_345_678);
  });

  it("sorts with the missing last either way", () => {
    const values = f32(2, NaN, 1, 3);
    expect(Array.from(sortedBy(values, Uint32Array.of(0, 1, 2, 3), false))).toEqual([2, 0, 3, 1]);
    expect(Array.from(sortedBy(values, Uint32Array.of(0, 1, 2, 3), true))).toEqual([3, 0, 2, 1]);
  });
});

describe("bytes", () => {
  it("reads half precision", () => {
    const bits = Uint16Array.of(0x0000, 0x3c00, 0xc000, 0x3555, 0x7c00, 0x0001);
    const got = halves(new Uint8Array(bits.buffer));
    expect(Array.from(got).map((v) => Number(v.toPrecision(4)))).toEqual([0, 1, -2, 0.3333, Infinity, 5.96e-8]);
  });

  it("quotes fields of CSV", () => {
    expect([csvField('a"b'), csvField("a,b"), csvField(null), csvField(NaN), csvField(0)]).toEqual(['"a""b"', '"a,b"', "", "", "0"]);
  });
});
