/** A round length for a scale bar: at most `share` of the width. */
export function scaleBar(widthPx: number, arcsecPerPx: number, share = 0.4): { px: number; text: string } | null {
  if (!(arcsecPerPx > 0) || !(widthPx > 0)) return null;
  const most = widthPx * share * arcsecPerPx;
  const [unit, per] = most >= 5400 ? ["°", 3600] : most >= 90 ? ["′", 60] : most >= 0.001 ? ["″", 1] : ["mas", 0.001];
  const inUnit = most / per;
  const power = 10 ** Math.floor(Math.log10(inUnit));
  const step = [5, 2, 1].find((s) => s * power <= inUnit) ?? 1;
  const length = step * power;
  const text = `${Number(length.toPrecision(3))}${unit === "mas" ? " mas" : unit}`;
  return { px: (length * per) / arcsecPerPx, text };
}

/** Right ascension and declination as astronomers write them. */
export function sexagesimal(ra: number, dec: number): string {
  const parts = (value: number, digits: number) => {
    const scale = 10 ** digits;
    const total = Math.round(value * 3600 * scale);
    const seconds = (total % (60 * scale)) / scale;
    const minutes = Math.floor(total / (60 * scale)) % 60;
    const whole = Math.floor(total / (3600 * scale));
    return [whole, minutes, seconds] as const;
  };
  const pad = (n: number) => String(n).padStart(2, "0");
  const [h, m, s] = parts((((ra % 360) + 360) % 360) / 15, 2);
  const [d, am, as] = parts(Math.abs(dec), 1);
  return `${pad(h % 24)} ${pad(m)} ${s.toFixed(2).padStart(5, "0")} ${dec < 0 ? "−" : "+"}${pad(d)} ${pad(am)} ${as.toFixed(1).padStart(4, "0")}`;
}
