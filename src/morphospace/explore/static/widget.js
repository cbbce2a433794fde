// src/style.css?inline
var e = class {
	source;
	known = /* @__PURE__ */ new Map();
	sprites = /* @__PURE__ */ new Map();
	wanted = [];
	asked = /* @__PURE__ */ new Set();
	inFlight = 0;
	timer = 0;
	listeners = /* @__PURE__ */ new Set();
	failed = () => void 0;
	constructor(e) {
		this.source = e;
	}
	onLoad(e) {
		return this.listeners.add(e), () => this.listeners.delete(e);
	}
	get(e) {
		let t = this.known.get(e);
		if (t) {
			let e = this.sprites.get(t.url);
			return e && (this.sprites.delete(t.url), this.sprites.set(t.url, e)), t;
		}
		return !this.asked.has(e) && this.source.can.thumbs && (this.asked.add(e), this.wanted.push(e), this.timer ||= window.setTimeout(() => this.fetch(), 8)), null;
	}
	drop() {
		for (let e of this.wanted) this.asked.delete(e);
		this.wanted = [];
	}
	fetch() {
		for (this.timer = 0; this.wanted.length && this.inFlight < 3;) {
			let e = this.wanted.splice(0, 128);
			this.inFlight++, this.load(e).catch((t) => {
				for (let t of e) window.setTimeout(() => this.asked.delete(t), 5e3);
				this.failed(t instanceof Error ? t.message : String(t));
			}).finally(() => {
				this.inFlight--, this.fetch();
			});
		}
	}
	async load(e) {
		let n = await this.source.sprite(e), r = await createImageBitmap(n.blob).catch(() => null), i = URL.createObjectURL(n.blob), a = r?.width ?? n.columns * n.size, o = r?.height ?? Math.ceil(n.rows.length / n.columns) * n.size;
		this.sprites.set(i, {
			url: i,
			image: r,
			rows: n.rows
		}), n.rows.forEach((e, s) => {
			if (e < 0) return;
			let [c, l] = t(s, n.columns, n.size);
			this.known.set(e, {
				url: i,
				image: r,
				x: c,
				y: l,
				size: n.size,
				width: a,
				height: o
			}), this.asked.delete(e);
		});
		for (let t of e) this.asked.delete(t);
		for (; this.sprites.size > 64;) this.forget(this.sprites.values().next().value);
		for (let e of this.listeners) e();
	}
	forget(e) {
		this.sprites.delete(e.url);
		for (let t of e.rows) this.known.get(t)?.url === e.url && this.known.delete(t);
		e.image?.close(), URL.revokeObjectURL(e.url);
	}
};
function t(e, t, n) {
	return [e % t * n, Math.floor(e / t) * n];
}
var n = /* @__PURE__ */ new WeakMap();
function r(e, t, r) {
	let i = n.get(e);
	if (i && i.thumb === t && i.px === r) return;
	if (n.set(e, {
		thumb: t,
		px: r
	}), !t) {
		e.style.backgroundImage = "", e.classList.add("waiting");
		return;
	}
	let a = r / t.size;
	e.classList.remove("waiting"), e.style.backgroundImage = `url("${t.url}")`, e.style.backgroundSize = `${t.width * a}px ${t.height * a}px`, e.style.backgroundPosition = `${-t.x * a}px ${-t.y * a}px`;
}
var i = class {
	source;
	known = /* @__PURE__ */ new Map();
	waiting = /* @__PURE__ */ new Map();
	timer = 0;
	failed = () => void 0;
	constructor(e) {
		this.source = e;
	}
	peek(e) {
		return this.known.get(e);
	}
	get(e) {
		let t = this.known.get(e);
		return t ? Promise.resolve(t) : new Promise((t) => {
			let n = this.waiting.get(e);
			n ? n.push(t) : this.waiting.set(e, [t]), this.timer ||= window.setTimeout(() => void this.fetch(), 10);
		});
	}
	all(e) {
		return Promise.all(e.map((e) => this.get(e)));
	}
	async fetch() {
		this.timer = 0;
		let e = [...this.waiting.keys()].slice(0, 400), t = new Map(e.map((e) => [e, this.waiting.get(e)]));
		for (let t of e) this.waiting.delete(t);
		this.waiting.size && (this.timer = window.setTimeout(() => void this.fetch(), 10));
		try {
			let n = await this.source.rows(e);
			this.known.size > 2e4 && this.known.clear();
			for (let e of n) {
				this.known.set(e.row, e);
				for (let n of t.get(e.row) ?? []) n(e);
			}
		} catch (e) {
			this.failed(e instanceof Error ? e.message : String(e));
		}
	}
}, a = {
	viridis: "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c1f988b1fa08822a78528ae8032b67a3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725",
	magma: "0000040303120a0822130d341d114729115a36106b440f7651127c5d177f6a1c81762181832681902a819c2e7faa337db73779c43c75d0416fdc4869e75263ef5d5ef56b5cf9795dfc8961fd9869fea772feb67cfec488fed395fde2a3fcf0b2fcfdbf",
	inferno: "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754c73e4cd24644db503be45a31eb6628f1731df68013f98e09fb9d07fcac11fbbc21f9cb35f5db4cf2ea69f3f68afcffa4",
	cividis: "00224e00285b002e6a0533711a386f273e6e32436d3b496c434e6c4b546c535a6d5a5f6e61656f686a716f70737676767d7c788482798c8878938e789b9476a39a74aba072b4a76fbcae6cc4b468cdbb63d5c25edec958e7d150f0d846f9e03afee838",
	grey: "000000ffffff"
}, o = Object.keys(a), s = [
	"#4a7de0",
	"#e8a019",
	"#e5573f",
	"#35a58e",
	"#8f5fd6",
	"#d8609e",
	"#5f9e3a",
	"#a5714f",
	"#2aa3cc",
	"#8a8f99"
], c = /* @__PURE__ */ new Map();
function l(e, t = !1) {
	let n = `${e}/${t}`, r = c.get(n);
	if (r) return r;
	let i = u(a[e] ?? a.grey), o = /* @__PURE__ */ new Uint8Array(768);
	for (let e = 0; e < 256; e++) {
		let n = (t ? 255 - e : e) / 255 * (i.length - 1), r = Math.min(i.length - 2, Math.floor(n));
		for (let t = 0; t < 3; t++) o[3 * e + t] = Math.round(i[r][t] + (n - r) * (i[r + 1][t] - i[r][t]));
	}
	return c.set(n, o), o;
}
function u(e) {
	let t = [];
	for (let n = 0; n < e.length; n += 6) t.push(d(e.slice(n, n + 6)));
	return t;
}
function d(e) {
	let t = parseInt(e.replace("#", ""), 16);
	return [
		t >> 16 & 255,
		t >> 8 & 255,
		t & 255
	];
}
function f(e) {
	return e < s.length ? d(s[e]) : p(e * 137.508 % 360, .5, e % 2 ? .46 : .6);
}
function p(e, t, n) {
	let r = t * Math.min(n, 1 - n), i = (t) => {
		let i = (t + e / 30) % 12;
		return Math.round(255 * (n - r * Math.max(-1, Math.min(i - 3, 9 - i, 1))));
	};
	return [
		i(0),
		i(8),
		i(4)
	];
}
var m = ([e, t, n]) => `rgb(${e} ${t} ${n})`;
function h(e, t = !1) {
	let n = l(e, t), r = [];
	for (let e = 0; e < 256; e += 15) r.push(m([
		n[3 * e],
		n[3 * e + 1],
		n[3 * e + 2]
	]));
	return `linear-gradient(to right, ${r.join(", ")})`;
}
function g(e, t = .005, n = .995, r = 5e4) {
	let i = Math.max(1, Math.floor(e.length / r)), a = [];
	for (let t = 0; t < e.length; t += i) Number.isFinite(e[t]) && a.push(e[t]);
	if (!a.length) return null;
	let o = Float64Array.from(a).sort(), s = (e) => o[Math.min(o.length - 1, Math.max(0, Math.round(e * (o.length - 1))))], c = s(t), l = s(n);
	return c === l && ([c, l] = [o[0], o[o.length - 1]]), [c, l];
}
// src/colouring.ts
function _(e) {
	let t = [{
		value: "",
		text: "one colour",
		group: ""
	}];
	e.color?.startsWith("@color") && t.push({
		value: e.color,
		text: "given values",
		group: ""
	});
	for (let n of e.clusters) t.push({
		value: `@cluster:${n.name}`,
		text: `${n.name} (${n.k})`,
		group: "Clusters"
	});
	for (let n of e.anomalies) t.push({
		value: `@anomaly:${n.name}`,
		text: n.name,
		group: "Oddness"
	});
	for (let n of e.scores) t.push({
		value: `@score:${n.name}`,
		text: n.name,
		group: "Scores"
	});
	for (let n of e.label_sets) t.push({
		value: `@label:${n.name}`,
		text: n.name,
		group: "Labels"
	});
	if (e.density) for (let n of e.maps) t.push({
		value: `@density:${n.name}`,
		text: `how common, on ${n.name}`,
		group: "Density"
	});
	for (let n of e.columns) n.name.startsWith("@") || n.kind !== "number" && n.kind !== "category" || t.push({
		value: n.name,
		text: n.name,
		group: "Columns"
	});
	return t;
}
var ee = [
	"unit",
	"x",
	"y",
	"pixel_scale_arcsec",
	"group",
	"flags",
	"source",
	"hdu",
	"sha256"
], te = (e) => [...e.filter((e) => !ee.includes(e)), ...ee.filter((t) => e.includes(t))], ne = (e) => e.replace(/^@cluster:/, "cluster ").replace(/^@anomaly:/, "oddness ").replace(/^@score:/, "score ").replace(/^@label:/, "label ").replace(/^@density:/, "how common, on ").replace(/^@color$/, "given values");
function re(e, t, n, r, i) {
	let a = new Uint8Array(3 * t), o = d(i ? "4a505a" : "c3c8cf");
	if (!e) {
		let e = d(i ? "86a8ff" : "2f5bd0");
		for (let n = 0; n < t; n++) a.set(e, 3 * n);
		return {
			rgb: a,
			limits: null,
			counts: []
		};
	}
	if (e.kind === "category") {
		let n = e.categories.map((e, t) => f(t)), r = Array(n.length + 1).fill(0);
		for (let i = 0; i < t; i++) {
			let t = e.values[i], s = t >= 0 && t < n.length;
			a.set(s ? n[t] : o, 3 * i), r[s ? t : n.length]++;
		}
		return {
			rgb: a,
			limits: null,
			counts: r
		};
	}
	let s = g(e.values), c = l(n, r), [u, p] = s ?? [0, 1], m = 255 / (p - u || 1);
	for (let n = 0; n < t; n++) {
		let t = e.values[n];
		if (t !== t) {
			a.set(o, 3 * n);
			continue;
		}
		let r = (t - u) * m, i = 3 * (r <= 0 ? 0 : r >= 255 ? 255 : r | 0);
		a[3 * n] = c[i], a[3 * n + 1] = c[i + 1], a[3 * n + 2] = c[i + 2];
	}
	return {
		rgb: a,
		limits: s,
		counts: []
	};
}
function ie(e, t, n, r) {
	let i = new Uint8Array(e);
	if (t) for (let e of t) i[e] = 1;
	else i.fill(1);
	if (n?.kind === "category" && r.size) for (let t = 0; t < e; t++) {
		let e = n.values[t];
		r.has(e >= 0 && e < n.categories.length ? e : -1) && (i[t] = 0);
	}
	return i;
}
function ae(e, t, n) {
	return e ? e.kind === "category" ? e.categories[e.values[t]] ?? "none" : n(e.values[t]) : "";
}
// src/dom.ts
var oe = "http://www.w3.org/2000/svg";
function v(e, t = {}, ...n) {
	let r = document.createElement(e);
	return se(r, t), ce(r, n), r;
}
function se(e, t) {
	for (let [n, r] of Object.entries(t)) if (r != null && r !== !1) {
		if (n.startsWith("on") && typeof r == "function") e.addEventListener(n.slice(2).toLowerCase(), r);
		else if (n === "style" && typeof r == "object") for (let [t, n] of Object.entries(r)) e.style.setProperty(t, n);
		else [
			"value",
			"checked",
			"disabled",
			"selected",
			"hidden",
			"indeterminate",
			"open"
		].includes(n) ? e[n] = r : e.setAttribute(n === "class" ? "class" : n, r === !0 ? "" : String(r));
	}
}
function ce(e, t) {
	for (let n of t) n != null && n !== !1 && e.append(n instanceof Node ? n : document.createTextNode(String(n)));
}
function y(e, ...t) {
	e.replaceChildren(), ce(e, t);
}
var le = {
	pan: "M8 1.5v13M1.5 8h13M8 1.5 6 3.5M8 1.5l2 2M8 14.5l-2-2M8 14.5l2-2M1.5 8l2-2M1.5 8l2 2M14.5 8l-2-2M14.5 8l-2 2",
	lasso: "M8 2.5c3.6 0 6 1.7 6 4s-2.4 4-6 4-6-1.7-6-4 2.4-4 6-4M5 10.2c-1 .6-1.2 1.7-.4 2.4.8.6 1 1.200.4 2",
	box: "M2.500 2.500h11v11h-11z",
	plus: "M8 3v10M3 8h10",
	minus: "M3 8h10",
	fit: "M2.500 6V2.500H6M10 2.500h3.500V6M13.500 10v3.500H10M6 13.500H2.500V10",
	close: "M4 4l8 8M12 4l-8 8",
	sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
	moon: "M13 9.500A5.500 5.500 0 0 1 6.500 3a5.500 5.500 0 1 0 6.500 6.500z",
	help: "M5.800 6a2.200 2.200 0 1 1 3.200 2c-.7.400-1 .800-1 1.600M8 12v.5",
	link: "M6.500 3.500h-3v9h9v-3M9 3h4v4M13 3 7.500 8.500",
	image: "M2 3h12v10H2zM2 11l3.500-3.500L9 11l2-2 3 3",
	left: "M10 3 5 8l5 5",
	right: "M6 3l5 5-5 5",
	up: "M3 10l5-5 5 5",
	down: "M3 6l5 5 5-5",
	yes: "M3 8.500 6.500 12 13 4.500",
	no: "M8 2.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11M4.200 4.200l7.600 7.600",
	upload: "M8 10.500V2.500M4.800 5.700 8 2.500l3.200 3.200M2.500 10.500v3h11v-3",
	swap: "M4 5.500h9M10.500 3 13 5.500 10.500 8M12 10.500H3M5.500 8 3 10.500 5.500 13",
	select: "M2.500 5V2.500H5M8 2.500h.01M11 2.500h2.500V5M13.500 8h.01M13.500 11v2.500H11M8 13.500h.01M5 13.500H2.500V11M2.500 8h.01M8 5.500v5M5.500 8h5",
	alike: "M3 6h10M3 10h10",
	map: "M4 11.500h.01M6.500 6h.01M9 9h.01M11.500 4.500h.01M12 11h.01M3.500 4h.01M8 13h.01",
	grid: "M2.500 2.500h4.500v4.500H2.500zM9 2.500h4.500v4.500H9zM2.500 9h4.500v4.500H2.500zM9 9h4.500v4.500H9z",
	table: "M2 3h12v10H2zM2 6.500h12M2 9.800h12M6 3v10"
};
function b(e) {
	let t = document.createElementNS(oe, "svg");
	t.setAttribute("viewBox", "0 0 16 16"), t.setAttribute("aria-hidden", "true"), t.setAttribute("class", "icon");
	let n = document.createElementNS(oe, "path");
	return n.setAttribute("d", le[e] ?? ""), t.append(n), t;
}
function x(e, t, n, r = {}) {
	return v("button", {
		type: "button",
		class: "icon-button",
		"aria-label": t,
		title: t,
		onclick: n,
		...r
	}, b(e));
}
function S(e, t, n, r, i = {}) {
	let a = v("select", {
		onchange: () => r(a.value),
		...i
	});
	return C(a, t, n), v("label", { class: "field" }, v("span", {}, e), a);
}
function C(e, t, n) {
	e.replaceChildren();
	let r = /* @__PURE__ */ new Map();
	for (let { value: i, text: a, group: o } of t) {
		let t = v("option", {
			value: i,
			selected: i === n
		}, a);
		if (!o) e.append(t);
		else {
			if (!r.has(o)) {
				let t = v("optgroup", { label: o });
				r.set(o, t), e.append(t);
			}
			r.get(o).append(t);
		}
	}
	e.value = n;
}
var w = (e) => Math.round(e).toLocaleString("en-GB"), ue = (e) => e.toLocaleString("en-GB", {
	notation: "compact",
	maximumFractionDigits: 0
});
function T(e) {
	if (!Number.isFinite(e)) return "–";
	if (Number.isInteger(e) && Math.abs(e) < 1e7) return w(e);
	let t = Math.abs(e);
	return t !== 0 && (t < .001 || t >= 1e6) ? e.toExponential(2) : e.toPrecision(4).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}
var E = (e, t, n = `${t}s`) => `${w(e)} ${e === 1 ? t : n}`;
function de(e, t) {
	let n = URL.createObjectURL(e), r = v("a", {
		href: n,
		download: t
	});
	document.body.append(r), r.click(), r.remove(), setTimeout(() => URL.revokeObjectURL(n), 1e4);
}
function fe(e, t) {
	let n = 0;
	return (...r) => {
		window.clearTimeout(n), n = window.setTimeout(() => t(...r), e);
	};
}
// src/drop.ts
var pe = class {
	ctx;
	map;
	panel;
	veil = v("div", {
		class: "veil",
		hidden: !0
	}, v("p", {}, "Drop the image to see where it lies and what it resembles"));
	depth = 0;
	placed = null;
	constructor(e, t, n) {
		this.ctx = e, this.map = t, this.panel = n;
		let { root: r } = e;
		e.store.on([
			"map",
			"axes",
			"dropped"
		], () => this.star());
		let i = v("input", {
			type: "file",
			class: "only-read",
			id: "drop-input",
			tabindex: -1,
			"aria-label": "Place a FITS file on the map",
			onchange: () => {
				i.files?.[0] && this.take(i.files[0]), i.value = "";
			}
		});
		r.append(this.veil, i), r.addEventListener("dragenter", (e) => {
			e.dataTransfer?.types.includes("Files") && (this.depth++, this.veil.hidden = !1);
		}), r.addEventListener("dragleave", () => {
			this.depth = Math.max(0, this.depth - 1), this.veil.hidden = this.depth === 0;
		}), r.addEventListener("dragover", (e) => e.preventDefault()), r.addEventListener("drop", (e) => {
			e.preventDefault(), this.depth = 0, this.veil.hidden = !0;
			let t = e.dataTransfer?.files[0];
			t && this.take(t);
		});
	}
	star() {
		let { map: e, axes: t, dropped: n } = this.ctx.store.state, r = n !== null && n === this.placed?.dropped ? this.placed.place[e] : void 0, i = r !== void 0 && r.every(Number.isFinite);
		return this.map.dropped(i ? [r[t[0]], r[t[1]]] : null), i;
	}
	async take(e) {
		let { ctx: t } = this;
		t.notice(`Placing ${e.name} …`), await t.attempt(async () => {
			if (e.size > 256 * 2 ** 20) throw Error(`${e.name} is larger than 256 MiB; cut the object out first.`);
			let n = await t.source.drop(e);
			t.store.set({
				chosen: -1,
				dropped: n.dropped,
				panel: "object",
				sheet: !0,
				view: "map"
			}), this.placed = n;
			let r = this.star();
			t.notice(`${n.name} is placed${r ? " (the star on the map)" : ""}; ${E(n.hits.length, "similar object")}.`), await this.panel.showDropped(n);
		});
	}
}, me = {
	object: "Object",
	selection: "Selection",
	query: "Query",
	clusters: "Clusters",
	odd: "Odd ones",
	label: "Label"
}, he = {
	map: ["Map", "map"],
	gallery: ["Gallery", "grid"],
	table: ["Table", "table"]
}, ge = class {
	ctx;
	views;
	panels;
	header = v("header", { class: "top" });
	main;
	side;
	status = v("div", { class: "status-text" });
	tabs = /* @__PURE__ */ new Map();
	colourSelect;
	mapSelect;
	axes = v("span", { class: "axes" });
	filter;
	filterNote = v("span", {
		class: "filter-note",
		id: "filter-note"
	});
	onTheme = () => void 0;
	openHelp = () => void 0;
	dark = !1;
	constructor(e, t, n, r) {
		this.ctx = e, this.views = n, this.panels = r;
		let { store: i, source: a, root: o } = e;
		this.filter = v("input", {
			type: "text",
			class: "where",
			spellcheck: "false",
			autocomplete: "off",
			placeholder: "filter: snr > 10 and flags == 0",
			"aria-label": "Filter, as --where on the command line",
			"aria-describedby": "filter-note",
			value: i.state.where,
			onkeydown: (e) => {
				e.key === "Enter" && i.set({ where: this.filter.value.trim() }), e.key === "Escape" && this.clearFilter();
			},
			onchange: () => i.set({ where: this.filter.value.trim() })
		});
		let s = S("Map", [], "", (e) => i.set({
			map: e,
			axes: [0, 1]
		})), c = S("Colour", [], "", (e) => i.set({ colour: e }));
		this.mapSelect = s.querySelector("select"), this.colourSelect = c.querySelector("select"), this.fillHeader(s, c), this.main = v("main", { class: "main" }, ...Object.values(n)), this.side = v("aside", {
			class: "side",
			"aria-label": "Details"
		}, this.tabList(), ...Object.values(r)), o.append(v("a", {
			class: "skip",
			href: "#",
			onclick: (e) => {
				e.preventDefault(), this.views[i.state.view].querySelector("[tabindex='0']")?.focus();
			}
		}, "To the objects"), this.header, this.main, this.side, v("footer", { class: "status" }, this.status, this.hint()), t.element, t.live), a.can.where || (this.filter.parentElement.hidden = !0), i.on([
			"view",
			"panel",
			"sheet"
		], () => this.arrange()), i.on([
			"selection",
			"filter",
			"off"
		], () => this.count()), i.on([
			"map",
			"colour",
			"axes"
		], () => this.refresh()), i.on(["where"], (e) => this.filter.value = e.where), this.startTheme(), this.refresh(), this.arrange(), this.count();
	}
	fillHeader(e, t) {
		let { space: n, source: r } = this.ctx, i = v("div", {
			class: "title",
			title: `${n.name}: ${w(n.n)} objects, ${n.dim} dimensions, space ${n.space_id}${n.run ? `, run ${n.run}` : ""}`
		}, v("span", { class: "name" }, n.name), n.starter ? v("span", { class: "badge" }, "starter encoder") : null), a = v("div", {
			class: "switch",
			role: "tablist",
			"aria-label": "View"
		});
		for (let [e, [t, n]] of Object.entries(he)) {
			let r = v("button", {
				type: "button",
				role: "tab",
				id: `view-${e}`,
				"aria-label": t,
				"aria-controls": `main-${e}`,
				onclick: () => this.ctx.store.set({
					view: e,
					sheet: !1
				})
			}, b(n), v("span", {}, t));
			this.tabs.set(`view-${e}`, r), a.append(r), this.views[e].id = `main-${e}`, this.views[e].setAttribute("role", "tabpanel"), this.views[e].setAttribute("aria-labelledby", `view-${e}`);
		}
		ve(a), y(this.header, i, a, v("div", { class: "choosers" }, e, this.axes, t), v("div", { class: "filter" }, this.filter, x("close", "Clear the filter", () => this.clearFilter(), { class: "icon-button clear" }), this.filterNote), v("div", { class: "right" }, r.can.drop ? x("upload", "Place a FITS file on the map, or drop it anywhere", () => document.getElementById("drop-input")?.click()) : null, x("sun", "Light or dark (D)", () => this.toggleTheme(), { class: "icon-button theme" }), x("help", "Keyboard and help (?)", () => this.openHelp())));
	}
	tabList() {
		let e = v("div", {
			class: "tabs",
			role: "tablist",
			"aria-label": "Panels"
		});
		for (let [t, n] of Object.entries(me)) {
			if (!this.offered(t)) {
				this.panels[t].hidden = !0;
				continue;
			}
			let r = v("button", {
				type: "button",
				role: "tab",
				id: `tab-${t}`,
				"aria-controls": `panel-${t}`,
				onclick: () => {
					let { state: e } = this.ctx.store;
					this.ctx.store.set({
						panel: t,
						sheet: !(e.sheet && e.panel === t)
					});
				}
			}, n);
			this.tabs.set(`tab-${t}`, r), e.append(r), this.panels[t].id = `panel-${t}`, this.panels[t].setAttribute("role", "tabpanel"), this.panels[t].setAttribute("aria-labelledby", `tab-${t}`), this.panels[t].tabIndex = 0;
		}
		return ve(e), e;
	}
	offered(e) {
		let { space: t, source: n } = this.ctx;
		return e === "query" ? n.can.neighbours : e === "label" ? n.can.labels : e === "clusters" ? n.live || t.clusters.length > 0 : e !== "odd" || n.live || t.anomalies.length > 0;
	}
	hint() {
		let { space: e } = this.ctx;
		return v("div", { class: "status-right" }, `${E(e.dim, "dimension")} · space ${e.space_id.slice(0, 8)}${e.average ? ` · averaged over ${e.average}` : ""} · morphospace ${e.version}`);
	}
	refresh() {
		let { space: e, store: t } = this.ctx, { map: n, colour: r, axes: i } = t.state;
		C(this.mapSelect, e.maps.map((e) => ({
			value: e.name,
			text: `${e.name}${e.dims === 3 ? ", 3-D" : ""}${e.fresh === !1 ? " (of older embeddings)" : ""}`
		})), n), C(this.colourSelect, _(e), r);
		let a = e.maps.find((e) => e.name === n)?.dims ?? 2;
		y(this.axes), a < 3 || this.axes.append(S("Axes", [
			[0, 1],
			[0, 2],
			[1, 2]
		].map(([e, t]) => ({
			value: `${e}${t}`,
			text: `${"xyz"[e]}, ${"xyz"[t]}`
		})), i.join(""), (e) => t.set({ axes: [Number(e[0]), Number(e[1])] })));
	}
	arrange() {
		let { view: e, panel: t, sheet: n } = this.ctx.store.state;
		for (let [t, n] of Object.entries(this.views)) n.hidden = t !== e;
		for (let [e, n] of Object.entries(this.panels)) n.hidden = e !== t;
		for (let [n, r] of this.tabs) {
			let i = n === `view-${e}` || n === `tab-${t}`;
			r.setAttribute("aria-selected", String(i)), r.tabIndex = i ? 0 : -1;
		}
		this.side.dataset.sheet = n ? "open" : "closed";
	}
	count() {
		let { filter: e, selection: t } = this.ctx.store.state, n = [E(this.ctx.space.n, "object")];
		e && n.push(`${w(e.length)} match the filter`), t.length && n.push(`${w(t.length)} selected`), this.status.textContent = n.join(" · "), this.filterNote.textContent = e ? w(e.length) : "";
		let r = this.tabs.get("tab-selection");
		r && y(r, "Selection", t.length ? v("span", { class: "count" }, ue(t.length)) : null), (t.length || e) && this.ctx.say(n.slice(1).join(", "));
	}
	async filtering(e) {
		try {
			await e(), this.filter.setAttribute("aria-invalid", "false");
		} catch (e) {
			this.filter.setAttribute("aria-invalid", "true"), this.ctx.notice(e instanceof Error ? e.message : String(e), !0);
		}
	}
	clearFilter() {
		this.filter.value = "", this.filter.setAttribute("aria-invalid", "false"), this.ctx.store.set({
			where: "",
			filter: null
		});
	}
	startTheme() {
		let e = window.matchMedia("(prefers-color-scheme: dark)"), t = _e("morphospace-theme");
		this.setTheme(t ? t === "dark" : e.matches), e.addEventListener("change", () => {
			_e("morphospace-theme") || this.setTheme(e.matches);
		});
	}
	setTheme(e) {
		this.dark = e, this.ctx.root.dataset.theme = e ? "dark" : "light";
		let t = this.header.querySelector(".theme");
		t && y(t, b(e ? "sun" : "moon")), this.onTheme();
	}
	toggleTheme() {
		this.setTheme(!this.dark);
		try {
			window.localStorage.setItem("morphospace-theme", this.dark ? "dark" : "light");
		} catch {}
	}
	mapColours() {
		return this.dark ? [[
			13 / 255,
			15 / 255,
			19 / 255
		], [
			1,
			1,
			1
		]] : [[
			252 / 255,
			252 / 255,
			251 / 255
		], [
			.06,
			.07,
			.09
		]];
	}
};
function _e(e) {
	try {
		return window.localStorage.getItem(e);
	} catch {
		return null;
	}
}
function ve(e) {
	e.addEventListener("keydown", (t) => {
		let n = t.key === "ArrowRight" ? 1 : t.key === "ArrowLeft" ? -1 : 0;
		if (!n) return;
		let r = [...e.querySelectorAll("[role=tab]")], i = r[(r.indexOf(t.target) + n + r.length) % r.length];
		i?.click(), i?.focus(), t.preventDefault();
	});
}
// src/maths/scroll.ts
var ye = 8e6, D = (e) => Math.min(e, ye);
function be(e, t, n) {
	if (n <= 8e6) return e;
	let r = e / Math.max(1, ye - t);
	return Math.min(1, r) * (n - t);
}
function xe(e, t, n) {
	return n <= 8e6 ? e : e / (n - t) * (ye - t);
}
function Se(e, t, n, r) {
	let i = Math.max(1, Math.floor((e + n) / (t + n)));
	return {
		columns: i,
		lines: Math.ceil(r / i),
		step: (e + n) / i
	};
}
function Ce(e, t, n) {
	let r = t.filter((t) => !Number.isNaN(e[t])), i = t.filter((t) => Number.isNaN(e[t]));
	r.sort(n ? (t, n) => e[n] - e[t] || t - n : (t, n) => e[t] - e[n] || t - n);
	let a = new Uint32Array(t.length);
	return a.set(r), a.set(i, r.length), a;
}
// src/state.ts
var we = class {
	state;
	watchers = [];
	pending = /* @__PURE__ */ new Set();
	telling = !1;
	constructor(e) {
		this.state = e;
	}
	on(e, t) {
		this.watchers.push({
			keys: e,
			act: t
		});
	}
	set(e) {
		for (let [t, n] of Object.entries(e)) this.state[t] !== n && this.pending.add(t);
		if (this.state = {
			...this.state,
			...e
		}, !this.telling) {
			this.telling = !0;
			try {
				for (; this.pending.size;) {
					let e = this.pending;
					this.pending = /* @__PURE__ */ new Set();
					for (let { keys: t, act: n } of this.watchers) t.some((t) => e.has(t)) && n(this.state);
				}
			} finally {
				this.telling = !1;
			}
		}
	}
}, O = (e) => e.altKey ? "subtract" : e.shiftKey || e.ctrlKey || e.metaKey ? "add" : "replace";
function k(e, t, n) {
	if (n === "replace") return Uint32Array.from(new Set(Array.from(t))).sort();
	let r = new Set(e);
	for (let e = 0; e < t.length; e++) n === "add" ? r.add(t[e]) : r.delete(t[e]);
	return Uint32Array.from(r).sort();
}
// src/scope.ts
function A(e) {
	return e.scope === "selection" ? e.selection : e.scope === "filter" ? e.filter : null;
}
function Te(e) {
	let { store: t } = e, n = S("Show", [], "", (e) => t.set({ scope: e })), r = n.querySelector("select"), i = () => {
		let { filter: n, selection: i, scope: a } = t.state, o = [{
			value: "all",
			text: `all ${w(e.space.n)}`
		}];
		n && o.push({
			value: "filter",
			text: `matching the filter (${w(n.length)})`
		}), o.push({
			value: "selection",
			text: `selected (${w(i.length)})`
		}), C(r, o, a);
	};
	return t.on([
		"filter",
		"selection",
		"scope"
	], i), i(), n;
}
function Ee(e) {
	let { store: t } = e, n = v("button", {
		type: "button",
		class: "button toggle",
		"aria-pressed": "false",
		title: "Clicks select; or Ctrl-click, Space, and Shift for a range",
		onclick: () => t.set({ picking: !t.state.picking })
	}, "Select");
	return t.on(["picking"], (e) => n.setAttribute("aria-pressed", String(e.picking))), n;
}
// src/gallery.ts
var j = 4, De = 300, Oe = .35, ke = class {
	ctx;
	element = v("section", {
		class: "gallery-view",
		hidden: !0
	});
	scroller = v("div", {
		class: "scroller",
		tabindex: 0,
		role: "listbox",
		"aria-label": "Pictures",
		"aria-multiselectable": "true"
	});
	space = v("div", { class: "scroll-space" });
	order;
	total = v("span", { class: "quiet" });
	rows = null;
	px = 84;
	sort = "";
	version = 0;
	descending = !0;
	made = /* @__PURE__ */ new Map();
	anchor = -1;
	cursor = 0;
	frame = 0;
	last = {
		top: 0,
		time: 0
	};
	speed = 0;
	rest = 0;
	selected = /* @__PURE__ */ new Set();
	flip;
	constructor(e) {
		this.ctx = e;
		let t = S("Order", [], "", (e) => {
			this.sort = e, this.list();
		});
		this.order = t.querySelector("select"), this.flip = x("down", "Largest first", () => {
			this.descending = !this.descending, y(this.flip, Ae(this.descending)), this.flip.title = this.descending ? "Largest first" : "Smallest first", this.flip.setAttribute("aria-label", this.flip.title), this.list();
		});
		let n = v("input", {
			type: "range",
			min: 48,
			max: 192,
			step: 4,
			value: String(this.px),
			"aria-label": "Size of the pictures",
			oninput: () => {
				this.px = Number(n.value), this.reset();
			}
		});
		this.element.append(v("div", { class: "view-tools" }, Te(e), t, this.flip, v("label", { class: "field" }, v("span", {}, "Size"), n), Ee(e), this.total), this.scroller), this.scroller.append(this.space), this.scroller.addEventListener("scroll", () => this.schedule()), this.scroller.addEventListener("keydown", (e) => this.key(e)), this.scroller.addEventListener("click", (e) => this.click(e)), e.thumbs.onLoad(() => this.paint()), e.store.on([
			"scope",
			"filter",
			"view"
		], () => void this.list()), e.store.on(["selection"], (e) => {
			this.selected = new Set(e.selection), e.scope === "selection" ? this.list() : this.mark();
		}), e.store.on(["chosen"], () => this.mark()), this.selected = new Set(e.store.state.selection), new ResizeObserver(() => this.reset()).observe(this.scroller);
	}
	get n() {
		return this.rows ? this.rows.length : this.ctx.space.n;
	}
	rowAt(e) {
		return this.rows ? this.rows[e] : e;
	}
	get hiddenNow() {
		return this.ctx.store.state.view !== "gallery";
	}
	async list() {
		if (this.hiddenNow) return;
		let e = ++this.version, { ctx: t, sort: n } = this;
		C(this.order, [{
			value: "",
			text: "of the store"
		}, ..._(t.space).slice(1)], n), this.flip.hidden = !n;
		let r = A(t.store.state);
		n && (this.scroller.setAttribute("aria-busy", "true"), await t.attempt(async () => {
			r = Ce((await t.column(n)).values, r ?? Uint32Array.from({ length: t.space.n }, (e, t) => t), this.descending);
		}), e !== this.version) || (this.scroller.removeAttribute("aria-busy"), this.rows = r, this.total.textContent = E(this.n, "object"), this.scroller.scrollTop = 0, this.cursor = 0, this.reset());
	}
	reset() {
		for (let e of this.made.values()) e.remove();
		this.made.clear(), this.schedule();
	}
	schedule() {
		this.frame ||= requestAnimationFrame(() => {
			this.frame = 0, this.draw();
		});
	}
	layout() {
		let e = this.scroller.clientWidth - 8, t = this.scroller.clientHeight, { columns: n, lines: r, step: i } = Se(e, this.px, j, this.n), a = r * (this.px + j) + j;
		return {
			columns: n,
			step: i,
			total: a,
			height: t,
			top: be(this.scroller.scrollTop, t, a)
		};
	}
	draw() {
		if (this.hiddenNow || this.scroller.clientHeight === 0) return;
		let { columns: e, step: t, total: n, height: r, top: i } = this.layout(), a = this.px + j;
		this.space.style.height = `${D(n)}px`;
		let o = this.measure(i), s = o > 0 ? 4 : o < 0 ? 1 : 2, c = Math.max(0, Math.floor((i - (o > 0 ? 1 : o < 0 ? 4 : 2) * r) / a)) * e, l = Math.min(this.n, Math.ceil((i + (1 + s) * r) / a) * e);
		for (let [e, t] of this.made) e >= c && e < l || (t.remove(), this.made.delete(e));
		let u = this.scroller.scrollTop - i;
		for (let n = c; n < l; n++) {
			let r = this.made.get(n) ?? this.make(n);
			r.style.transform = `translate(${j + n % e * t}px, ${j + Math.floor(n / e) * a + u}px)`;
		}
		this.ctx.thumbs.drop();
		let d = i + r / 2 + Math.max(-3 * r, Math.min(3 * r, o * Oe)), f = (t) => Math.abs(Math.floor(t / e) * a - d);
		this.paint([...this.made.keys()].sort((e, t) => f(e) - f(t))), this.mark();
	}
	make(e) {
		let t = v("div", {
			class: "tile thumb waiting",
			role: "option",
			"data-position": e,
			id: `tile-${e}`
		});
		return t.style.width = t.style.height = `${this.px}px`, this.made.set(e, t), this.space.append(t), t;
	}
	measure(e) {
		let t = performance.now(), n = (t - this.last.time) / 1e3, r = n > .25 || n <= 0 ? 0 : (e - this.last.top) / n;
		return this.speed = n > .25 ? 0 : .6 * this.speed + .4 * r, this.last = {
			top: e,
			time: t
		}, window.clearTimeout(this.rest), Math.abs(this.speed) > De && (this.rest = window.setTimeout(() => this.schedule(), 300)), Math.abs(this.speed) > De ? this.speed : 0;
	}
	paint(e = this.made.keys()) {
		if (!this.hiddenNow) for (let t of e) {
			let e = this.made.get(t);
			e && r(e, this.ctx.thumbs.get(this.rowAt(t)), this.px);
		}
	}
	mark() {
		if (this.hiddenNow) return;
		let { chosen: e } = this.ctx.store.state;
		for (let [t, n] of this.made) {
			let r = this.rowAt(t);
			n.setAttribute("aria-selected", String(this.selected.has(r))), n.classList.toggle("chosen", r === e);
			let i = this.ctx.rows.peek(r);
			n.setAttribute("aria-label", i ? i.id : `object ${r + 1}`), n.setAttribute("aria-posinset", String(t + 1)), n.setAttribute("aria-setsize", String(this.n)), n.classList.toggle("cursor", t === this.cursor);
		}
		this.made.has(this.cursor) && this.scroller.setAttribute("aria-activedescendant", `tile-${this.cursor}`);
	}
	click(e) {
		let t = e.target.closest("[data-position]");
		t && this.take(Number(t.dataset.position), e);
	}
	take(e, t) {
		let { store: n } = this.ctx;
		if (this.cursor = e, t.shiftKey && this.anchor >= 0) {
			let [t, r] = [Math.min(this.anchor, e), Math.max(this.anchor, e)], i = Array.from({ length: r - t + 1 }, (e, n) => this.rowAt(t + n));
			n.set({ selection: k(n.state.selection, i, "add") });
		} else if (n.state.picking || t.ctrlKey || t.metaKey || t.altKey || t instanceof KeyboardEvent && t.key === " ") {
			let r = this.rowAt(e);
			n.set({ selection: k(n.state.selection, [r], O(t) === "subtract" || this.selected.has(r) ? "subtract" : "add") }), this.anchor = e;
		} else this.anchor = e, this.ctx.choose(this.rowAt(e), !0);
		this.mark();
	}
	key(e) {
		let { columns: t, height: n } = this.layout(), r = Math.max(1, Math.floor(n / (this.px + j))) * t, i = {
			ArrowLeft: -1,
			ArrowRight: 1,
			ArrowUp: -t,
			ArrowDown: t,
			PageUp: -r,
			PageDown: r,
			Home: -this.n,
			End: this.n
		};
		if (e.key in i) this.cursor = Math.max(0, Math.min(this.n - 1, this.cursor + i[e.key])), this.bring();
		else if (e.key === "Enter" || e.key === " ") this.take(this.cursor, e);
		else return;
		e.preventDefault(), e.stopPropagation();
	}
	bring() {
		let { columns: e, height: t, total: n, top: r } = this.layout(), i = Math.floor(this.cursor / e) * (this.px + j), a = r;
		i < r ? a = i : i + this.px + 8 > r + t && (a = i + this.px + 8 - t), a !== r && (this.scroller.scrollTop = xe(a, t, n)), this.schedule();
		let o = this.rowAt(this.cursor);
		this.ctx.rows.get(o).then((e) => this.ctx.say(e.id));
	}
}, Ae = (e) => x(e ? "down" : "up", "", () => void 0).querySelector("svg"), je = [
	"asinh",
	"log",
	"sqrt",
	"linear"
], M = {
	curve: "asinh",
	soft: .1,
	low: 10,
	high: 99.7,
	clip: 0,
	ramp: "grey",
	reversed: !1,
	bands: [],
	northUp: !0
};
function Me(e, t, n) {
	return e === "linear" ? t : e === "sqrt" ? Math.sqrt(t) : e === "log" ? Math.log1p(1e3 * t) / Math.log1p(1e3) : Math.asinh(t / n) / Math.asinh(1 / n);
}
function Ne(e) {
	return e.filter((e) => Number.isFinite(e)).sort();
}
function Pe(e, t) {
	if (!e.length) return NaN;
	let n = Math.min(100, Math.max(0, t)) / 100 * (e.length - 1), r = Math.floor(n), i = e[Math.min(e.length - 1, r + 1)];
	return e[r] + (n - r) * (i - e[r]);
}
function Fe(e, t, n = NaN, r = NaN) {
	let i = Pe(e, t.low), a = Pe(e, t.high);
	return t.clip > 0 && Number.isFinite(n) && Number.isFinite(r) && (i = Math.max(i, n + t.clip * r)), [i, a > i ? a : i + Math.max(Math.abs(i) * 1e-6, 1e-12)];
}
function Ie(e, t, n, r, i, a) {
	let o = t.map((t) => Fe(e[t], r, i[t], a[t]));
	if (t.length < 3 || !Le(n)) return o;
	let s = [Math.min(...o.map(([e]) => e)), Math.max(...o.map(([, e]) => e))];
	return o.map(() => s);
}
var Le = (e) => e.length >= 3 && /^r(ed)?$/i.test(e[0]) && /^g(reen)?$/i.test(e[1]) && /^b(lue)?$/i.test(e[2]), N = 1024;
function Re(e, t, n) {
	let r = e[0].length, i = new Uint8ClampedArray(4 * r), a = /* @__PURE__ */ new Uint8Array(1025);
	for (let e = 0; e <= N; e++) a[e] = Math.round(255 * Me(n.curve, e / N, n.soft));
	let o = l(n.ramp, n.reversed), s = t.map(([e, t]) => N / (t - e));
	for (let n = 0; n < r; n++) {
		let r = !0;
		for (let o = 0; o < e.length; o++) {
			let c = e[o][n];
			if (c !== c) {
				r = !1;
				break;
			}
			let l = (c - t[o][0]) * s[o];
			i[4 * n + o] = a[l <= 0 ? 0 : l >= N ? N : l | 0];
		}
		if (!r) i[4 * n] = i[4 * n + 1] = i[4 * n + 2] = 0;
		else {
			if (e.length === 1) {
				let e = 3 * i[4 * n];
				i[4 * n] = o[e], i[4 * n + 1] = o[e + 1], i[4 * n + 2] = o[e + 2];
			}
			i[4 * n + 3] = 255;
		}
	}
	return i;
}
function P(e, t) {
	let n = t.length, r = e.bands.filter((e) => e >= 0 && e < n);
	return r.length === 1 || r.length === 3 ? r : n < 3 ? [0] : Le(t) ? [
		0,
		1,
		2
	] : [
		2,
		1,
		0
	];
}
function ze(e) {
	let t = [], n = 0;
	for (let r = 0; r < e.length; r++) t.push((e[r] - n).toString(36)), n = e[r];
	return t.join(".");
}
function Be(e) {
	if (!e) return [];
	let t = 0, n = e.split(".").map((e) => t += parseInt(e, 36));
	return n.every((e) => Number.isSafeInteger(e) && e >= 0) ? n : [];
}
var Ve = [
	"curve",
	"soft",
	"low",
	"high",
	"clip",
	"ramp",
	"reversed",
	"bands",
	"northUp"
];
function He(e) {
	let t = [];
	for (let n of Ve) {
		let r = e[n];
		String(r) !== String(M[n]) && t.push(`${n}:${typeof r == "boolean" ? Number(r) : Array.isArray(r) ? r.join(".") : r}`);
	}
	return t.join(",");
}
function Ue(e) {
	let t = { ...M };
	for (let n of e.split(",")) {
		let [e, r = ""] = n.split(":"), i = Number(r);
		e === "curve" && je.includes(r) ? t.curve = r : e === "ramp" && /^[a-z]+$/.test(r) ? t.ramp = r : e === "reversed" || e === "northUp" ? t[e] = i === 1 : e === "bands" ? t.bands = r.split(".").map(Number).filter(Number.isInteger) : (e === "soft" || e === "low" || e === "high" || e === "clip") && Number.isFinite(i) && (t[e] = i);
	}
	return t.low >= 0 && t.low < t.high && t.high <= 100 || ([t.low, t.high] = [M.low, M.high]), t.soft > 0 || (t.soft = M.soft), t;
}
function We(e, t) {
	let n = new URLSearchParams();
	e.view !== "map" && n.set("view", e.view), e.panel !== "object" && n.set("panel", e.panel), e.map && n.set("map", e.map), (e.axes[0] !== 0 || e.axes[1] !== 1) && n.set("axes", e.axes.join(".")), e.colour && n.set("colour", e.colour), (e.ramp !== "viridis" || e.reversed) && n.set("ramp", e.ramp + (e.reversed ? "_r" : "")), e.off.size && e.off.size <= 64 && n.set("off", [...e.off].join(".")), e.where && n.set("where", e.where), e.chosen >= 0 && n.set("row", String(e.chosen)), e.selection.length && e.selection.length <= 500 && n.set("sel", ze(e.selection)), e.like.length && n.set("like", e.like.join(".")), e.unlike.length && n.set("unlike", e.unlike.join(".")), (t.zoom !== 1 || t.x || t.y) && n.set("at", [
		t.x,
		t.y,
		t.zoom
	].map((e) => Number(e.toPrecision(6))).join(","));
	let r = He(e.picture);
	return r && n.set("pix", r), n.toString();
}
function F(e, t) {
	let n = new URLSearchParams(e.replace(/^#/, "")), r = {}, i = (e) => Number.isInteger(e) && e >= 0 && e < t, a = (e) => (n.get(e) ?? "").split(".").filter(Boolean).map(Number).filter(i), o = n.get("view");
	(o === "gallery" || o === "table") && (r.view = o);
	let s = n.get("panel");
	s && [
		"selection",
		"query",
		"clusters",
		"odd",
		"label"
	].includes(s) && (r.panel = s), r.map = n.get("map") ?? void 0;
	let c = (n.get("axes") ?? "").split(".").map(Number);
	c.length === 2 && c.every((e) => e >= 0 && e < 3 && Number.isInteger(e)) && (r.axes = [c[0], c[1]]), r.colour = n.get("colour") ?? void 0;
	let l = n.get("ramp");
	l && ([r.ramp, r.reversed] = [l.replace(/_r$/, ""), l.endsWith("_r")]), n.get("off") && (r.off = n.get("off").split(".").map(Number).filter(Number.isInteger)), r.where = n.get("where") ?? void 0, n.has("row") && i(Number(n.get("row"))) && (r.chosen = Number(n.get("row")));
	let u = Be(n.get("sel") ?? "").filter(i);
	u.length && (r.selection = u), a("like").length && (r.like = a("like")), a("unlike").length && (r.unlike = a("unlike"));
	let d = (n.get("at") ?? "").split(",").map(Number);
	return d.length === 3 && d.every(Number.isFinite) && d[2] > 0 && (r.camera = {
		x: d[0],
		y: d[1],
		zoom: d[2]
	}), n.get("pix") && (r.picture = Ue(n.get("pix"))), r;
}
// src/panels/strip.ts
var I = class {
	ctx;
	options;
	element;
	cards = [];
	px;
	constructor(e, t) {
		this.ctx = e, this.options = t, this.px = t.px ?? 64, this.element = v("ul", {
			class: "strip",
			"aria-label": t.label,
			style: { "--thumb": `${this.px}px` }
		});
		let n = e.thumbs.onLoad(() => {
			!this.element.isConnected && this.cards.length === 0 ? n() : this.paint();
		});
	}
	show(e) {
		this.cards = [], y(this.element, ...e.map((e) => this.card(e))), this.paint();
		for (let e of this.cards) this.ctx.rows.get(e.row).then((t) => e.name.textContent = t.id);
	}
	card({ row: e, note: t, title: n }) {
		let { store: r } = this.ctx, i = v("span", { class: "thumb" }), a = v("span", { class: "id" }, "…");
		this.cards.push({
			row: e,
			picture: i,
			name: a
		});
		let o = v("button", {
			type: "button",
			class: "card",
			title: n,
			onclick: () => (this.options.pick ?? ((e) => this.ctx.choose(e)))(e)
		}, i, a, t ? v("span", { class: "note" }, t) : null), s = v("span", { class: "card-tools" });
		return this.options.query && this.ctx.source.can.neighbours && s.append(x("yes", "More like this", () => r.set({
			like: L(r.state.like, e),
			unlike: r.state.unlike.filter((t) => t !== e),
			panel: "query"
		})), x("no", "Less like this", () => r.set({
			unlike: L(r.state.unlike, e),
			like: r.state.like.filter((t) => t !== e),
			panel: "query"
		}))), this.options.alike && this.ctx.source.can.alike && s.append(x("alike", "What makes them alike?", () => this.options.alike(e))), v("li", {}, o, s.childElementCount ? s : null);
	}
	paint() {
		if (this.element.isConnected || this.cards.length) for (let e of this.cards) this.ctx.source.can.thumbs && r(e.picture, this.ctx.thumbs.get(e.row), this.px);
	}
}, L = (e, t) => e.includes(t) ? e.filter((e) => e !== t) : [...e, t], Ge = [
	["M  G  T", "map, gallery, table"],
	["V  L  B", "move, lasso, box (Shift adds, Alt takes away)"],
	["+  −  F", "zoom in, zoom out, whole map"],
	["Arrows", "move on the map, in the gallery, in the table"],
	["Enter", "choose the object at the cross or cursor"],
	["Space", "select the object at the cursor"],
	["S", "add the chosen object to the selection"],
	["Y  N", "more like the chosen, less like it"],
	["/", "filter"],
	["P", "pictures on the map"],
	["0 … 5, 1 … 9", "label (in the Label panel)"],
	["U  Ctrl-Z", "undo the last label"],
	["→", "skip to the next object offered"],
	["D", "light or dark"],
	["Esc", "let go, close"],
	["?", "this list"]
], Ke = class {
	ctx;
	map;
	frame;
	label;
	dialog = v("dialog", {
		class: "dialog",
		"aria-labelledby": "help-title"
	});
	constructor(e, t, n, r) {
		this.ctx = e, this.map = t, this.frame = n, this.label = r;
		let i = v("dl", { class: "shortcuts" });
		for (let [e, t] of Ge) i.append(v("dt", {}, ...e.split("  ").map((e) => v("kbd", {}, e))), v("dd", {}, t));
		this.dialog.append(v("header", {}, v("h2", { id: "help-title" }, "Keyboard"), x("close", "Close", () => this.dialog.close())), i, v("p", { class: "quiet" }, "The address of this page restores what you see: copy it to keep a view. Nothing leaves this machine unless you open a link under “Sky”.")), e.root.append(this.dialog), n.openHelp = () => this.dialog.showModal(), e.root.addEventListener("keydown", (e) => this.key(e)), e.root !== document.body && (e.root.tabIndex = -1);
	}
	key(e) {
		let t = e.composedPath()[0];
		if (e.defaultPrevented || t.closest("input, select, textarea, dialog")) return;
		if (this.label.key(e)) {
			e.preventDefault();
			return;
		}
		if (e.ctrlKey || e.metaKey || e.altKey) return;
		let n = this.action(e.key.length === 1 ? e.key.toLowerCase() : e.key);
		n && (e.preventDefault(), n());
	}
	action(e) {
		let { store: t, source: n } = this.ctx, { chosen: r, like: i, unlike: a, selection: o } = t.state, s = {
			m: () => t.set({ view: "map" }),
			g: () => t.set({ view: "gallery" }),
			t: () => t.set({ view: "table" }),
			v: () => this.map.setTool("pan"),
			l: () => this.map.setTool("lasso"),
			b: () => this.map.setTool("box"),
			"+": () => this.map.zoomBy(1.6),
			"=": () => this.map.zoomBy(1.6),
			"-": () => this.map.zoomBy(1 / 1.6),
			f: () => this.map.home(),
			d: () => this.frame.toggleTheme(),
			p: () => t.set({ thumbs: !t.state.thumbs }),
			"/": () => this.frame.filter.focus(),
			"?": () => this.frame.openHelp(),
			Escape: () => this.escape()
		};
		return r >= 0 && (s.s = () => t.set({ selection: Uint32Array.from(/* @__PURE__ */ new Set([...o, r])).sort() }), n.can.neighbours && (s.y = () => t.set({
			like: L(i, r),
			unlike: a.filter((e) => e !== r),
			panel: "query"
		}), s.n = () => t.set({
			unlike: L(a, r),
			like: i.filter((e) => e !== r),
			panel: "query"
		}))), s[e];
	}
	escape() {
		let { store: e } = this.ctx;
		this.map.tool === "pan" ? e.state.sheet && window.innerWidth < 800 ? e.set({ sheet: !1 }) : e.state.chosen >= 0 || e.state.dropped ? (this.map.dropped(null), e.set({
			chosen: -1,
			dropped: null
		})) : e.set({ selection: /* @__PURE__ */ new Uint32Array() }) : this.map.setTool("pan");
	}
}, qe = 112, R = class e {
	ctx;
	picture = v("div", { class: "thumb" });
	name = v("div", { class: "id" });
	value = v("div", { class: "value" });
	element = v("div", {
		class: "hover",
		hidden: !0
	}, this.picture, this.name, this.value);
	row = -1;
	static describe = () => "";
	constructor(e) {
		this.ctx = e, e.thumbs.onLoad(() => this.paint()), this.picture.hidden = !e.source.can.thumbs;
	}
	show(t, n, r, i) {
		if (i.stage.classList.toggle("over", t >= 0), t < 0) {
			this.hide();
			return;
		}
		let [a, o] = i.size;
		this.element.hidden = !1, this.element.style.left = `${n + 150 > a ? n - 144 : n + 14}px`, this.element.style.top = `${Math.max(4, Math.min(o - 170, r - 40))}px`, t !== this.row && (this.row = t, this.name.textContent = this.ctx.rows.peek(t)?.id ?? "…", this.value.textContent = e.describe(t), this.paint(), this.ctx.rows.get(t).then((e) => {
			this.row === t && (this.name.textContent = e.id);
		}));
	}
	paint() {
		this.row >= 0 && !this.element.hidden && r(this.picture, this.ctx.thumbs.get(this.row), qe);
	}
	hide() {
		this.element.hidden = !0, this.row = -1;
	}
}, Je = class {
	ctx;
	element = v("section", {
		class: "legend",
		"aria-label": "Legend"
	});
	touched = null;
	constructor(e) {
		this.ctx = e;
	}
	show(e, t) {
		let { state: n } = this.ctx.store;
		if (this.element.hidden = !e, !e) return;
		let r = v("h2", { class: "legend-title" }, ne(n.colour));
		e.kind === "category" ? y(this.element, r, this.chips(e.categories, t.counts)) : y(this.element, r, ...this.bar(t)), this.touched !== null && this.element.querySelector(`[data-code="${this.touched}"]`)?.focus(), this.touched = null;
	}
	chips(e, t) {
		let { store: n } = this.ctx, r = v("div", { class: "chips" }), i = (t, i, a, o) => {
			if (!a) return;
			let s = !n.state.off.has(t);
			r.append(v("button", {
				type: "button",
				class: "chip",
				"data-code": t,
				"aria-pressed": String(s),
				title: "Show or hide; Alt-click: only this one",
				onclick: (n) => this.toggle(t, e.length, n.altKey)
			}, v("span", {
				class: "swatch",
				style: o ? { background: o } : {}
			}), v("span", { class: "chip-name" }, i), v("span", { class: "count" }, w(a))));
		};
		return e.forEach((e, n) => i(n, e, t[n], m(f(n)))), i(-1, "none", t[e.length], null), r;
	}
	toggle(e, t, n) {
		let { store: r } = this.ctx, i = new Set(r.state.off);
		if (this.touched = e, n) {
			let n = !i.has(e) && i.size === t;
			if (i.clear(), !n) for (let n = -1; n < t; n++) n !== e && i.add(n);
		} else i.delete(e) || i.add(e);
		r.set({ off: i });
	}
	bar(e) {
		let { store: t } = this.ctx, { ramp: n, reversed: r } = t.state;
		if (!e.limits) return [v("p", { class: "quiet" }, "No values.")];
		let i = S("Colour map", o.map((e) => ({
			value: e,
			text: e
		})), n, (e) => t.set({ ramp: e }), { class: "small" });
		return i.classList.add("bare"), [
			v("div", {
				class: "colour-bar",
				style: { background: h(n, r) }
			}),
			v("div", { class: "bar-ends" }, v("span", {}, T(e.limits[0])), v("span", {}, T((e.limits[0] + e.limits[1]) / 2)), v("span", {}, T(e.limits[1]))),
			v("div", { class: "bar-tools" }, i, x("swap", "Reverse the colour map", () => t.set({ reversed: !t.state.reversed }), { "aria-pressed": String(r) }))
		];
	}
}, z = {
	x: 0,
	y: 0,
	zoom: 1
}, Ye = .92, Xe = [.5, 2e4], B = (e, t, n) => e.zoom * Math.min(t, n) * Ye / 2;
function Ze(e, t, n, r, i) {
	let a = B(e, t, n);
	return [t / 2 + (r - e.x) * a, n / 2 - (i - e.y) * a];
}
function V(e, t, n, r, i) {
	let a = B(e, t, n);
	return [e.x + (r - t / 2) / a, e.y - (i - n / 2) / a];
}
function H(e, t, n, r, i, a) {
	let [o, s] = V(e, t, n, r, i), c = Math.min(Xe[1], Math.max(Xe[0], e.zoom * a)), l = B({
		...e,
		zoom: c
	}, t, n);
	return Qe({
		x: o - (r - t / 2) / l,
		y: s + (i - n / 2) / l,
		zoom: c
	});
}
var Qe = (e) => ({
	x: Math.min(1.2, Math.max(-1.2, e.x)),
	y: Math.min(1.2, Math.max(-1.2, e.y)),
	zoom: e.zoom
});
function $e(e, t, n) {
	let r = B(e, t, n), i = 2 * r / t, a = 2 * r / n;
	return {
		sx: i,
		sy: a,
		tx: -e.x * i,
		ty: -e.y * a
	};
}
// src/maths/strata.ts
function et(e, t, n = 256, r = 1) {
	let i = new Int32Array(t), a = new Uint32Array(n * n), o = 0;
	for (let r = 0; r < t; r++) i[r] = U(e[2 * r], e[2 * r + 1], n), i[r] < 0 ? o++ : a[i[r]]++;
	let s = rt(r), c = new Uint32Array(n * n), l = new Float32Array(n * n);
	for (let e = 0; e < l.length; e++) l[e] = s();
	let u = new Uint16Array(t), d = /* @__PURE__ */ new Uint32Array(4098);
	for (let e of tt(t, s)) {
		let t = i[e], n = 4097;
		if (t >= 0) {
			let e = c[t]++;
			n = e === 0 ? 0 : 1 + Math.min(4095, Math.floor((e - 1 + l[t]) / a[t] * 4096));
		}
		u[e] = n, d[n]++;
	}
	let f = /* @__PURE__ */ new Uint32Array(4098);
	for (let e = 1; e < f.length; e++) f[e] = f[e - 1] + d[e - 1];
	let p = new Uint32Array(t);
	for (let e = 0; e < t; e++) p[f[u[e]]++] = e;
	return p.subarray(0, t - o);
}
function* tt(e, t) {
	if (!e) return;
	let n = Math.max(1, Math.floor(e * .618));
	for (; nt(n, e) !== 1;) n++;
	let r = Math.floor(t() * e);
	for (let t = 0; t < e; t++) yield r, r += n, r >= e && (r -= e);
}
var nt = (e, t) => t ? nt(t, e % t) : e;
function rt(e) {
	let t = e >>> 0;
	return () => {
		t = t + 1831565813 >>> 0;
		let e = Math.imul(t ^ t >>> 15, 1 | t);
		return e = e + Math.imul(e ^ e >>> 7, 61 | e) ^ e, ((e ^ e >>> 14) >>> 0) / 4294967296;
	};
}
function U(e, t, n) {
	if (e !== e || t !== t) return -1;
	let r = Math.min(n - 1, Math.max(0, Math.floor((e + 1) / 2 * n)));
	return Math.min(n - 1, Math.max(0, Math.floor((t + 1) / 2 * n))) * n + r;
}
// src/maths/grid.ts
var it = class {
	xy;
	side;
	start;
	rows;
	constructor(e, t, n = Math.max(8, Math.min(512, Math.round(Math.sqrt(t / 4))))) {
		this.xy = e, this.side = n;
		let r = new Uint32Array(n * n + 1);
		for (let i = 0; i < t; i++) {
			let t = U(e[2 * i], e[2 * i + 1], n);
			t >= 0 && r[t + 1]++;
		}
		for (let e = 1; e < r.length; e++) r[e] += r[e - 1];
		this.start = r, this.rows = new Uint32Array(r[r.length - 1]);
		let i = r.slice();
		for (let r = 0; r < t; r++) {
			let t = U(e[2 * r], e[2 * r + 1], n);
			t >= 0 && (this.rows[i[t]++] = r);
		}
	}
	nearest(e, t, n, r, i) {
		let a = -1, o = 1;
		return this.each(e - n, t - r, e + n, t + r, (s) => {
			let c = (this.xy[2 * s] - e) / n, l = (this.xy[2 * s + 1] - t) / r, u = c * c + l * l;
			return u <= o && i(s) && (o = u, a = s), !0;
		}), a;
	}
	each(e, t, n, r, i) {
		let a = (e) => Math.min(this.side - 1, Math.max(0, Math.floor((e + 1) / 2 * this.side))), [o, s, c, l] = [
			a(e),
			a(n),
			a(t),
			a(r)
		];
		for (let a = c; a <= l; a++) for (let c = this.start[a * this.side + o]; c < this.start[a * this.side + s + 1]; c++) {
			let a = this.rows[c], o = this.xy[2 * a], s = this.xy[2 * a + 1];
			if (o >= e && o <= n && s >= t && s <= r && !i(a)) return;
		}
	}
};
function at(e, t, n) {
	let r = n.length / 2, [i, a, o, s] = [
		Infinity,
		-Infinity,
		Infinity,
		-Infinity
	];
	for (let e = 0; e < r; e++) i = Math.min(i, n[2 * e]), a = Math.max(a, n[2 * e]), o = Math.min(o, n[2 * e + 1]), s = Math.max(s, n[2 * e + 1]);
	let c = [];
	for (let l = 0; l < t; l++) {
		let t = e[2 * l], u = e[2 * l + 1];
		if (!(t >= i && t <= a && u >= o && u <= s)) continue;
		let d = !1;
		for (let e = 0, i = r - 1; e < r; i = e++) {
			let r = n[2 * e + 1], a = n[2 * i + 1];
			r > u != a > u && t < (n[2 * i] - n[2 * e]) * (u - r) / (a - r) + n[2 * e] && (d = !d);
		}
		d && c.push(l);
	}
	return Uint32Array.from(c);
}
// src/map/overlay.ts
var W = 46, ot = 4e3, st = class {
	ctx;
	map;
	canvas = v("canvas", {
		class: "overlay",
		"aria-hidden": "true"
	});
	path = null;
	pictures = [];
	ratio = 1;
	moving = !1;
	settle = fe(120, () => {
		this.moving = !1, this.place(), this.draw();
	});
	droppedPlace = null;
	hits = [];
	constructor(e, t) {
		this.ctx = e, this.map = t, e.thumbs.onLoad(() => this.draw());
	}
	resize(e, t, n) {
		this.ratio = n, this.canvas.width = Math.round(e * n), this.canvas.height = Math.round(t * n);
	}
	moved(e) {
		this.moving = e, this.settle(), this.draw();
	}
	place() {
		this.pictures = [];
		let { map: e, ctx: t } = this;
		if (!e.grid || !t.store.state.thumbs || !t.source.can.thumbs) return;
		let [n, r] = e.size, [i, a] = V(e.camera, n, r, 0, r), [o, s] = V(e.camera, n, r, n, 0), c = [];
		if (e.grid.each(i, a, o, s, (t) => (e.isShown(t) && c.push(t), c.length <= ot)), c.length > ot || e.camera.zoom < 2 && c.length > 120) return;
		c.sort((t, n) => e.slotOf[t] - e.slotOf[n]);
		let l = /* @__PURE__ */ new Map();
		for (let t of c) {
			let [n, r] = e.screenOf(t);
			if (ct(l, n, r) && this.pictures.push(t), this.pictures.length >= 400) break;
		}
	}
	draw() {
		let e = this.canvas.getContext("2d");
		if (!e) return;
		e.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
		let [t, n] = this.map.size;
		e.clearRect(0, 0, t, n);
		let r = getComputedStyle(this.canvas), i = r.getPropertyValue("--text").trim() || "#000", a = r.getPropertyValue("--map").trim() || "#fff", o = r.getPropertyValue("--accent").trim() || "#36f";
		this.drawPictures(e, a);
		let { state: s } = this.ctx.store;
		for (let t of this.hits) this.map.isShown(t) && this.ring(e, t, 5, o, 1.5, a);
		for (let t of s.like) this.ring(e, t, 7, r.getPropertyValue("--good").trim(), 2.5, a);
		for (let t of s.unlike) this.ring(e, t, 7, r.getPropertyValue("--bad").trim(), 2.5, a);
		s.chosen >= 0 && this.ring(e, s.chosen, 9, i, 2.5, a), this.droppedPlace && this.star(e, ...this.map.screenOfPlace(...this.droppedPlace), o, a), this.path && this.lasso(e, this.path, o);
	}
	drawPictures(e, t) {
		if (this.ctx.store.state.thumbs) for (let n of this.pictures) {
			let r = this.ctx.thumbs.get(n);
			if (!r?.image) continue;
			let [i, a] = this.map.screenOf(n), o = i - W / 2, s = a - W / 2;
			e.fillStyle = t, e.fillRect(o - 3, s - 3, 52, 52), e.fillStyle = this.map.colourOf(n), e.fillRect(o - 2, s - 2, 50, 50), e.drawImage(r.image, r.x, r.y, r.size, r.size, o, s, W, W);
		}
	}
	ring(e, t, n, r, i, a) {
		let [o, s] = this.map.screenOf(t);
		if (!Number.isNaN(o)) for (let [t, c] of [[i + 2.5, a], [i, r]]) e.beginPath(), e.arc(o, s, n, 0, 2 * Math.PI), e.lineWidth = t, e.strokeStyle = c, e.stroke();
	}
	star(e, t, n, r, i) {
		e.beginPath();
		for (let r = 0; r < 10; r++) {
			let i = r % 2 ? 5 : 12, a = r * Math.PI / 5 - Math.PI / 2;
			e.lineTo(t + i * Math.cos(a), n + i * Math.sin(a));
		}
		e.closePath(), e.lineWidth = 3, e.strokeStyle = i, e.stroke(), e.fillStyle = r, e.fill();
	}
	lasso(e, t, n) {
		e.beginPath();
		for (let n = 0; n < t.length; n += 2) e.lineTo(t[n], t[n + 1]);
		e.closePath(), e.globalAlpha = .12, e.fillStyle = n, e.fill(), e.globalAlpha = 1, e.lineWidth = 1.5, e.strokeStyle = n, e.stroke();
	}
	get busy() {
		return this.moving;
	}
};
function ct(e, t, n) {
	let r = Math.floor(t / 54), i = Math.floor(n / 54);
	for (let a = -1; a <= 1; a++) for (let o = -1; o <= 1; o++) for (let [s, c] of e.get((i + a) * 4096 + r + o) ?? []) if (Math.abs(s - t) < 54 && Math.abs(c - n) < 54) return !1;
	let a = i * 4096 + r;
	return e.set(a, [...e.get(a) ?? [], [t, n]]), !0;
}
// src/map/renderer.ts
var lt = "#version 300 es\nlayout(location=0) in vec2 place;\nlayout(location=1) in vec4 colour;\nuniform vec4 view; // scale x, y, shift x, y\nuniform float size;\nuniform vec4 override;\nout vec4 ink;\nvoid main() {\n  vec4 c = override.a > 0.0 ? override : colour;\n  gl_Position = colour.a > 0.0 ? vec4(place * view.xy + view.zw, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);\n  gl_PointSize = size;\n  ink = c;\n}", ut = "#version 300 es\nprecision mediump float;\nin vec4 ink;\nuniform vec3 form; // alpha, round from this radius on (0 square), inner radius of a ring\nout vec4 outcome;\nvoid main() {\n  float a = ink.a * form.x;\n  if (form.y > 0.0) {\n    float r = length(gl_PointCoord - 0.5) * 2.0;\n    a *= clamp((1.0 - r) * form.y, 0.0, 1.0);\n    if (form.z > 0.0) a *= clamp((r - form.z) * form.y, 0.0, 1.0);\n  }\n  outcome = vec4(ink.rgb * a, a);\n}", dt = 12e4, ft = 34, pt = class {
	canvas;
	gl;
	program;
	uniforms;
	buffers;
	places = /* @__PURE__ */ new Float32Array();
	colours = /* @__PURE__ */ new Uint8Array();
	marks = /* @__PURE__ */ new Uint32Array();
	n = 0;
	frame = 0;
	drawn = 0;
	budget = 5e4;
	view = {
		sx: 1,
		sy: 1,
		tx: 0,
		ty: 0
	};
	lastMove = 0;
	moving = !1;
	settleTimer = 0;
	size = 3;
	alpha = .8;
	background = [
		1,
		1,
		1
	];
	markColour = [
		0,
		0,
		0
	];
	stats = {
		frames: [],
		points: 0,
		complete: 0
	};
	onDraw = () => void 0;
	onLost = () => void 0;
	constructor(e) {
		this.canvas = e;
		let t = e.getContext("webgl2", {
			antialias: !1,
			alpha: !1,
			preserveDrawingBuffer: !0,
			premultipliedAlpha: !0
		});
		if (!t) throw Error("WebGL 2 is not available in this browser.");
		this.gl = t, this.prepare(), e.addEventListener("webglcontextlost", (e) => {
			e.preventDefault(), this.onLost();
		}), e.addEventListener("webglcontextrestored", () => {
			this.prepare(), this.upload(), this.redraw();
		});
	}
	prepare() {
		let { gl: e } = this, t = e.createProgram();
		for (let [n, r] of [[e.VERTEX_SHADER, lt], [e.FRAGMENT_SHADER, ut]]) {
			let i = e.createShader(n);
			e.shaderSource(i, r), e.compileShader(i), e.attachShader(t, i);
		}
		if (e.linkProgram(t), !e.getProgramParameter(t, e.LINK_STATUS) && !e.isContextLost()) throw Error(`The map's shader does not compile here: ${e.getProgramInfoLog(t)}`);
		this.program = t;
		let n = (n) => e.getUniformLocation(t, n);
		this.uniforms = {
			view: n("view"),
			size: n("size"),
			override: n("override"),
			form: n("form")
		}, this.buffers = {
			place: e.createBuffer(),
			colour: e.createBuffer(),
			marks: e.createBuffer()
		}, e.enable(e.BLEND), e.blendFunc(e.ONE, e.ONE_MINUS_SRC_ALPHA), e.disable(e.DEPTH_TEST);
	}
	setPlaces(e) {
		this.places = e, this.n = e.length / 2, this.colours = new Uint8Array(4 * this.n), this.marks = /* @__PURE__ */ new Uint32Array(), this.upload();
	}
	setColours(e) {
		this.colours = e;
		let { gl: t } = this;
		t.bindBuffer(t.ARRAY_BUFFER, this.buffers.colour), t.bufferData(t.ARRAY_BUFFER, e, t.DYNAMIC_DRAW), this.redraw();
	}
	setMarks(e) {
		this.marks = e;
		let { gl: t } = this;
		t.bindBuffer(t.ELEMENT_ARRAY_BUFFER, this.buffers.marks), t.bufferData(t.ELEMENT_ARRAY_BUFFER, e, t.DYNAMIC_DRAW), this.redraw();
	}
	upload() {
		let { gl: e } = this;
		e.bindBuffer(e.ARRAY_BUFFER, this.buffers.place), e.bufferData(e.ARRAY_BUFFER, this.places, e.STATIC_DRAW), e.bindBuffer(e.ARRAY_BUFFER, this.buffers.colour), e.bufferData(e.ARRAY_BUFFER, this.colours, e.DYNAMIC_DRAW), e.bindBuffer(e.ELEMENT_ARRAY_BUFFER, this.buffers.marks), e.bufferData(e.ELEMENT_ARRAY_BUFFER, this.marks, e.DYNAMIC_DRAW);
	}
	resize(e, t) {
		(this.canvas.width !== e || this.canvas.height !== t) && (this.canvas.width = e, this.canvas.height = t, this.redraw());
	}
	move(e) {
		this.view = e, this.moving = !0, window.clearTimeout(this.settleTimer), this.settleTimer = window.setTimeout(() => {
			this.moving = !1, this.lastMove = 0, this.redraw();
		}, 160), this.schedule(0);
	}
	show(e) {
		this.view = e, this.redraw();
	}
	redraw() {
		this.schedule(0);
	}
	schedule(e) {
		this.drawn = e, this.frame ||= requestAnimationFrame(this.tick);
	}
	tick = (e) => {
		this.frame = 0;
		let { gl: t } = this;
		if (t.isContextLost()) return;
		this.moving && this.adapt(e);
		let n = this.drawn, r = this.moving ? Math.min(this.n, this.budget) : Math.min(this.n, n === 0 ? Math.max(dt, this.budget) : n + dt);
		this.draw(n, r), this.drawn = r, this.moving ? this.stats.points = r : r < this.n && (this.frame = requestAnimationFrame(this.tick)), (r >= this.n || this.moving) && this.drawMarks(), this.n && r >= this.n && (this.stats.complete = performance.now()), n === 0 && this.onDraw();
	};
	adapt(e) {
		let t = this.lastMove ? e - this.lastMove : 0;
		this.lastMove = e, !t || t > 400 || (this.stats.frames.push(t), this.stats.frames.length > 120 && this.stats.frames.shift(), t > ft ? this.budget = Math.max(15e3, Math.round(this.budget * (t > 68 ? .6 : .8))) : t < 22 && (this.budget = Math.min(Math.max(this.n, 15e3), Math.round(this.budget * 1.1))));
	}
	draw(e, t) {
		let { gl: n, uniforms: r } = this;
		n.viewport(0, 0, this.canvas.width, this.canvas.height), e === 0 && (n.clearColor(...this.background, 1), n.clear(n.COLOR_BUFFER_BIT)), t <= e || (n.useProgram(this.program), this.bind(), n.uniform4f(r.view, this.view.sx, this.view.sy, this.view.tx, this.view.ty), n.uniform1f(r.size, this.size), n.uniform4f(r.override, 0, 0, 0, 0), n.uniform3f(r.form, this.alpha, this.size > 3.5 ? this.size / 2 : 0, 0), n.drawArrays(n.POINTS, e, t - e));
	}
	drawMarks() {
		if (!this.marks.length) return;
		let { gl: e, uniforms: t } = this;
		e.useProgram(this.program), this.bind();
		let n = this.size + 6;
		e.uniform4f(t.view, this.view.sx, this.view.sy, this.view.tx, this.view.ty), e.uniform1f(t.size, n), e.uniform4f(t.override, ...this.markColour, 1), e.uniform3f(t.form, 1, n / 2, 1 - 5 / n), e.bindBuffer(e.ELEMENT_ARRAY_BUFFER, this.buffers.marks), e.drawElements(e.POINTS, this.moving ? Math.min(this.marks.length, 2e4) : this.marks.length, e.UNSIGNED_INT, 0);
	}
	bind() {
		let { gl: e } = this;
		e.bindBuffer(e.ARRAY_BUFFER, this.buffers.place), e.enableVertexAttribArray(0), e.vertexAttribPointer(0, 2, e.FLOAT, !1, 0, 0), e.bindBuffer(e.ARRAY_BUFFER, this.buffers.colour), e.enableVertexAttribArray(1), e.vertexAttribPointer(1, 4, e.UNSIGNED_BYTE, !0, 0, 0);
	}
}, mt = class {
	ctx;
	element;
	stage;
	canvas = v("canvas", { class: "points" });
	renderer = null;
	overlay;
	hover;
	xyz = /* @__PURE__ */ new Float32Array();
	xy = /* @__PURE__ */ new Float32Array();
	grid = null;
	order = /* @__PURE__ */ new Uint32Array();
	slotOf = /* @__PURE__ */ new Uint32Array();
	shown = /* @__PURE__ */ new Uint8Array();
	rgb = null;
	camera = { ...z };
	width = 1;
	height = 1;
	tool = "pan";
	path = null;
	pointers = /* @__PURE__ */ new Map();
	drag = null;
	orders = /* @__PURE__ */ new Map();
	tools;
	onCamera = () => void 0;
	constructor(e) {
		this.ctx = e, this.stage = v("div", {
			class: "stage",
			tabindex: 0,
			role: "application",
			"aria-label": "Map of the objects. Arrow keys move, plus and minus zoom, Enter chooses the object nearest to the centre."
		}), this.overlay = new st(e, this), this.hover = new R(e), this.tools = {
			pan: x("pan", "Move and choose (V)", () => this.setTool("pan"), { "aria-pressed": "true" }),
			lasso: x("lasso", "Lasso (L): Shift adds, Alt takes away", () => this.setTool("lasso"), { "aria-pressed": "false" }),
			box: x("box", "Box (B): Shift adds, Alt takes away", () => this.setTool("box"), { "aria-pressed": "false" })
		};
		let t = v("div", {
			class: "map-tools",
			role: "toolbar",
			"aria-label": "Map tools"
		}, this.tools.pan, this.tools.lasso, this.tools.box, v("span", { class: "rule" }), x("plus", "Zoom in (+)", () => this.zoomBy(1.6)), x("minus", "Zoom out (−)", () => this.zoomBy(1 / 1.6)), x("fit", "Whole map (F)", () => this.home()), v("span", { class: "rule" }), this.thumbsButton());
		this.stage.append(this.canvas, this.overlay.canvas, this.hover.element), this.element = v("div", { class: "map" }, this.stage, t);
		try {
			this.renderer = new pt(this.canvas), this.renderer.onDraw = () => this.overlay.draw(), this.renderer.onLost = () => e.notice("The graphics card gave up the map for a moment; it will be drawn again.", !0);
		} catch (e) {
			let t = e instanceof Error ? e.message : String(e);
			this.stage.append(v("p", {
				class: "no-webgl",
				role: "alert"
			}, `The map cannot be drawn: ${t} Gallery and table work as usual.`));
		}
		this.listen(), e.store.on(["selection"], () => this.marks()), e.store.on([
			"chosen",
			"like",
			"unlike",
			"dropped"
		], () => this.overlay.draw()), e.store.on(["thumbs"], () => this.overlay.moved(!1));
	}
	get drawable() {
		return this.renderer !== null;
	}
	get stats() {
		return this.renderer?.stats ?? null;
	}
	get size() {
		return [this.width, this.height];
	}
	thumbsButton() {
		let { store: e, source: t } = this.ctx, n = x("image", "Pictures on the map when zoomed in (P)", () => e.set({ thumbs: !e.state.thumbs }), {
			"aria-pressed": String(e.state.thumbs),
			hidden: !t.can.thumbs
		});
		return e.on(["thumbs"], (e) => n.setAttribute("aria-pressed", String(e.thumbs))), n;
	}
	setTool(e) {
		this.tool = e;
		for (let [t, n] of Object.entries(this.tools)) n.setAttribute("aria-pressed", String(t === e));
		this.stage.dataset.tool = e, this.hover.hide();
	}
	setMap(e, t, n, r) {
		this.xyz = t;
		let i = t.length / n, a = n === 2 && r[0] === 0 && r[1] === 1 ? t : new Float32Array(2 * i);
		if (a !== this.xyz) for (let e = 0; e < i; e++) a[2 * e] = t[n * e + r[0]], a[2 * e + 1] = t[n * e + r[1]];
		this.xy = a, this.grid = new it(a, i);
		let o = `${e}/${r.join()}`, s = this.orders.get(o) ?? et(a, i);
		this.orders.set(o, s), this.order = s, this.slotOf = new Uint32Array(i).fill(4294967295);
		let c = new Float32Array(2 * s.length);
		for (let e = 0; e < s.length; e++) this.slotOf[s[e]] = e, c[2 * e] = a[2 * s[e]], c[2 * e + 1] = a[2 * s[e] + 1];
		this.renderer?.setPlaces(c), this.paint(), this.marks();
	}
	setColours(e, t) {
		this.rgb = e, this.shown = t, this.paint();
	}
	paint() {
		let { rgb: e, shown: t, order: n } = this;
		if (!e || !this.renderer || t.length * 2 !== this.xy.length) return;
		let r = new Uint8Array(4 * n.length);
		for (let i = 0; i < n.length; i++) {
			let a = n[i];
			r[4 * i] = e[3 * a], r[4 * i + 1] = e[3 * a + 1], r[4 * i + 2] = e[3 * a + 2], r[4 * i + 3] = t[a] ? 255 : 0;
		}
		this.renderer.setColours(r), this.overlay.moved(!1);
	}
	colourOf(e) {
		return this.rgb ? `rgb(${this.rgb[3 * e]} ${this.rgb[3 * e + 1]} ${this.rgb[3 * e + 2]})` : "currentColor";
	}
	isShown = (e) => this.shown.length === 0 || this.shown[e] === 1;
	mark(e) {
		this.overlay.hits = e, this.overlay.draw();
	}
	dropped(e) {
		if (this.overlay.droppedPlace = e, e) {
			let [t, n] = this.screenOfPlace(...e);
			(t < 20 || n < 20 || t > this.width - 20 || n > this.height - 20) && this.home();
		}
		this.overlay.draw();
	}
	marks() {
		let { selection: e } = this.ctx.store.state;
		if (!this.renderer) return;
		let t = new Uint32Array(e.length), n = 0;
		for (let r of e) r < this.slotOf.length && this.slotOf[r] !== 4294967295 && this.isShown(r) && (t[n++] = this.slotOf[r]);
		this.renderer.setMarks(t.subarray(0, n));
	}
	theme(e, t) {
		this.renderer && (this.renderer.background = e, this.renderer.markColour = t, this.renderer.redraw());
	}
	resize() {
		let e = this.stage.getBoundingClientRect();
		if (e.width < 2 || e.height < 2) return;
		this.width = e.width, this.height = e.height;
		let t = Math.min(2, window.devicePixelRatio || 1);
		this.overlay.resize(this.width, this.height, t), this.renderer?.resize(Math.round(this.width * t), Math.round(this.height * t)), this.view(!1);
	}
	setCamera(e, t = !1) {
		this.camera = Qe(e), this.view(t);
	}
	view(e) {
		let t = this.renderer;
		if (!t) return;
		let n = this.order.length, r = Math.min(2, window.devicePixelRatio || 1);
		t.size = Math.min(11, (n < 2e3 ? 6.5 : n < 2e4 ? 4.5 : n < 2e5 ? 3 : 2) * Math.max(1, this.camera.zoom) ** .22) * r, t.alpha = Math.min(.95, (n < 2e4 ? .85 : n < 2e5 ? .65 : .5) * Math.max(1, this.camera.zoom) ** .12);
		let i = $e(this.camera, this.width, this.height);
		e ? t.move(i) : t.show(i), this.overlay.moved(e), this.onCamera();
	}
	home() {
		this.setCamera({ ...z });
	}
	zoomBy(e) {
		this.setCamera(H(this.camera, this.width, this.height, this.width / 2, this.height / 2, e), !0);
	}
	reveal(e) {
		let [t, n] = this.screenOf(e);
		Number.isNaN(t) || (t < 20 || n < 20 || t > this.width - 20 || n > this.height - 20) && this.setCamera({
			...this.camera,
			x: this.xy[2 * e],
			y: this.xy[2 * e + 1]
		});
	}
	screenOf(e) {
		return Ze(this.camera, this.width, this.height, this.xy[2 * e], this.xy[2 * e + 1]);
	}
	screenOfPlace(e, t) {
		return Ze(this.camera, this.width, this.height, e, t);
	}
	at(e, t, n = 12) {
		if (!this.grid) return -1;
		let [r, i] = V(this.camera, this.width, this.height, e, t), [a] = V(this.camera, this.width, this.height, e + n, t);
		return this.grid.nearest(r, i, a - r, a - r, this.isShown);
	}
	under() {
		for (let e of [
			60,
			200,
			600
		]) {
			let t = this.at(this.width / 2, this.height / 2, e);
			if (t >= 0) return t;
		}
		return -1;
	}
	listen() {
		let { stage: e } = this;
		e.addEventListener("pointerdown", (e) => this.down(e)), e.addEventListener("pointermove", (e) => this.movePointer(e)), e.addEventListener("pointerup", (e) => this.up(e)), e.addEventListener("pointercancel", (e) => this.cancel(e)), e.addEventListener("pointerleave", () => this.hover.hide()), e.addEventListener("dblclick", (e) => {
			let [t, n] = this.local(e);
			this.setCamera(H(this.camera, this.width, this.height, t, n, 2), !0);
		}), e.addEventListener("wheel", (e) => {
			e.preventDefault(), this.hover.hide();
			let [t, n] = this.local(e), r = e.deltaMode === 1 ? 16 : 1;
			this.setCamera(H(this.camera, this.width, this.height, t, n, Math.exp(-e.deltaY * r * (e.ctrlKey ? .01 : .0016))), !0);
		}, { passive: !1 }), e.addEventListener("keydown", (e) => this.key(e)), e.addEventListener("blur", () => this.hover.hide());
	}
	local(e) {
		let t = this.stage.getBoundingClientRect();
		return [e.clientX - t.left, e.clientY - t.top];
	}
	down(e) {
		if (e.button > 0) return;
		this.stage.setPointerCapture(e.pointerId);
		let [t, n] = this.local(e);
		this.pointers.set(e.pointerId, [t, n]), this.drag = {
			x: t,
			y: n,
			moved: 0
		}, this.path = this.tool === "pan" || this.pointers.size > 1 ? null : [t, n];
	}
	movePointer(e) {
		let [t, n] = this.local(e), r = this.pointers.get(e.pointerId);
		!r || !this.drag ? e.pointerType !== "touch" && this.tool === "pan" && this.hover.show(this.at(t, n), t, n, this) : (this.drag.moved += Math.abs(t - r[0]) + Math.abs(n - r[1]), this.pointers.size === 2 ? this.pinch(e.pointerId, t, n) : this.path ? this.extend(t, n) : this.drag.moved > 3 && this.panBy(t - r[0], n - r[1]), this.pointers.set(e.pointerId, [t, n]));
	}
	pinch(e, t, n) {
		this.path = null;
		let r = [...this.pointers].find(([t]) => t !== e)?.[1], i = this.pointers.get(e);
		if (!r || !i) return;
		let a = (e, t) => Math.max(8, Math.hypot(e - r[0], t - r[1])), o = a(t, n) / a(i[0], i[1]);
		this.setCamera(H(this.camera, this.width, this.height, (t + r[0]) / 2, (n + r[1]) / 2, o), !0), this.panBy((t - i[0]) / 2, (n - i[1]) / 2);
	}
	panBy(e, t) {
		this.hover.hide();
		let [n, r] = V(this.camera, this.width, this.height, this.width / 2 - e, this.height / 2 - t);
		this.setCamera({
			...this.camera,
			x: n,
			y: r
		}, !0);
	}
	extend(e, t) {
		this.path && (this.tool === "box" ? this.path = [
			this.path[0],
			this.path[1],
			e,
			this.path[1],
			e,
			t,
			this.path[0],
			t
		] : Math.hypot(e - this.path[this.path.length - 2], t - this.path[this.path.length - 1]) > 2 && this.path.push(e, t), this.overlay.path = this.path, this.overlay.draw());
	}
	up(e) {
		let [t, n] = this.local(e);
		this.pointers.delete(e.pointerId);
		let { drag: r, path: i } = this;
		this.path = this.overlay.path = null, r && !this.pointers.size && (this.drag = null, i && i.length >= 6 && r.moved > 6 ? this.select(i, e) : r.moved <= 4 && this.click(this.at(t, n, e.pointerType === "touch" ? 22 : 12), e), this.overlay.draw());
	}
	cancel(e) {
		this.pointers.delete(e.pointerId), this.path = this.overlay.path = this.drag = null, this.overlay.draw();
	}
	click(e, t) {
		let { store: n } = this.ctx;
		e < 0 || (t.shiftKey || t.altKey || t.ctrlKey || t.metaKey ? n.set({ selection: k(n.state.selection, [e], O(t)) }) : this.ctx.choose(e, !0));
	}
	select(e, t) {
		let { store: n } = this.ctx, r = [];
		for (let t = 0; t < e.length; t += 2) r.push(...V(this.camera, this.width, this.height, e[t], e[t + 1]));
		let i = at(this.xy, this.xy.length / 2, r).filter(this.isShown);
		n.set({
			selection: k(n.state.selection, i, O(t)),
			panel: "selection"
		});
	}
	key(e) {
		if (e.ctrlKey || e.metaKey || e.altKey) return;
		let t = e.shiftKey ? 160 : 48, n = {
			ArrowLeft: [t, 0],
			ArrowRight: [-t, 0],
			ArrowUp: [0, t],
			ArrowDown: [0, -t]
		};
		if (e.key in n) this.panBy(...n[e.key]);
		else if (e.key === "+" || e.key === "=") this.zoomBy(1.6);
		else if (e.key === "-") this.zoomBy(1 / 1.6);
		else if (e.key === "Home") this.home();
		else if (e.key === "Enter" || e.key === " ") {
			let e = this.under();
			e >= 0 && this.ctx.choose(e, !0);
		} else return;
		e.preventDefault(), e.stopPropagation();
		let r = this.under();
		this.hover.show(r, this.width / 2, this.height / 2, this), r >= 0 && this.ctx.rows.get(r).then((e) => this.ctx.say([e.id, R.describe(r)].filter(Boolean).join(", ")));
	}
}, ht = class {
	element = v("div", { class: "notices" });
	live = v("div", {
		class: "only-read",
		role: "status",
		"aria-live": "polite"
	});
	last = "";
	show(e, t) {
		let n = /^[a-z]+ /.test(e) ? e[0].toUpperCase() + e.slice(1) : e;
		if (n === this.last && this.element.childElementCount) return;
		this.last = n;
		let r = v("div", {
			class: t ? "notice bad" : "notice",
			role: t ? "alert" : "status"
		}, v("p", {}, n), x("close", "Close", () => r.remove()));
		for (this.element.append(r); this.element.childElementCount > 3;) this.element.firstElementChild?.remove();
		window.setTimeout(() => r.remove(), t ? 12e3 : 5e3);
	}
	say(e) {
		this.live.textContent = e;
	}
};
// src/maths/scalebar.ts
function gt(e, t, n = .4) {
	if (!(t > 0) || !(e > 0)) return null;
	let r = e * n * t, [i, a] = r >= 5400 ? ["°", 3600] : r >= 90 ? ["′", 60] : r >= .001 ? ["″", 1] : ["mas", .001], o = r / a, s = 10 ** Math.floor(Math.log10(o)), c = ([
		5,
		2,
		1
	].find((e) => e * s <= o) ?? 1) * s, l = `${Number(c.toPrecision(3))}${i === "mas" ? " mas" : i}`;
	return {
		px: c * a / t,
		text: l
	};
}
function _t(e, t) {
	let n = (e, t) => {
		let n = 10 ** t, r = Math.round(e * 3600 * n), i = r % (60 * n) / n, a = Math.floor(r / (60 * n)) % 60;
		return [
			Math.floor(r / (3600 * n)),
			a,
			i
		];
	}, r = (e) => String(e).padStart(2, "0"), [i, a, o] = n((e % 360 + 360) % 360 / 15, 2), [s, c, l] = n(Math.abs(t), 1);
	return `${r(i % 24)} ${r(a)} ${o.toFixed(2).padStart(5, "0")} ${t < 0 ? "−" : "+"}${r(s)} ${r(c)} ${l.toFixed(1).padStart(4, "0")}`;
}
// src/picture.ts
function G(e) {
	let { north_deg: t, east_left: n } = e.orientation;
	return t === null || !Number.isFinite(t) ? null : {
		turn: t,
		mirrored: n === !1
	};
}
var K = class {
	canvas = v("canvas", {
		class: "picture",
		role: "img",
		"aria-label": "Cut-out"
	});
	caption = v("p", { class: "quiet caption" });
	element = v("figure", { class: "picture-frame" }, this.canvas, this.caption);
	pixels = null;
	sorted = [];
	heat = null;
	constructor(e) {
		let t = Math.min(2, window.devicePixelRatio || 1);
		this.canvas.width = this.canvas.height = Math.round(e * t);
	}
	set(e, t) {
		if (this.pixels = e, this.canvas.setAttribute("aria-label", `Cut-out of ${t}`), this.sorted = [], e) for (let t = 0; t < e.shape[0]; t++) this.sorted.push(Ne(vt(e, t)));
	}
	say(e) {
		this.pixels = null, this.canvas.getContext("2d")?.clearRect(0, 0, this.canvas.width, this.canvas.height), this.caption.textContent = e;
	}
	draw(e) {
		let { pixels: t, canvas: n } = this, r = n.getContext("2d");
		if (!r || !t) return;
		let [, i, a] = t.shape, o = yt(t), s = P(e, o), c = Ie(this.sorted, s, o, e, t.level, t.sigma), l = Re(s.map((e) => vt(t, e)), c, e), u = bt(a, i, (e) => e.putImageData(new ImageData(l, a, i), 0, 0)), d = n.width, f = e.northUp ? G(t) : null, p = (f?.turn ?? 0) * Math.PI / 180, m = Math.abs(Math.cos(p)) + Math.abs(Math.sin(p)), h = Math.abs(m - 1) < .02 ? 1 : Math.min(m, 1.15), g = d / (Math.max(i, a) * h);
		r.setTransform(1, 0, 0, 1, 0, 0), r.clearRect(0, 0, d, d), r.imageSmoothingEnabled = g < 1.5, r.translate(d / 2, d / 2), f?.mirrored && r.scale(-1, 1), r.rotate(p), r.scale(g, t.orientation.row0 === "top" && !f ? g : -g), r.drawImage(u, -a / 2, -i / 2), this.heat && this.drawHeat(r, i, a), r.setTransform(1, 0, 0, 1, 0, 0), this.marks(r, d, g, f !== null), this.tell(s.map((e) => o[e]), c, f !== null);
	}
	drawHeat(e, t, n) {
		let { shape: r, heat: i } = this.heat, a = new Uint8ClampedArray(4 * i.length);
		i.forEach((e, t) => a.set([
			255,
			120,
			20,
			Math.round(190 * Math.max(0, Math.min(1, e)))
		], 4 * t));
		let o = bt(r[1], r[0], (e) => e.putImageData(new ImageData(a, r[1], r[0]), 0, 0));
		e.imageSmoothingEnabled = !0, e.drawImage(o, -n / 2, -t / 2, n, t);
	}
	marks(e, t, n, r) {
		let i = this.pixels, a = t / 100;
		e.lineCap = "round", e.font = `600 ${Math.round(4.2 * a)}px system-ui, sans-serif`;
		let o = (t) => {
			for (let [n, r] of [[1.6 * a, "rgb(0 0 0 / 0.65)"], [.7 * a, "#fff"]]) e.beginPath(), t.forEach(([t, n], r) => r ? e.lineTo(t, n) : e.moveTo(t, n)), e.lineWidth = n, e.strokeStyle = r, e.stroke();
		}, s = (t, n, r, i) => {
			e.textAlign = i, e.lineWidth = 1.1 * a, e.strokeStyle = "rgb(0 0 0 / 0.75)", e.strokeText(t, n, r), e.fillStyle = "#fff", e.fillText(t, n, r);
		}, c = i.orientation.scale_arcsec, l = gt(t, (c ? c * i.full[2] / i.shape[2] : NaN) / n);
		l && (o([[4 * a, t - 5 * a], [4 * a + l.px, t - 5 * a]]), s(l.text, 4 * a + l.px / 2, t - 7 * a, "center"));
		let u = G(i);
		if (!u || !r && i.orientation.row0 === "top") return;
		let [d, f, p] = r ? [
			t - 8 * a,
			t - 7 * a,
			9 * a
		] : [
			t - 15 * a,
			t - 15 * a,
			9 * a
		], m = r ? 0 : -u.turn * Math.PI / 180, h = (e) => [d + p * Math.sin(e), f - p * Math.cos(e)], g = m + (r || !u.mirrored ? -1 : 1) * Math.PI / 2;
		o([
			h(m),
			[d, f],
			h(g)
		]);
		let _ = (e, t) => s(e, d + 1.32 * p * Math.sin(t), f - 1.32 * p * Math.cos(t) + 1.4 * a, "center");
		_("N", m), _("E", g);
	}
	tell(e, t, n) {
		let r = this.pixels, i = r.unit ? ` ${r.unit}` : "", a = t.every(([e, n]) => e === t[0][0] && n === t[0][1]), o = (t) => e.length > 1 ? `${e[t]} ` : "", s = a ? `${T(t[0][0])} to ${T(t[0][1])}` : t.map(([e, t], n) => `${o(n)}${T(e)} to ${T(t)}`).join(", "), c = `${r.full[2]} × ${r.full[1]} px`, l = r.full[2] > r.shape[2] ? ", averaged for display" : "";
		this.caption.textContent = `${s}${i} · ${c}${l}${G(r) ? n ? "" : " · as stored" : " · no sky orientation"}`;
	}
}, vt = (e, t) => {
	let n = e.shape[1] * e.shape[2];
	return e.data.subarray(t * n, (t + 1) * n);
}, yt = (e) => Array.from({ length: e.shape[0] }, (t, n) => e.bands[n] || String(n));
function bt(e, t, n) {
	let r = v("canvas", {
		width: e,
		height: t
	}), i = r.getContext("2d");
	return i && n(i), r;
}
var xt = class {
	ctx;
	element = v("div", { class: "picture-controls" });
	bands = [];
	oriented = !0;
	constructor(e) {
		this.ctx = e, this.build(), e.store.on(["picture"], () => this.sync());
	}
	offer(e) {
		let t = yt(e), n = G(e) !== null;
		(t.join() !== this.bands.join() || n !== this.oriented) && (this.bands = t, this.oriented = n, this.build());
	}
	set(e) {
		let { store: t } = this.ctx;
		t.set({ picture: {
			...t.state.picture,
			...e
		} });
	}
	sync() {
		let { picture: e } = this.ctx.store.state;
		for (let t of this.element.querySelectorAll("[data-key]")) {
			if (t === document.activeElement) continue;
			let n = t.dataset.key, r = n === "bands" ? P(e, this.bands) : e[n];
			t instanceof HTMLInputElement && t.type === "checkbox" ? t.checked = !!r : t.value = Array.isArray(r) ? r.join() : String(r);
		}
		let t = this.bands.length > 0 && P(e, this.bands).length === 3;
		for (let e of ["ramp", "reversed"]) this.element.querySelectorAll(`[data-key=${e}]`).forEach((e) => e.disabled = t);
		for (let t of this.element.querySelectorAll("[data-only]")) t.hidden = t.dataset.only !== e.curve;
	}
	build() {
		let e = this.ctx.store.state.picture, t = (t, n, r, i, a, o) => v("label", {
			class: "field",
			title: o
		}, v("span", {}, t), v("input", {
			type: "number",
			min: r,
			max: i,
			step: a,
			value: String(e[n]),
			"data-key": n,
			oninput: (e) => this.numeric(n, e.target, r, i)
		})), n = t("Softening", "soft", .001, 1, .01, "asinh: smaller lifts the faint more");
		n.dataset.only = "asinh", n.hidden = e.curve !== "asinh";
		let r = [
			S("Stretch", je.map((e) => ({
				value: e,
				text: e
			})), e.curve, (e) => this.set({ curve: e }), { "data-key": "curve" }),
			S("Colour map", o.map((e) => ({
				value: e,
				text: e
			})), e.ramp, (e) => this.set({ ramp: e }), { "data-key": "ramp" }),
			this.bands.length > 1 ? this.bandChoice(e) : null,
			t("Low %", "low", 0, 99, .1, "Percentile of the pixels that becomes the darkest"),
			t("High %", "high", 1, 100, .1, "Percentile of the pixels that becomes the brightest"),
			t("Clip σ", "clip", 0, 50, .5, "Hide what is fainter than the level plus so many sigma; 0 shows all"),
			n
		], i = (t, n) => v("label", { class: "check" }, v("input", {
			type: "checkbox",
			checked: e[n],
			"data-key": n,
			onchange: (e) => this.set({ [n]: e.target.checked })
		}), t), a = i("North up", "northUp");
		a.hidden = !this.oriented, y(this.element, v("div", { class: `stack-fields${this.bands.length > 1 ? "" : " two"}` }, ...r), v("div", { class: "checks" }, i("Reverse", "reversed"), a, v("button", {
			type: "button",
			class: "text-button",
			onclick: () => this.set({ ...M })
		}, "Reset"))), this.sync();
	}
	bandChoice(e) {
		let t = this.bands.length, n = this.bands.map((e, t) => ({
			value: String(t),
			text: `band ${e}`
		}));
		if (t >= 3) {
			let e = P({ ...M }, this.bands).join(), r = /* @__PURE__ */ new Set([
				e,
				"0,1,2",
				"2,1,0",
				...t > 3 ? [`${t - 1},${Math.floor(t / 2)},0`] : []
			]);
			for (let e of [...r].reverse()) n.unshift({
				value: e,
				text: `RGB ${e.split(",").map((e) => this.bands[Number(e)]).join(" ")}`
			});
		}
		return S("Bands", n, (e.bands.length ? e.bands : P(e, this.bands)).join(), (e) => this.set({ bands: e.split(",").map(Number) }), { "data-key": "bands" });
	}
	numeric(e, t, n, r) {
		let i = t.valueAsNumber, { picture: a } = this.ctx.store.state, o = e === "low" ? i < a.high : e !== "high" || i > a.low, s = Number.isFinite(i) && i >= n && i <= r && o;
		t.setAttribute("aria-invalid", String(!s)), s && this.set({ [e]: i });
	}
}, St = class {
	ctx;
	dialog = v("dialog", {
		class: "dialog wide",
		"aria-labelledby": "alike-title"
	});
	constructor(e) {
		this.ctx = e;
	}
	async open(e, t) {
		if (e < 0) return;
		let { ctx: n } = this;
		await n.attempt(async () => {
			let r = [new K(300), new K(300)], i = v("p", { class: "quiet" }, "Covering the pictures piece by piece …"), a = v("div", { class: "pair" });
			y(this.dialog, v("header", {}, v("h2", { id: "alike-title" }, "What makes them alike"), x("close", "Close", () => this.dialog.close())), v("div", { class: "pair" }, ...r.map((e) => e.element)), a, i), this.dialog.isConnected || n.root.append(this.dialog), this.dialog.open || this.dialog.showModal();
			let [o, s] = await Promise.all([n.source.pixels(e), n.source.pixels(t)]), [c, l] = await n.rows.all([e, t]);
			y(a, v("p", { class: "id" }, c.id), v("p", { class: "id" }, l.id)), r[0].set(o, c.id), r[1].set(s, l.id);
			let u = () => r.forEach((e) => e.draw(n.store.state.picture));
			u();
			try {
				let a = await n.source.alike(e, t);
				r[0].heat = Ct(a.a), r[1].heat = Ct(a.b), u(), i.textContent = `Similarity ${a.similarity.toFixed(3)}. Orange: where covering the picture costs the most similarity, each on its own scale.`;
			} catch (e) {
				i.textContent = e instanceof Error ? e.message : String(e);
			}
		});
	}
};
function Ct(e) {
	let t = e.heat.reduce((e, t) => Math.max(e, t), 0);
	return {
		...e,
		heat: t > 0 ? e.heat.map((e) => e / t) : e.heat
	};
}
// src/panels/object.ts
var wt = 12, Tt = /* @__PURE__ */ new Set([
	"ra",
	"dec",
	"object",
	"flags",
	"pixel_scale_arcsec",
	"source"
]), Et = class {
	ctx;
	element = v("div", { class: "panel-body" });
	picture = new K(348);
	controls;
	head = v("div", { class: "object-head" });
	facts = v("div");
	strip;
	nearTitle = v("h3", {}, "Neighbours");
	near;
	empty;
	content;
	asked = 0;
	shown = -1;
	alike;
	onHits = () => void 0;
	onPixels = () => void 0;
	constructor(e) {
		this.ctx = e, this.controls = new xt(e), this.alike = new St(e), this.strip = new I(e, {
			label: "Neighbours",
			query: !0,
			alike: (t) => {
				e.store.state.chosen < 0 ? e.notice("What makes two alike is shown for objects of the store; a dropped file is not in it.") : this.alike.open(e.store.state.chosen, t);
			}
		}), this.near = v("section", { hidden: !e.source.can.neighbours }, this.nearTitle, this.strip.element), this.empty = v("div", { class: "empty" }, v("p", {}, "Choose an object on the map, in the gallery or in the table: its picture, its columns and its neighbours appear here."), e.source.can.drop ? v("p", {}, "Or drop a FITS file anywhere on this page to see where it lies.") : null), this.content = v("div", { hidden: !0 }, this.head, e.source.can.pixels ? this.picture.element : null, e.source.can.pixels ? this.controls.element : null, this.near, this.facts), this.element.append(this.empty, this.content), e.store.on([
			"chosen",
			"panel",
			"sheet"
		], (e) => {
			e.chosen < 0 ? (this.shown = -1, e.dropped === null && this.clear()) : e.panel === "object" && e.chosen !== this.shown ? this.show(e.chosen) : e.chosen !== this.shown && this.onHits([]);
		}), e.store.on(["like", "unlike"], (e) => {
			for (let [t, n] of [["like", e.like], ["unlike", e.unlike]]) this.head.querySelector(`[data-example=${t}]`)?.setAttribute("aria-pressed", String(n.includes(e.chosen)));
		}), e.store.on(["filter"], (e) => {
			e.chosen >= 0 && e.chosen === this.shown && this.showNeighbours(e.chosen, this.asked);
		}), e.store.on(["picture"], (e) => this.picture.draw(e.picture));
	}
	clear() {
		this.content.hidden = !0, this.empty.hidden = !1, this.onHits([]);
	}
	async show(e) {
		let t = ++this.asked;
		this.shown = e, this.empty.hidden = !0, this.content.hidden = !1, await Promise.all([
			this.showFacts(e, t),
			this.showPixels(e, e, t),
			this.showNeighbours(e, t)
		]);
	}
	async showDropped(e) {
		let t = ++this.asked;
		this.empty.hidden = !0, this.content.hidden = !1, y(this.head, v("h2", { class: "id" }, e.name), v("p", { class: "quiet" }, e.novelty === null ? "Dropped file." : `Dropped file; novelty ${T(e.novelty)}.`)), y(this.facts), this.nearTitle.textContent = "Most similar objects", this.strip.show(e.hits.map(Dt)), this.onHits(e.hits), this.ctx.say(`${e.name} is placed on the map; ${e.hits.length} similar objects.`), await this.showPixels(e.dropped, e.name, t);
	}
	async showPixels(e, t, n) {
		if (this.ctx.source.can.pixels) try {
			let r = await this.ctx.source.pixels(e);
			if (n !== this.asked) return;
			this.picture.set(r, String(t)), this.controls.offer(r), this.picture.draw(this.ctx.store.state.picture), this.onPixels(r);
		} catch (e) {
			n === this.asked && this.picture.say(e instanceof Error ? e.message : String(e));
		}
	}
	async showNeighbours(e, t) {
		if (!this.ctx.source.can.neighbours) return;
		let { store: n } = this.ctx;
		await this.ctx.attempt(async () => {
			let r = await this.ctx.source.neighbours({
				like: [e],
				unlike: [],
				dropped: null,
				k: wt,
				where: n.state.where || null,
				exclude_radius: null
			});
			if (t !== this.asked) return;
			this.nearTitle.textContent = "Neighbours";
			let i = r.hits.filter((t) => t.row !== e);
			this.strip.show(i.map(Dt)), this.onHits(i);
		});
	}
	async showFacts(e, t) {
		let n = await this.ctx.rows.get(e);
		t === this.asked && (this.picture.element.querySelector("canvas")?.setAttribute("aria-label", `Cut-out of ${n.id}`), y(this.head, v("h2", {
			class: "id",
			title: n.id
		}, n.id), this.actions(e), n.object && n.object !== n.id ? v("p", { class: "quiet" }, n.object) : null), y(this.facts, Ot(n) ? this.sky(n) : null, this.columns(n)), this.ctx.say(`Chosen: ${n.id}`));
	}
	actions(e) {
		let { store: t } = this.ctx, n = t.state;
		return v("div", { class: "actions" }, ...this.ctx.source.can.neighbours ? [x("yes", "More like this (Y)", () => t.set({
			like: L(t.state.like, e),
			unlike: t.state.unlike.filter((t) => t !== e),
			panel: "query"
		}), {
			"aria-pressed": String(n.like.includes(e)),
			"data-example": "like"
		}), x("no", "Less like this (N)", () => t.set({
			unlike: L(t.state.unlike, e),
			like: t.state.like.filter((t) => t !== e),
			panel: "query"
		}), {
			"aria-pressed": String(n.unlike.includes(e)),
			"data-example": "unlike"
		})] : [], x("select", "Add to the selection (S)", () => t.set({ selection: Uint32Array.from(/* @__PURE__ */ new Set([...t.state.selection, e])).sort() })), x("close", "Let go (Esc)", () => t.set({
			chosen: -1,
			dropped: null
		})));
	}
	sky(e) {
		let t = e.ra, n = e.dec, r = `${t.toFixed(6)} ${n.toFixed(6)}`, i = (e.pixel_scale_arcsec ?? 1) * (e.shape?.[2] ?? 60) / 3600, a = (e, t) => v("a", {
			href: t,
			target: "_blank",
			rel: "noreferrer noopener",
			class: "out"
		}, e, b("link"));
		return v("section", {}, v("h3", {}, "Sky"), v("p", { class: "mono" }, _t(t, n)), v("p", { class: "mono quiet" }, `${t.toFixed(5)}°, ${n.toFixed(5)}°`), v("p", { class: "outs" }, a("Aladin", `https://aladin.cds.unistra.fr/AladinLite/?target=${encodeURIComponent(r)}&fov=${Math.max(.005, 3 * i).toFixed(4)}`), a("SIMBAD", `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${encodeURIComponent(r)}&Radius=1&Radius.unit=arcmin`), a("Legacy viewer", `https://www.legacysurvey.org/viewer?ra=${t.toFixed(6)}&dec=${n.toFixed(6)}&layer=ls-dr10&zoom=15`)));
	}
	columns(e) {
		let t = [], n = (e, n) => {
			let r = q(n);
			r !== "" && t.push([e, r]);
		}, r = e.columns ?? {};
		for (let e of te(Object.keys(r))) Tt.has(e) || n(e, r[e]);
		n("flags", (e.flags ?? []).join(", ")), n("size", e.shape ? e.shape.join(" × ") : ""), n("pixel scale", e.pixel_scale_arcsec ? `${T(e.pixel_scale_arcsec)}″` : ""), n("source", e.source);
		let i = v("dl", { class: "facts" });
		for (let [e, n] of t) i.append(v("dt", {}, e), v("dd", {}, n));
		return v("section", {}, v("h3", {}, "Columns"), i);
	}
}, Dt = (e) => ({
	row: e.row,
	note: e.similarity.toFixed(3),
	title: e.quantile === null || e.quantile === void 0 ? e.id : `${e.id}: more similar than ${(100 * e.quantile).toFixed(1)} % of all`
}), Ot = (e) => typeof e.ra == "number" && typeof e.dec == "number" && Number.isFinite(e.ra) && Number.isFinite(e.dec);
function q(e) {
	return e == null ? "" : typeof e == "number" ? Number.isFinite(e) ? T(e) : "" : Array.isArray(e) ? e.map(q).join(", ") : String(e);
}
// src/panels/clusters.ts
var kt = class {
	ctx;
	element = v("div", { class: "panel-body" });
	select;
	body = v("div");
	kind = "typical";
	shown = "";
	field;
	constructor(e) {
		this.ctx = e;
		let t = S("Clusters", [], "", (t) => {
			e.store.set({ colour: `@cluster:${t}` }), this.show(t);
		});
		this.select = t.querySelector("select");
		let n = S("Members", [{
			value: "typical",
			text: "typical"
		}, {
			value: "random",
			text: "random"
		}], "typical", (e) => {
			this.kind = e, this.show(this.shown);
		});
		this.field = v("div", { class: "fields" }, t, n), this.element.append(v("h2", {}, "Clusters"), this.field, this.body), e.store.on(["panel"], (e) => {
			e.panel === "clusters" && this.open();
		}), e.store.state.panel === "clusters" && this.open();
	}
	open() {
		let { space: e, store: t } = this.ctx;
		if (this.field.hidden = !e.clusters.length, !e.clusters.length) {
			y(this.body, v("p", { class: "quiet" }, "No clusters yet. Make some with ‘morphospace cluster’ on these embeddings, then come back."), v("button", {
				type: "button",
				class: "button",
				onclick: () => void this.ctx.refresh().then(() => this.open())
			}, "Look again"));
			return;
		}
		let n = t.state.colour.replace(/^@cluster:/, ""), r = e.clusters.find((e) => e.name === n)?.name ?? (this.shown || e.clusters[0].name);
		C(this.select, e.clusters.map((e) => ({
			value: e.name,
			text: `${e.name} (${e.k})`
		})), r), r !== this.shown && this.show(r);
	}
	async show(e) {
		this.shown = e;
		let { ctx: t } = this;
		await t.attempt(async () => {
			let n = await t.source.clusters(e);
			if (this.shown !== e) return;
			let r = v("dl", { class: "facts" });
			for (let [e, t] of Object.entries(n.figures ?? {})) t !== null && typeof t != "object" && r.append(v("dt", {}, e.replaceAll("_", " ")), v("dd", {}, q(t)));
			y(this.body, r.childElementCount ? v("details", { class: "folded" }, v("summary", {}, At(n.figures ?? {})), r) : null, ...n.clusters.map((n) => {
				let r = new I(t, {
					px: 48,
					label: `Members of cluster ${n.label}`
				});
				r.show(n[this.kind].map((e) => ({ row: e })));
				let i = [w(n.n)];
				return typeof n.stability == "number" && i.push(`stability ${n.stability.toFixed(2)}`), typeof n.mean_probability == "number" && i.push(`mean p ${n.mean_probability.toFixed(2)}`), v("section", { class: "cluster bare-names" }, v("h3", {}, v("span", {
					class: "swatch",
					style: n.label >= 0 ? { background: m(f(n.label)) } : {}
				}), n.label < 0 ? "no cluster" : `Cluster ${n.label}`, v("span", { class: "quiet" }, i.join(" · ")), v("button", {
					type: "button",
					class: "text-button",
					onclick: (t) => void this.pick(e, n.label, t)
				}, "Select")), r.element);
			}));
		});
	}
	async pick(e, t, n) {
		let { ctx: r } = this;
		await r.attempt(async () => {
			let i = await r.column(`@cluster:${e}`), a = [];
			i.values.forEach((e, n) => {
				e === t && a.push(n);
			}), r.store.set({ selection: k(r.store.state.selection, a, O(n)) });
		});
	}
};
function At(e) {
	let t = ["silhouette", "stability"].filter((t) => typeof e[t] == "number").map((t) => `${t} ${e[t].toFixed(2)}`);
	return t.length ? `${t.join(", ")}; all figures` : "Figures";
}
// src/panels/label.ts
function J(e) {
	if (e.kind === "interest") return [
		0,
		1,
		2,
		3,
		4,
		5
	].map((e) => ({
		key: String(e),
		value: e
	}));
	let t = [..."123456789", ..."aceijkoqrwxz"];
	return e.classes.slice(0, t.length).map((e, n) => ({
		key: t[n],
		value: e
	}));
}
var jt = class {
	ctx;
	element = v("div", { class: "panel-body labelling" });
	select;
	field;
	picture = new K(300);
	name = v("p", { class: "id current" });
	buttons = v("div", {
		class: "label-buttons",
		role: "group",
		"aria-label": "Label"
	});
	why = v("p", { class: "quiet sentence" });
	progress = v("p", {
		class: "quiet",
		role: "status"
	});
	work;
	form = v("form");
	maker = v("details", { class: "new-set" }, v("summary", {}, "New set"), this.form);
	queueStrip;
	meter = v("progress", {
		max: 1,
		value: 0,
		"aria-label": "Labelled part"
	});
	set = null;
	labels = null;
	queue = [];
	current = -1;
	undoButton;
	seen = -1;
	given = /* @__PURE__ */ new Set();
	busy = !1;
	constructor(e) {
		this.ctx = e, this.field = S("Set", [], "", (e) => void this.open(e)), this.select = this.field.querySelector("select"), this.queueStrip = new I(e, {
			px: 44,
			label: "Next objects",
			pick: (e) => void this.look(e)
		}), this.undoButton = v("button", {
			type: "button",
			class: "button",
			onclick: () => void this.undo()
		}, "Undo (U)"), this.work = v("div", { hidden: !0 }, e.source.can.pixels ? this.picture.element : null, this.name, this.buttons, v("div", { class: "buttons" }, this.undoButton, v("button", {
			type: "button",
			class: "button",
			onclick: () => this.skip()
		}, "Skip (→)"), v("button", {
			type: "button",
			class: "button",
			onclick: () => void this.labelSelection()
		}, "Label the selection …")), this.progress, this.meter, v("h3", {}, "Next"), this.why, this.queueStrip.element, v("h3", {}, "Score"), v("div", { class: "buttons" }, v("button", {
			type: "button",
			class: "button primary",
			onclick: () => void this.train()
		}, "Score all objects"), this.download("csv", "CSV"), this.download("votable", "VOTable"))), this.element.append(v("h2", {}, "Label"), this.field, this.work, this.maker), this.buildForm(), e.store.on(["panel"], (e) => {
			e.panel === "label" && this.enter();
		}), e.store.on(["chosen"], (e) => {
			e.panel === "label" && e.chosen >= 0 && e.chosen !== this.current && this.set && this.look(e.chosen);
		}), e.store.on(["picture"], (e) => this.picture.draw(e.picture)), e.store.state.panel === "label" && this.enter();
	}
	download(e, t) {
		return v("a", {
			class: "button",
			href: "#",
			download: "",
			onclick: (t) => {
				let n = t.currentTarget;
				this.set ? n.href = this.ctx.source.labelExport(this.set.name, e) : t.preventDefault();
			}
		}, t);
	}
	buildForm() {
		let e = v("input", {
			type: "text",
			required: !0,
			pattern: "[\\w .\\-]+",
			placeholder: "e.g. mergers",
			"aria-label": "Name of the new set"
		}), t = v("input", {
			type: "text",
			placeholder: "spiral, elliptical, merger",
			"aria-label": "Class names, separated by commas"
		}), n = v("label", {
			class: "field",
			hidden: !0
		}, v("span", {}, "Classes"), t), r = S("Kind", [{
			value: "interest",
			text: "interest, 0 to 5"
		}, {
			value: "class",
			text: "named classes"
		}], "interest", (e) => n.hidden = e !== "class");
		y(this.form, v("label", { class: "field" }, v("span", {}, "Name"), e), r, n, v("button", {
			type: "submit",
			class: "button"
		}, "Make it")), this.form.addEventListener("submit", (n) => {
			n.preventDefault();
			let i = t.value.split(",").map((e) => e.trim()).filter(Boolean), a = r.querySelector("select").value;
			this.ctx.attempt(async () => {
				if (a === "class" && i.length < 2) throw Error("Give at least two class names, separated by commas.");
				await this.ctx.source.newLabels(e.value.trim(), a, a === "class" ? i : []), await this.ctx.refresh(), await this.open(e.value.trim()), this.maker.open = !1, e.value = t.value = "";
			});
		});
	}
	async enter() {
		let e = this.ctx.space.label_sets;
		this.field.hidden = !e.length, this.maker.open = !e.length, e.length && !this.set && await this.open(e[0].name);
	}
	async open(e) {
		let { ctx: t } = this, n = t.space.label_sets.find((t) => t.name === e);
		n && (this.set = n, this.given.clear(), this.field.hidden = !1, C(this.select, [...t.space.label_sets.map((e) => ({
			value: e.name,
			text: `${e.name} (${e.kind === "interest" ? "0 to 5" : E(e.classes.length, "class", "classes")})`
		}))], e), this.work.hidden = !1, y(this.buttons, ...J(n).map(({ key: e, value: t }) => v("button", {
			type: "button",
			class: "label-button",
			"data-value": String(t),
			onclick: () => void this.give(t)
		}, v("kbd", {}, e), n.kind === "class" ? String(t) : null))), await t.attempt(async () => {
			await this.reload(), this.set === n && await this.refill(), this.set === n && this.skip();
		}));
	}
	async reload() {
		let { set: e } = this;
		if (!e) return;
		let t = await this.ctx.source.labels(e.name);
		if (this.set !== e) return;
		this.labels = t;
		let n = new Set(t.labels.map((e) => e.row)).size;
		this.undoButton.disabled = !t.can_undo, this.progress.textContent = `${w(n)} of ${w(this.ctx.space.n)} labelled.`, this.meter.max = this.ctx.space.n, this.meter.value = n, this.ctx.stale(`@label:${e.name}`), this.markButtons();
	}
	markButtons() {
		let e = this.labels?.labels.find((e) => e.row === this.current)?.value;
		for (let t of this.buttons.querySelectorAll("[data-value]")) t.setAttribute("aria-pressed", String(e !== void 0 && String(e) === t.dataset.value));
	}
	async refill() {
		let { set: e } = this;
		if (!e) return;
		let t = await this.ctx.source.next(e.name, 10);
		if (this.set !== e) return;
		let n = new Set(this.labels?.labels.map((e) => e.row));
		this.queue = t.rows.filter((e) => !n.has(e) && !this.given.has(e) && e !== this.current), this.why.textContent = t.why, this.showQueue();
	}
	showQueue() {
		this.queueStrip.show(this.queue.slice(0, 6).map((e) => ({ row: e })));
	}
	skip() {
		let e = this.queue.shift();
		e === void 0 ? this.ctx.attempt(async () => {
			await this.refill(), this.queue.length ? this.skip() : this.ctx.notice("There is nothing more to offer in this set.");
		}) : (this.showQueue(), this.look(e));
	}
	async look(e) {
		this.current = e, this.queue = this.queue.filter((t) => t !== e), this.markButtons();
		let { ctx: t } = this;
		t.store.set({
			chosen: e,
			dropped: null
		}), await t.attempt(async () => {
			try {
				let [n, r] = await Promise.all([t.rows.get(e), t.source.can.pixels ? t.source.pixels(e) : null]);
				if (this.current !== e) return;
				this.name.textContent = n.id, this.picture.set(r, n.id), this.picture.draw(t.store.state.picture);
			} finally {
				this.current === e && (this.seen = e);
			}
		});
	}
	async give(e) {
		if (!this.set || this.current < 0 || this.busy || this.seen !== this.current) return;
		this.busy = !0;
		let t = this.current;
		await this.ctx.attempt(async () => {
			try {
				await this.ctx.source.label(this.set.name, [t], e), this.given.add(t), this.ctx.say(`Labelled ${e}.`), this.skip();
			} finally {
				this.busy = !1;
			}
			await this.reload(), this.queue.length < 3 && await this.refill();
		});
	}
	async undo() {
		this.set && await this.ctx.attempt(async () => {
			let e = new Map(this.labels?.labels.map((e) => [e.row, e.value]));
			await this.ctx.source.undo(this.set.name), await this.reload();
			let t = new Map(this.labels?.labels.map((e) => [e.row, e.value])), n = [...e.keys(), ...t.keys()].find((n) => e.get(n) !== t.get(n));
			this.ctx.say("The last label is taken back."), n !== void 0 && (this.given.delete(n), this.current >= 0 && this.current !== n && this.queue.unshift(this.current), await this.look(n), this.showQueue());
		});
	}
	async labelSelection() {
		let { ctx: e, set: t } = this, n = Array.from(e.store.state.selection);
		if (!t) return;
		if (!n.length) {
			e.notice("Nothing is selected: draw around points with the lasso (L) first.");
			return;
		}
		let r = v("dialog", {
			class: "dialog",
			"aria-label": "Label the selection"
		}), i = (i) => {
			r.close(), e.attempt(async () => {
				await e.source.label(t.name, n, i), await this.reload(), e.notice(`${E(n.length, "object")} labelled ${i === null ? "no more" : i} in ${t.name}.`);
			});
		};
		r.append(v("h2", {}, `Label ${E(n.length, "object")} in ${t.name}`), v("div", { class: "label-buttons" }, ...J(t).map(({ value: e }) => v("button", {
			type: "button",
			class: "label-button",
			onclick: () => i(e)
		}, String(e)))), v("div", { class: "buttons" }, v("button", {
			type: "button",
			class: "button",
			onclick: () => i(null)
		}, "Take their labels away"), v("button", {
			type: "button",
			class: "button",
			onclick: () => r.close()
		}, "Cancel"))), r.addEventListener("close", () => r.remove()), e.root.append(r), r.showModal();
	}
	async train() {
		let { ctx: e, set: t } = this;
		t && (this.progress.textContent = "Learning from your labels …", await e.attempt(async () => {
			try {
				let n = await e.source.score(t.name);
				e.stale(`@score:${n.score}`), await e.refresh(), e.store.set({ colour: `@score:${n.score}` }), e.notice(`All objects are scored from ${E(n.n_labels, "label")} (${n.method}); the map shows the score.`), await this.refill();
			} finally {
				await this.reload();
			}
		}));
	}
	key(e) {
		if (this.ctx.store.state.panel !== "label" || !this.set) return !1;
		if (e.key === "z" && (e.ctrlKey || e.metaKey) || e.key === "u" && !e.ctrlKey) return this.undo(), !0;
		if (e.ctrlKey || e.metaKey || e.altKey) return !1;
		if (e.key === "ArrowRight") return this.skip(), !0;
		let t = J(this.set).find((t) => t.key === e.key.toLowerCase());
		return t ? (this.give(t.value), !0) : !1;
	}
}, Mt = 50, Nt = class {
	ctx;
	element = v("div", { class: "panel-body" });
	select;
	field;
	list = v("ol", { class: "odd-list" });
	more;
	none = v("div");
	shown = "";
	offset = 0;
	constructor(e) {
		this.ctx = e, this.field = S("Method", [], "", (e) => void this.show(e)), this.select = this.field.querySelector("select"), this.more = v("button", {
			type: "button",
			class: "button",
			onclick: () => void this.extend()
		}, "More"), this.element.append(v("h2", {}, "The odd ones"), this.field, this.none, this.list, this.more), e.store.on(["panel"], (e) => {
			e.panel === "odd" && this.open();
		}), e.store.on(["chosen"], () => this.mark()), e.thumbs.onLoad(() => this.paint()), e.store.state.panel === "odd" && this.open();
	}
	open() {
		let { anomalies: e } = this.ctx.space;
		if (this.field.hidden = this.more.hidden = !e.length, y(this.none), !e.length) {
			y(this.none, v("p", { class: "quiet" }, "No list of odd objects yet. Make one with ‘morphospace anomalies’ on these embeddings, then come back."), v("button", {
				type: "button",
				class: "button",
				onclick: () => void this.ctx.refresh().then(() => this.open())
			}, "Look again"));
			return;
		}
		let t = this.shown || e[0].name;
		C(this.select, e.map((e) => ({
			value: e.name,
			text: e.name
		})), t), this.shown || this.show(t);
	}
	async show(e) {
		this.shown = e, this.offset = 0, y(this.list), await this.extend();
	}
	async extend() {
		let { ctx: e } = this, t = this.shown;
		await e.attempt(async () => {
			let n = await e.source.anomalies(t, this.offset, Mt);
			if (t === this.shown) {
				this.offset += n.length, this.more.hidden = n.length < Mt;
				for (let t of n) {
					let n = v("span", { class: "id" }, "…");
					this.list.append(v("li", {}, v("button", {
						type: "button",
						class: "odd",
						"data-row": t.row,
						onclick: () => e.choose(t.row)
					}, v("span", { class: "rank" }, String(t.rank)), v("span", { class: "thumb" }), v("span", { class: "odd-text" }, n, v("span", { class: "note" }, T(t.score)), v("span", { class: "reason" }, t.reason))))), e.rows.get(t.row).then((e) => n.textContent = e.id);
				}
				this.paint(), this.mark();
			}
		});
	}
	paint() {
		if (this.ctx.store.state.panel === "odd" && this.ctx.source.can.thumbs) for (let e of this.list.querySelectorAll("[data-row]")) r(e.querySelector(".thumb"), this.ctx.thumbs.get(Number(e.dataset.row)), 52);
	}
	mark() {
		for (let e of this.list.querySelectorAll("[data-row]")) e.setAttribute("aria-pressed", String(Number(e.dataset.row) === this.ctx.store.state.chosen));
	}
}, Pt = class {
	ctx;
	element = v("div", { class: "panel-body" });
	examples = v("div", { class: "examples" });
	answer = v("p", {
		class: "quiet",
		role: "status"
	});
	strip;
	k;
	radius;
	asked = 0;
	hits = [];
	tools = v("div", { class: "buttons" });
	onHits = () => void 0;
	constructor(e) {
		this.ctx = e;
		let { store: t } = e;
		this.k = v("input", {
			type: "number",
			min: 1,
			max: 500,
			value: "48",
			onchange: () => void this.run()
		}), this.radius = v("input", {
			type: "text",
			placeholder: "10arcsec",
			"aria-label": "Leave out what lies within this angle of an example",
			onchange: () => void this.run()
		}), this.strip = new I(e, {
			label: "Found objects",
			query: !0
		}), this.element.append(v("h2", {}, "More like these"), this.examples, v("div", { class: "fields" }, v("label", { class: "field" }, v("span", {}, "How many"), this.k), e.space.positions && e.source.live ? v("label", { class: "field" }, v("span", {}, "Not within"), this.radius) : null), this.answer, this.tools, this.strip.element), t.on(["like", "unlike"], () => void this.run()), t.on(["filter"], () => {
			t.state.panel === "query" && this.run();
		}), e.thumbs.onLoad(() => this.paint()), t.state.like.length || t.state.unlike.length ? this.run() : this.show();
	}
	show() {
		let { store: e } = this.ctx, { like: t, unlike: n } = e.state, r = (t, n, r) => v("div", { class: `example-group ${r}` }, v("span", { class: "group-name" }, b(r === "like" ? "yes" : "no"), t), ...n.map((t) => {
			let i = v("span", {
				class: "example",
				"data-row": t
			}, v("button", {
				type: "button",
				class: "thumb",
				"aria-label": "Choose this example",
				onclick: () => this.ctx.choose(t)
			}), x("close", "Remove this example", () => e.set({ [r]: n.filter((e) => e !== t) })));
			return this.ctx.rows.get(t).then((e) => i.querySelector("button")?.setAttribute("aria-label", e.id)), i;
		}), n.length ? null : v("span", { class: "quiet" }, "none"));
		y(this.examples, r("Yes", t, "like"), r("No", n, "unlike"));
		let { chosen: i } = e.state;
		t.length || (this.answer.textContent = n.length ? "Add at least one object that you want more of." : "Give examples: choose an object and press Y (more like this) or N (less like this), or use the buttons under the pictures.", i >= 0 ? y(this.tools, v("button", {
			type: "button",
			class: "button",
			onclick: () => e.set({ like: [i] })
		}, "Use the chosen object")) : y(this.tools), this.strip.show([])), this.paint();
	}
	paint() {
		for (let e of this.examples.querySelectorAll("[data-row]")) r(e.querySelector(".thumb"), this.ctx.thumbs.get(Number(e.dataset.row)), 44);
	}
	async run() {
		let { ctx: e } = this, { like: t, unlike: n, where: r } = e.store.state, i = ++this.asked;
		if (this.show(), !t.length) this.onHits([]);
		else {
			this.answer.textContent = "Searching …";
			try {
				let a = await e.source.neighbours({
					like: t,
					unlike: n,
					dropped: null,
					k: Math.max(1, Math.min(500, this.k.valueAsNumber || 48)),
					where: r || null,
					exclude_radius: this.radius.value.trim() || null
				});
				if (i !== this.asked) return;
				this.hits = a.hits, this.answer.textContent = `${E(a.hits.length, "object")} of ${w(a.n_searched)} searched, most similar first.`, y(this.tools, v("button", {
					type: "button",
					class: "button",
					onclick: () => e.store.set({ selection: Uint32Array.from(this.hits.map((e) => e.row)).sort() })
				}, "Select them"), v("button", {
					type: "button",
					class: "button",
					onclick: () => e.store.set({
						like: [],
						unlike: []
					})
				}, "Clear the examples")), this.strip.show(a.hits.map((e) => ({
					row: e.row,
					note: e.similarity.toFixed(3),
					title: e.id
				}))), this.onHits(a.hits);
			} catch (e) {
				i === this.asked && (this.answer.textContent = e instanceof Error ? e.message : String(e));
			}
		}
	}
}, Y = 120, Ft = {
	csv: ["CSV", "csv"],
	votable: ["VOTable", "vot"],
	fits: ["FITS", "fits"],
	parquet: ["Parquet", "parquet"]
}, It = class {
	ctx;
	element = v("div", { class: "panel-body" });
	title = v("h2", {}, "Nothing selected");
	tools = v("div");
	strip;
	constructor(e) {
		this.ctx = e, this.strip = new I(e, {
			label: "Selected objects",
			px: 52
		}), this.element.append(this.title, this.tools, this.strip.element), e.store.on([
			"selection",
			"panel",
			"filter"
		], () => this.show()), this.show();
	}
	show() {
		let { store: e, source: t } = this.ctx, { selection: n, filter: r, panel: i } = e.state;
		if (i !== "selection") return;
		if (this.title.textContent = n.length ? `${E(n.length, "object")} selected` : "Nothing selected", this.tools.replaceChildren(), !n.length) {
			y(this.tools, v("p", { class: "quiet" }, "Draw around points with the lasso (L) or a box (B), or Ctrl-click objects in the gallery or the table. Shift adds, Alt takes away."), r ? v("button", {
				type: "button",
				class: "button",
				onclick: () => e.set({ selection: r.slice() })
			}, `Select the ${w(r.length)} that match the filter`) : null), this.strip.show([]);
			return;
		}
		let a = (e, t, n = !1) => v("button", {
			type: "button",
			class: n ? "button primary" : "button",
			onclick: t
		}, e);
		y(this.tools, v("div", { class: "buttons" }, a("Gallery", () => e.set({
			view: "gallery",
			scope: "selection"
		})), a("Table", () => e.set({
			view: "table",
			scope: "selection"
		})), a("Invert", () => this.invert()), a("Clear", () => e.set({ selection: /* @__PURE__ */ new Uint32Array() }))), v("h3", {}, "Take away"), v("div", { class: "buttons" }, ...t.formats.map((e) => a(Ft[e][0], () => void this.export(e))), t.can.samp && this.ctx.space.samp !== !1 ? a("Send to TOPCAT, Aladin", () => void this.samp()) : null), n.length > Y ? v("p", { class: "quiet" }, `The first ${Y} of them:`) : null), this.strip.show(Array.from(n.subarray(0, Y), (e) => ({ row: e })));
	}
	invert() {
		let { store: e, space: t } = this.ctx, n = new Set(e.state.selection), r = e.state.filter ?? Uint32Array.from({ length: t.n }, (e, t) => t);
		e.set({ selection: r.filter((e) => !n.has(e)) });
	}
	async export(e) {
		let { ctx: t } = this;
		await t.attempt(async () => {
			let n = Array.from(t.store.state.selection), r = `${t.space.name.replace(/[^\w.-]+/g, "_").replace(/\.emb$/, "")}_selection.${Ft[e][1]}`;
			de(await t.source.exportRows(n, e), r), t.notice(`${E(n.length, "object")} saved as ${r}.`);
		});
	}
	async samp() {
		let { ctx: e } = this;
		await e.attempt(async () => {
			let t = await e.source.samp(Array.from(e.store.state.selection));
			e.notice(t.length ? `Sent to ${t.join(", ")}.` : "The hub runs, but no program there takes tables: start TOPCAT or Aladin.");
		});
	}
}, X = 26, Z = 100, Lt = class {
	ctx;
	element = v("section", {
		class: "table-view",
		hidden: !0
	});
	scroller = v("div", {
		class: "scroller",
		tabindex: 0,
		role: "grid",
		"aria-label": "Table of the objects",
		"aria-multiselectable": "true"
	});
	head = v("div", {
		class: "line head",
		role: "row"
	});
	body = v("div", {
		class: "scroll-space",
		role: "rowgroup"
	});
	total = v("span", { class: "quiet" });
	pages = /* @__PURE__ */ new Map();
	n = 0;
	sort = null;
	descending = !1;
	version = 0;
	cursor = 0;
	anchor = -1;
	frame = 0;
	selected = /* @__PURE__ */ new Set();
	constructor(e) {
		this.ctx = e, this.element.append(v("div", { class: "view-tools" }, Te(e), Ee(e), this.total, v("span", { class: "quiet hint" }, "Click a heading to sort; Ctrl-click or Space selects, Shift-click a range.")), this.scroller), this.scroller.append(this.head, this.body), this.scroller.style.setProperty("--columns", String(this.columns.length)), this.scroller.addEventListener("scroll", () => this.schedule()), this.scroller.addEventListener("keydown", (e) => this.key(e)), this.body.addEventListener("click", (e) => this.click(e)), e.store.on([
			"scope",
			"filter",
			"view"
		], () => this.restart()), e.store.on(["selection"], (e) => {
			this.selected = new Set(e.selection), e.scope === "selection" ? this.restart() : this.schedule();
		}), e.store.on(["chosen"], () => this.schedule()), this.selected = new Set(e.store.state.selection), new ResizeObserver(() => this.schedule()).observe(this.scroller);
	}
	get columns() {
		return ["id", ...te(this.ctx.space.columns.map((e) => e.name).filter((e) => e !== "id" && !e.startsWith("@")))];
	}
	get hiddenNow() {
		return this.ctx.store.state.view !== "table";
	}
	restart() {
		if (this.hiddenNow) return;
		this.version++, this.pages.clear(), this.cursor = 0, this.scroller.scrollTop = 0;
		let e = A(this.ctx.store.state);
		this.n = e ? e.length : this.ctx.space.n, this.heading(), this.schedule();
	}
	heading() {
		let e = new Set(this.ctx.space.columns.filter((e) => e.kind === "number").map((e) => e.name));
		y(this.head, ...this.columns.map((t) => {
			let n = this.sort === t ? this.descending ? "descending" : "ascending" : "none";
			return v("div", {
				role: "columnheader",
				class: e.has(t) ? "cell numeric" : t === "id" ? "cell wide" : "cell",
				"aria-sort": n
			}, v("button", {
				type: "button",
				tabindex: -1,
				onclick: () => this.sortBy(t)
			}, t, n === "none" ? "" : this.descending ? " ↓" : " ↑"));
		}));
	}
	sortBy(e) {
		this.sort === e ? this.descending ? [this.sort, this.descending] = [null, !1] : this.descending = !0 : [this.sort, this.descending] = [e, !1], this.restart();
	}
	schedule() {
		this.hiddenNow || this.frame || (this.frame = requestAnimationFrame(() => {
			this.frame = 0, this.draw();
		}));
	}
	draw() {
		let e = this.scroller.clientHeight - X;
		if (e <= 0) return;
		let t = this.n * X, n = be(this.scroller.scrollTop, e, t), r = this.scroller.scrollTop - n;
		this.body.style.height = `${D(t)}px`, this.scroller.setAttribute("aria-rowcount", String(this.n + 1)), this.total.textContent = E(this.n, "object");
		let i = Math.max(0, Math.floor(n / X) - 10), a = Math.min(this.n, Math.ceil((n + e) / X) + 10);
		for (let e = Math.floor(i / Z); e * Z < a; e++) this.ask(e);
		let o = new Set(this.ctx.space.columns.filter((e) => e.kind === "number").map((e) => e.name)), s = [];
		for (let e = i; e < a; e++) s.push(this.line(e, e * X + r, o));
		y(this.body, ...s), this.n === 0 && this.body.append(v("p", { class: "empty" }, this.ctx.store.state.scope === "selection" ? "Nothing is selected." : "No object matches."));
	}
	at(e) {
		let t = this.pages.get(Math.floor(e / Z));
		return Array.isArray(t) ? t[e % Z] ?? null : null;
	}
	objectAt(e) {
		if (this.sort) return this.at(e)?.row ?? null;
		let t = A(this.ctx.store.state);
		return t ? t[e] ?? null : e;
	}
	async objects(e, t) {
		let { version: n } = this, r = [];
		for (let i = e; i <= t; i++) {
			this.objectAt(i) === null && await this.ask(Math.floor(i / Z));
			let e = this.objectAt(i);
			if (e === null || n !== this.version) return null;
			r.push(e);
		}
		return r;
	}
	line(e, t, n) {
		let r = this.at(e), i = this.objectAt(e);
		return v("div", {
			role: "row",
			class: `line${i !== null && i === this.ctx.store.state.chosen ? " chosen" : ""}${e === this.cursor ? " cursor" : ""}`,
			"data-position": e,
			"aria-rowindex": e + 2,
			"aria-selected": String(i !== null && this.selected.has(i)),
			style: { transform: `translateY(${t}px)` }
		}, ...this.columns.map((e) => v("div", {
			role: "gridcell",
			class: n.has(e) ? "cell numeric" : e === "id" ? "cell wide id" : "cell"
		}, r ? e === "id" ? r.id : q(Rt(r, e)) : "")));
	}
	ask(e) {
		let t = this.pages.get(e);
		if (t) return Array.isArray(t) ? Promise.resolve() : t;
		let n = this.fetch(e).then(() => {
			this.pages.get(e) === n && this.pages.delete(e);
		});
		return this.pages.set(e, n), n;
	}
	async fetch(e) {
		let { version: t, ctx: n } = this, r = A(n.store.state), i = n.store.state.scope === "filter" ? n.store.state.where : null;
		await n.attempt(async () => {
			let a = await n.source.table({
				rows: r && !i ? Array.from(r) : null,
				where: i,
				sort: this.sort,
				descending: this.descending,
				offset: e * Z,
				limit: Z,
				columns: this.columns.slice(1)
			});
			if (t === this.version) {
				if (this.pages.set(e, a.rows), this.n = a.total, this.pages.size > 60) {
					let t = this.pages.keys().next().value;
					t !== void 0 && t !== e && this.pages.delete(t);
				}
				this.schedule();
			}
		});
	}
	click(e) {
		let t = e.target.closest("[data-position]");
		t && this.take(Number(t.dataset.position), e);
	}
	async take(e, t) {
		let { store: n } = this.ctx;
		this.cursor = e, this.schedule();
		let r = t.shiftKey && this.anchor >= 0, i = await this.objects(r ? Math.min(e, this.anchor) : e, r ? Math.max(e, this.anchor) : e);
		i && (r ? n.set({ selection: k(n.state.selection, i, "add") }) : n.state.picking || t.ctrlKey || t.metaKey || t.altKey || t instanceof KeyboardEvent && t.key === " " ? (n.set({ selection: k(n.state.selection, i, this.selected.has(i[0]) || t.altKey ? "subtract" : "add") }), this.anchor = e) : (this.anchor = e, this.ctx.choose(i[0], !0)), this.schedule());
	}
	key(e) {
		let t = Math.max(1, Math.floor(this.scroller.clientHeight / X) - 2), n = {
			ArrowUp: -1,
			ArrowDown: 1,
			PageUp: -t,
			PageDown: t,
			Home: -this.n,
			End: this.n
		};
		if (e.key in n) {
			this.cursor = Math.max(0, Math.min(this.n - 1, this.cursor + n[e.key]));
			let t = this.scroller.clientHeight - X, r = this.scroller.scrollTop;
			this.n * X === D(this.n * X) && (this.cursor * X < r ? this.scroller.scrollTop = this.cursor * X : (this.cursor + 1) * X > r + t && (this.scroller.scrollTop = (this.cursor + 1) * X - t)), this.schedule();
		} else if (e.key === "Enter" || e.key === " ") this.take(this.cursor, e);
		else return;
		e.preventDefault(), e.stopPropagation();
	}
};
function Rt(e, t) {
	let n = e.columns ?? {};
	return t in n ? n[t] : e[t];
}
// src/app.ts
var zt = class {
	source;
	options;
	ctx;
	store;
	map;
	frame;
	legend;
	notices = new ht();
	columns = /* @__PURE__ */ new Map();
	object;
	column = null;
	painted = {
		rgb: /* @__PURE__ */ new Uint8Array(),
		limits: null,
		counts: []
	};
	opened;
	maps = /* @__PURE__ */ new Map();
	constructor(t, n, r, a) {
		this.source = n, this.options = a;
		let o = a.address ? F(window.location.hash, r.n) : {};
		this.store = new we(Bt(r, o, a));
		let s = new e(n), c = new i(n);
		this.ctx = {
			root: t,
			source: n,
			store: this.store,
			space: r,
			thumbs: s,
			rows: c,
			column: (e) => this.fetchColumn(e),
			stale: (e) => {
				this.columns.delete(e), this.store.state.colour === e && this.colour();
			},
			notice: (e, t = !1) => this.notices.show(e, t),
			say: (e) => this.notices.say(e),
			attempt: async (e) => {
				try {
					await e();
				} catch (e) {
					this.notices.show(e instanceof Error ? e.message : String(e), !0);
				}
			},
			refresh: () => this.refresh(),
			choose: (e, t = !1) => this.choose(e, t)
		}, s.failed = c.failed = (e) => this.notices.show(e, !0);
		let { ctx: l } = this;
		this.map = new mt(l), this.legend = new Je(l), this.object = new Et(l);
		let u = new Pt(l), d = new Lt(l), f = new ke(l), p = new jt(l);
		this.map.element.append(this.legend.element), this.frame = new ge(l, this.notices, {
			map: this.map.element,
			gallery: f.element,
			table: d.element
		}, {
			object: this.object.element,
			selection: new It(l).element,
			query: u.element,
			clusters: new kt(l).element,
			odd: new Nt(l).element,
			label: p.element
		}), new Ke(l, this.map, this.frame, p), n.can.drop && new pe(l, this.map, this.object), this.object.onHits = u.onHits = (e) => this.map.mark(e.map((e) => e.row)), R.describe = (e) => {
			let t = ae(this.column, e, T);
			return t === "" ? "" : `${ne(this.store.state.colour)}: ${t}`;
		}, this.opened = () => {
			d.restart(), f.list();
		}, this.watch();
	}
	watch() {
		let { store: e } = this;
		e.on(["map", "axes"], () => void this.showMap()), e.on(["colour"], () => {
			e.state.off.size && e.set({ off: /* @__PURE__ */ new Set() }), this.colour();
		}), e.on(["ramp", "reversed"], () => this.repaint()), e.on(["off", "filter"], () => this.reshow()), e.on(["chosen"], (e) => {
			e.chosen >= 0 && this.map.reveal(e.chosen);
		}), e.on(["where"], () => void this.applyWhere());
		let t = fe(250, () => {
			if (!this.options.address) return;
			let t = We(e.state, this.map.camera);
			window.history.replaceState(null, "", t ? `#${t}` : window.location.pathname + window.location.search);
		});
		e.on([
			"view",
			"panel",
			"map",
			"axes",
			"colour",
			"ramp",
			"reversed",
			"off",
			"where",
			"chosen",
			"selection",
			"like",
			"unlike",
			"picture"
		], t), this.map.onCamera = t, this.options.address && window.addEventListener("hashchange", () => this.restore(F(window.location.hash, this.ctx.space.n))), this.frame.onTheme = () => {
			let [e, t] = this.frame.mapColours();
			this.map.theme(e, t), this.repaint();
		}, new ResizeObserver(() => this.map.resize()).observe(this.map.stage);
	}
	async start() {
		let e = this.options.address ? F(window.location.hash, this.ctx.space.n) : {};
		this.frame.onTheme(), this.map.resize(), e.camera && this.map.setCamera(e.camera);
		let { state: t } = this.store;
		await Promise.all([
			t.map ? this.showMap() : Promise.resolve(),
			this.colour(),
			t.where ? this.applyWhere() : Promise.resolve()
		]), this.opened();
		for (let e of this.ctx.space.notes ?? []) this.notices.show(e, !1);
		t.chosen >= 0 && t.panel === "object" && this.object.show(t.chosen), this.ctx.root.dataset.ready = "true";
	}
	restore(e) {
		let t = Bt(this.ctx.space, e, this.options);
		this.store.set({
			...t,
			filter: this.store.state.filter,
			sheet: this.store.state.sheet,
			thumbs: this.store.state.thumbs,
			picking: this.store.state.picking,
			scope: this.store.state.scope
		}), this.map.setCamera(e.camera ?? { ...z });
	}
	async showMap() {
		let { map: e, axes: t } = this.store.state, n = this.ctx.space.maps.find((t) => t.name === e);
		n && await this.ctx.attempt(async () => {
			let r = this.maps.get(e) ?? await this.source.map(e, n.dims);
			this.maps.set(e, r), this.store.state.map === e && (this.map.setMap(e, r, n.dims, t[0] < n.dims && t[1] < n.dims ? t : [0, 1]), this.ctx.say(`Map ${e} shown.`));
		});
	}
	fetchColumn(e) {
		let t = this.columns.get(e);
		if (t) return t;
		let n = this.source.column(e, this.ctx.space);
		return this.columns.set(e, n), n.catch(() => this.columns.delete(e)), n;
	}
	async colour() {
		let { colour: e } = this.store.state;
		await this.ctx.attempt(async () => {
			let t = null;
			try {
				e && (t = await this.fetchColumn(e));
			} finally {
				this.store.state.colour === e && (this.column = t, this.repaint());
			}
		});
	}
	repaint() {
		let { ramp: e, reversed: t } = this.store.state;
		this.painted = re(this.column, this.ctx.space.n, e, t, this.frame.dark), this.legend.show(this.column, this.painted), this.reshow();
	}
	reshow() {
		let { filter: e, off: t } = this.store.state;
		this.legend.show(this.column, this.painted), this.map.setColours(this.painted.rgb, ie(this.ctx.space.n, e, this.column, t));
	}
	async applyWhere() {
		let { where: e } = this.store.state;
		await this.frame.filtering(async () => {
			let t = e ? await this.source.where(e) : null;
			this.store.state.where === e && this.store.set({
				filter: t,
				scope: t ? "filter" : this.store.state.scope === "filter" ? "all" : this.store.state.scope
			});
		});
	}
	async refresh() {
		await this.ctx.attempt(async () => {
			Object.assign(this.ctx.space, await this.source.space()), this.frame.refresh();
		});
	}
	choose(e, t) {
		this.map.dropped(null), this.store.set({
			chosen: e,
			dropped: null,
			...t ? {
				panel: this.store.state.panel === "label" ? "label" : "object",
				sheet: !0
			} : {}
		});
	}
};
function Bt(e, t, n) {
	let r = new Set(_(e).map((e) => e.value)), i = e.maps.find((e) => e.name === t.map) ?? e.maps.find((e) => e.name === "tsne") ?? e.maps.find((e) => e.name === "umap") ?? e.maps[0], a = n.colour ?? e.color ?? (e.clusters[0] ? `@cluster:${e.clusters[0].name}` : r.has("novelty") ? "novelty" : ""), o = t.colour !== void 0 && r.has(t.colour) ? t.colour : r.has(a) ? a : "";
	return {
		view: t.view ?? "map",
		panel: t.panel ?? "object",
		sheet: !1,
		map: i?.name ?? "",
		axes: t.axes ?? [0, 1],
		colour: o,
		ramp: t.ramp ?? "viridis",
		reversed: t.reversed ?? !1,
		off: new Set(t.off ?? []),
		where: t.where ?? "",
		filter: null,
		chosen: t.chosen ?? -1,
		dropped: null,
		selection: Uint32Array.from(t.selection ?? []),
		like: t.like ?? [],
		unlike: t.unlike ?? [],
		scope: "all",
		thumbs: !0,
		picking: !1,
		picture: t.picture ?? { ...M }
	};
}
// src/http.ts
function Vt(e) {
	let t = (e) => e.filter((e) => e.fresh !== !1);
	return {
		...e,
		columns: e.columns.filter((t) => (t.n_missing ?? 0) < e.n),
		maps: t(e.maps),
		clusters: t(e.clusters),
		anomalies: t(e.anomalies),
		scores: t(e.scores)
	};
}
function Ht(e, t) {
	let n = t.clusters.find((t) => `@cluster:${t.name}` === e);
	if (n) return Array.from({ length: n.k }, (e, t) => `cluster ${t}`);
	let r = t.label_sets.find((t) => `@label:${t.name}` === e);
	return r ? r.kind === "interest" ? [
		"0",
		"1",
		"2",
		"3",
		"4",
		"5"
	] : r.classes : t.columns.find((t) => t.name === e)?.categories ?? [];
}
// src/maths/bytes.ts
function Q(e) {
	let t = atob(e), n = new Uint8Array(t.length);
	for (let e = 0; e < t.length; e++) n[e] = t.charCodeAt(e);
	return n;
}
function Ut(e) {
	let t = new Uint16Array(e.buffer, 0, e.length >> 1), n = new Float32Array(t.length);
	for (let e = 0; e < t.length; e++) {
		let r = t[e] & 32768 ? -1 : 1, i = t[e] >> 10 & 31, a = t[e] & 1023;
		i === 0 ? n[e] = r * a * 2 ** -24 : i === 31 ? n[e] = a ? NaN : r * Infinity : n[e] = r * (1 + a / 1024) * 2 ** (i - 15);
	}
	return n;
}
function Wt(e) {
	let [t, n = ""] = e.split(",", 2);
	return new Blob([Q(n)], { type: t.replace(/^data:/, "").split(";")[0] });
}
function Gt(e) {
	let t = e == null || typeof e == "number" && Number.isNaN(e) ? "" : String(e);
	return /[",\r\n]/.test(t) ? `"${t.replaceAll("\"", "\"\"")}"` : t;
}
// src/embedded.ts
var Kt = 65535, qt = class {
	data;
	live = !1;
	formats = ["csv"];
	can;
	unit = null;
	packed = null;
	constructor(e) {
		this.data = e, this.can = {
			where: !1,
			drop: !1,
			alike: !1,
			labels: !1,
			samp: !1,
			link: !0,
			neighbours: !!e.vectors,
			pixels: !!e.pixels,
			thumbs: !!e.thumbs?.sprites.length
		};
	}
	space() {
		let { space: e } = this.data, t = (e) => e in this.data.columns;
		return Promise.resolve(Vt({
			...e,
			maps: e.maps.filter((e) => e.name in this.data.maps),
			clusters: e.clusters.filter((e) => t(`@cluster:${e.name}`)),
			anomalies: e.anomalies.filter((e) => this.data.anomalies?.[e.name]),
			scores: e.scores.filter((e) => t(`@score:${e.name}`)),
			label_sets: e.label_sets.filter((e) => t(`@label:${e.name}`)),
			density: e.maps.some((e) => t(`@density:${e.name}`)),
			columns: e.columns.filter((e) => e.kind === "text" || e.kind === "flags" || t(e.name))
		}));
	}
	map(e) {
		return Promise.resolve(new Float32Array(Q(this.data.maps[e]).buffer));
	}
	column(e, t) {
		let n = this.data.columns[e];
		if (!n) return Promise.reject(/* @__PURE__ */ Error(`The column ${e.replace(/^@\w+:/, "")} is not in this file.`));
		let { buffer: r } = Q(n.data);
		return n.kind === "category" ? Promise.resolve({
			kind: "category",
			values: new Int16Array(r),
			categories: n.categories ?? Ht(e, t)
		}) : Promise.resolve({
			kind: "number",
			values: new Float32Array(r)
		});
	}
	rows(e) {
		return Promise.resolve(e.map((e) => this.data.rows[e]).filter(Boolean));
	}
	table(e) {
		let { sort: t, descending: n } = e, r = e.rows ? e.rows.map((e) => this.data.rows[e]) : this.data.rows;
		if (t) {
			let e = (e) => e.columns?.[t] ?? e[t];
			r = r.slice().sort((t, r) => Jt(e(t), e(r), n));
		}
		return Promise.resolve({
			total: r.length,
			rows: r.slice(e.offset, e.offset + e.limit)
		});
	}
	where() {
		return $("Filters");
	}
	sprite(e) {
		let { size: t, columns: n, per_sprite: r, sprites: i } = this.data.thumbs, a = Math.min(i.length - 1, Math.floor(e[0] / r)), o = Array.from({ length: Math.min(r, this.data.space.n - a * r) }, (e, t) => a * r + t);
		return Promise.resolve({
			blob: Wt(i[a]),
			columns: n,
			size: t,
			rows: o
		});
	}
	pixels(e) {
		let t = this.data.pixels;
		if (!t || typeof e != "number") return $("Pixels");
		this.packed ??= new Uint16Array(Q(t.data).buffer);
		let [n, r, i] = t.shape, a = new Float32Array(n * r * i);
		for (let o = 0; o < n; o++) {
			let s = t.lo[e * n + o], c = (t.hi[e * n + o] - s) / 65534;
			for (let t = 0; t < r * i; t++) {
				let l = this.packed[(e * n + o) * r * i + t];
				a[o * r * i + t] = l === Kt ? NaN : s + l * c;
			}
		}
		let o = this.data.meta?.[e] ?? {};
		return Promise.resolve({
			shape: t.shape,
			full: o.full_shape ?? t.shape,
			data: a,
			level: o.level ?? [],
			sigma: o.sigma ?? [],
			bands: t.bands,
			unit: t.unit,
			orientation: {
				north_deg: null,
				east_left: null,
				scale_arcsec: null,
				row0: "bottom",
				...o.orientation
			}
		});
	}
	vectors() {
		let { dim: e, data: t } = this.data.vectors;
		if (!this.unit) {
			this.unit = Ut(Q(t));
			for (let t = 0; t < this.unit.length; t += e) Yt(this.unit.subarray(t, t + e));
		}
		return [this.unit, e];
	}
	neighbours(e) {
		let [t, n] = this.vectors(), r = Xt(t, n, e.like, e.unlike), i = /* @__PURE__ */ new Set([...e.like, ...e.unlike]), a = t.length / n, o = new Float32Array(a);
		for (let e = 0; e < a; e++) {
			let i = 0;
			for (let a = 0; a < n; a++) i += t[e * n + a] * r[a];
			o[e] = i;
		}
		let s = Uint32Array.from({ length: a }, (e, t) => t).filter((e) => !i.has(e) && !Number.isNaN(o[e])).sort((e, t) => o[t] - o[e]), c = (r) => {
			let i = 0;
			for (let a of e.like) for (let e = 0; e < n; e++) i += t[r * n + e] * t[a * n + e];
			return i / e.like.length;
		}, l = Array.from(s.subarray(0, e.k), (e) => ({
			row: e,
			id: this.data.rows[e]?.id ?? String(e),
			similarity: c(e)
		}));
		return Promise.resolve({
			hits: l,
			n_searched: s.length
		});
	}
	drop() {
		return $("Placing a file");
	}
	clusters(e) {
		let t = this.data.clusters?.[e];
		return t ? Promise.resolve(t) : $(`The gallery of ${e}`);
	}
	anomalies(e, t, n) {
		return Promise.resolve((this.data.anomalies?.[e] ?? []).slice(t, t + n));
	}
	alike() {
		return $("What makes two alike");
	}
	labels() {
		return $("Labels");
	}
	newLabels() {
		return $("Labels");
	}
	label() {
		return $("Labels");
	}
	undo() {
		return $("Labels");
	}
	score() {
		return $("Scores");
	}
	next() {
		return $("Labels");
	}
	labelExport() {
		return "#";
	}
	exportRows(e) {
		let t = this.data.space.columns.map((e) => e.name).filter((e) => ![
			"id",
			"ra",
			"dec"
		].includes(e)), n = [[
			"id",
			"ra",
			"dec",
			...t
		].map(Gt).join(",")];
		for (let r of e) {
			let e = this.data.rows[r];
			e && n.push([
				e.id,
				e.ra,
				e.dec,
				...t.map((t) => e.columns?.[t])
			].map(Gt).join(","));
		}
		return Promise.resolve(new Blob([n.join("\r\n"), "\r\n"], { type: "text/csv" }));
	}
	samp() {
		return $("SAMP");
	}
}, $ = (e) => Promise.reject(/* @__PURE__ */ Error(`${e} needs the server: open these embeddings with 'morphospace explore'.`));
function Jt(e, t, n) {
	let r = (e) => e == null || e === "" || typeof e == "number" && Number.isNaN(e);
	if (r(e) || r(t)) return Number(r(e)) - Number(r(t));
	let i = typeof e == "number" && typeof t == "number" ? e - t : String(e).localeCompare(String(t), "en");
	return n ? -i : i;
}
function Yt(e) {
	let t = 0;
	for (let n of e) t += n * n;
	let n = Math.sqrt(t) || 1;
	for (let t = 0; t < e.length; t++) e[t] /= n;
}
function Xt(e, t, n, r) {
	let i = new Float32Array(t), a = (n, r) => {
		for (let a of n) for (let o = 0; o < t; o++) i[o] += r * e[a * t + o] / n.length;
	};
	return a(n, 1), a(r, -.5), Yt(i), i;
}
// src/widget.ts
async function Zt({ model: e, el: t }) {
	let n = v("div", {
		class: "morphospace widget",
		style: { height: `${Number(e.get("height")) || 600}px` }
	});
	t.attachShadow({ mode: "open" }).append(v("style", {}, ":host{--lightningcss-light:initial;--lightningcss-dark: ;color-scheme:light dark}@media (prefers-color-scheme:dark){:host{--lightningcss-light: ;--lightningcss-dark:initial}}.morphospace{--paper:#f4f5f6;--panel:#fff;--map:#fcfcfb;--raised:#fff;--line:#dcdfe4;--line-strong:#b9bfc8;--text:#14171c;--soft:#565e6b;--accent:#2456c8;--accent-soft:#e6edfb;--on-accent:#fff;--good:#1d7f4e;--bad:#bf3427;--hover:#eef0f3;--shadow:0 1px 2px #1018280f, 0 6px 20px #1018281a;--small:11px;--body:13px;--large:15px;--radius:5px;--sans:system-ui, -apple-system, \"Segoe UI\", Roboto, \"Noto Sans\", \"DejaVu Sans\", sans-serif;--mono:ui-monospace, \"SF Mono\", \"Cascadia Mono\", \"DejaVu Sans Mono\", Menlo, Consolas, monospace;background:var(--paper);color:var(--text);font:400 var(--body) / 1.4 var(--sans);-webkit-text-size-adjust:100%;grid-template:\"top top\"\"main side\"minmax(0,1fr)\"status status\"/minmax(0,1fr) 388px;margin:0;display:grid;position:fixed;inset:0;overflow:hidden}.morphospace.widget{box-sizing:border-box;border:1px solid var(--line);border-radius:var(--radius);position:relative}.morphospace[data-theme=dark]{--lightningcss-light: ;--lightningcss-dark:initial;color-scheme:dark;--paper:#101216;--panel:#16191e;--map:#0d0f13;--raised:#1d2127;--line:#2a2f37;--line-strong:#4a515d;--text:#e7e9ed;--soft:#9ca4b1;--accent:#7ea4ff;--accent-soft:#1e2a45;--on-accent:#0d1220;--good:#53c28b;--bad:#ff8577;--hover:#21252c;--shadow:0 1px 2px #0006, 0 8px 24px #00000080}.morphospace[data-theme=light]{--lightningcss-light:initial;--lightningcss-dark: ;color-scheme:light}.morphospace *,.morphospace :before{box-sizing:border-box}.morphospace [hidden]{display:none!important}.morphospace :focus-visible{outline:2px solid var(--accent);outline-offset:1px}.morphospace h1,.morphospace h2,.morphospace h3,.morphospace p,.morphospace dl,.morphospace dd,.morphospace ul,.morphospace ol,.morphospace figure{margin:0;padding:0}.morphospace h1,.morphospace h2{font-size:var(--large);font-weight:600;line-height:1.3}.morphospace h3{font-size:var(--body);align-items:center;gap:6px;font-weight:600;display:flex}.morphospace h3 .quiet{font-weight:400}.quiet{color:var(--soft)}.mono,.id{font-family:var(--mono);font-size:12px}.id{overflow-wrap:anywhere}.only-read{clip-path:inset(50%);white-space:nowrap;width:1px;height:1px;position:absolute;overflow:hidden}.skip{z-index:30;background:var(--raised);color:var(--accent);border-radius:var(--radius);padding:6px 10px;position:absolute;top:-60px;left:8px}.skip:focus{top:8px}.icon{fill:none;stroke:currentColor;stroke-width:1.4px;stroke-linecap:round;stroke-linejoin:round;flex:none;width:16px;height:16px}.morphospace button,.morphospace input,.morphospace select{font:inherit;color:inherit}.morphospace button{cursor:pointer}.morphospace select:disabled{opacity:.45}.check:has(:disabled){opacity:.45}.morphospace button:disabled{opacity:.45;cursor:default}.icon-button{border-radius:var(--radius);width:28px;height:28px;color:var(--soft);background:0 0;border:0;place-items:center;padding:0;display:inline-grid}.icon-button:hover,.text-button:hover{background:var(--hover);color:var(--text)}.icon-button[aria-pressed=true]{background:var(--accent-soft);color:var(--accent)}.button{border:1px solid var(--line-strong);border-radius:var(--radius);background:var(--raised);height:28px;color:var(--text);white-space:nowrap;align-items:center;gap:5px;padding:0 10px;text-decoration:none;display:inline-flex}.button:hover{background:var(--hover)}.button.toggle[aria-pressed=true]{background:var(--accent-soft);border-color:var(--accent);color:var(--accent)}.button.primary{background:var(--accent);border-color:var(--accent);color:var(--on-accent)}.button.primary:hover{filter:brightness(1.08)}.text-button{border-radius:var(--radius);background:0 0;border:0;padding:2px 6px;color:var(--accent)!important}.buttons{flex-wrap:wrap;gap:6px;margin:8px 0;display:flex}.field{align-items:center;gap:6px;min-width:0;display:inline-flex}.field>span{color:var(--soft);white-space:nowrap}.morphospace select,.morphospace input[type=text],.morphospace input[type=number]{border:1px solid var(--line-strong);border-radius:var(--radius);background:var(--raised);min-width:0;height:28px;padding:0 8px}.morphospace select{text-overflow:ellipsis;max-width:190px;padding-right:4px}.morphospace input[aria-invalid=true]{border-color:var(--bad);outline-color:var(--bad)}.morphospace input::placeholder{color:var(--soft);opacity:.75}.morphospace input[type=range],.morphospace input[type=checkbox]{accent-color:var(--accent)}.top{background:var(--panel);border-bottom:1px solid var(--line);grid-area:top;align-items:center;gap:14px;height:46px;padding:0 12px;display:flex}.title{align-items:center;gap:8px;min-width:0;max-width:220px;display:flex}.title .name{font-size:var(--large);text-overflow:ellipsis;white-space:nowrap;font-weight:600;overflow:hidden}.badge{border:1px solid var(--line-strong);font-size:var(--small);color:var(--soft);white-space:nowrap;border-radius:9px;padding:1px 6px}.switch{background:var(--paper);border:1px solid var(--line);border-radius:7px;padding:2px;display:flex}.switch button{border-radius:var(--radius);height:26px;color:var(--soft);background:0 0;border:0;align-items:center;gap:5px;padding:0 10px;display:flex}.switch button[aria-selected=true]{background:var(--raised);color:var(--text);box-shadow:0 0 0 1px var(--line), 0 1px 2px #00000014}.choosers,.axes{gap:10px;min-width:0;display:flex}.filter{flex:auto;align-items:center;min-width:120px;display:flex;position:relative}.filter .where{width:100%;font-family:var(--mono);padding-right:84px!important;font-size:12px!important}.filter .clear{position:absolute;right:0}.filter .where:placeholder-shown+.clear{display:none}.filter-note{font-size:var(--small);color:var(--accent);pointer-events:none;position:absolute;right:30px}.right{gap:2px;margin-left:auto;display:flex}.main{grid-area:main;min-width:0;min-height:0;position:relative}.main>*{position:absolute;inset:0}.stage{background:var(--map);touch-action:none;cursor:grab;position:absolute;inset:0;overflow:hidden}.stage:active{cursor:grabbing}.stage.over{cursor:pointer}.stage[data-tool=lasso],.stage[data-tool=box]{cursor:crosshair}.stage:focus-visible{outline-offset:-3px}.stage:focus-visible:after{content:\"\";background:linear-gradient(var(--accent), var(--accent)) center / 1px 16px no-repeat, linear-gradient(var(--accent), var(--accent)) center / 16px 1px no-repeat;pointer-events:none;width:16px;height:16px;position:absolute;top:calc(50% - 8px);left:calc(50% - 8px)}.stage canvas{width:100%;height:100%;position:absolute;inset:0}.overlay{pointer-events:none}.no-webgl{text-align:center;color:var(--soft);position:absolute;inset:auto 20% 50%}.map-tools{border:1px solid var(--line);background:var(--raised);box-shadow:var(--shadow);border-radius:7px;flex-direction:column;gap:2px;padding:3px;display:flex;position:absolute;top:10px;left:10px}.map-tools .rule{background:var(--line);height:1px;margin:2px 4px}.legend{border:1px solid var(--line);background:color-mix(in srgb, var(--raised) 94%, transparent);max-width:min(320px,100% - 20px);max-height:46%;box-shadow:var(--shadow);border-radius:7px;padding:8px 10px;position:absolute;bottom:10px;left:10px;overflow:auto}.legend-title{font-size:var(--body)!important;margin-bottom:6px!important}.colour-bar{border-radius:2px;width:240px;max-width:100%;height:10px}.bar-ends{font-size:var(--small);font-variant-numeric:tabular-nums;color:var(--soft);justify-content:space-between;display:flex}.bar-tools{justify-content:space-between;align-items:center;margin-top:4px;display:flex}.morphospace select.small{height:24px;font-size:var(--small)}.field.bare>span{font-size:var(--small)}.chips{flex-wrap:wrap;gap:4px;display:flex}.chip{border:1px solid var(--line);background:var(--raised);border-radius:12px;align-items:center;gap:5px;max-width:180px;height:24px;padding:0 7px;display:inline-flex;font-size:12px!important}.chip:hover{border-color:var(--line-strong)}.chip[aria-pressed=false]{opacity:.45;text-decoration:line-through}.chip-name{text-overflow:ellipsis;white-space:nowrap;overflow:hidden}.swatch{background:var(--line-strong);border-radius:50%;flex:none;width:10px;height:10px;display:inline-block}.count{font-size:var(--small);font-variant-numeric:tabular-nums;color:var(--soft)}.hover{z-index:4;border:1px solid var(--line);background:var(--raised);width:130px;box-shadow:var(--shadow);pointer-events:none;border-radius:7px;padding:8px;position:absolute}.hover .thumb{width:112px;height:112px;margin-bottom:5px}.hover .id{font-size:var(--small);-webkit-line-clamp:2;-webkit-box-orient:vertical;display:-webkit-box;overflow:hidden}.hover .value{color:var(--soft);text-overflow:ellipsis;white-space:nowrap;font-size:12px;overflow:hidden}.thumb{background-color:#000;background-repeat:no-repeat;border-radius:3px;display:block}.thumb.waiting{background:var(--hover)}.gallery-view,.table-view{background:var(--panel);flex-direction:column;display:flex}.view-tools{border-bottom:1px solid var(--line);flex-wrap:wrap;align-items:center;gap:12px;padding:8px 12px;display:flex}.view-tools .hint{margin-left:auto}.scroller{contain:strict;flex:1;min-height:0;position:relative;overflow:auto}.scroller:focus-visible{outline-offset:-3px}.gallery-view .scroller{background:var(--map)}.gallery-view .scroller[aria-busy=true]{opacity:.6}.scroll-space{position:relative;overflow:hidden}.tile{cursor:pointer;position:absolute;top:0;left:0}.tile[aria-selected=true]{box-shadow:0 0 0 2px var(--map), 0 0 0 4px var(--accent);z-index:1}.tile.chosen{box-shadow:0 0 0 2px var(--map), 0 0 0 4px var(--text);z-index:2}.scroller:focus-visible .tile.cursor{outline:2px dashed var(--accent);outline-offset:1px;z-index:3}.line{grid-template-columns:minmax(200px, 2fr) repeat(calc(var(--columns) - 1), minmax(96px, 1fr));height:26px;min-width:calc(200px + (var(--columns) - 1) * 96px);align-items:center;width:100%;font-size:12px;display:grid}.table-view .scroll-space{min-width:calc(200px + (var(--columns) - 1) * 96px);overflow:clip}.scroll-space .line{border-bottom:1px solid color-mix(in srgb, var(--line) 60%, transparent);cursor:default;position:absolute;top:0;left:0}.scroll-space .line:hover{background:var(--hover)}.line[aria-selected=true]{background:var(--accent-soft)!important}.line.chosen{box-shadow:inset 3px 0 0 var(--accent)}.scroller:focus-visible .line.cursor{outline:2px dashed var(--accent);outline-offset:-2px}.line.head{z-index:3;background:var(--panel);border-bottom:1px solid var(--line-strong);position:sticky;top:0}.line.head button{text-overflow:ellipsis;white-space:nowrap;background:0 0;border:0;max-width:100%;padding:0;font-weight:600;overflow:hidden}.cell{text-overflow:ellipsis;white-space:nowrap;padding:0 10px;overflow:hidden}.cell.numeric{text-align:right;font-variant-numeric:tabular-nums}.side{background:var(--panel);border-left:1px solid var(--line);flex-direction:column;grid-area:side;min-height:0;display:flex}.tabs{border-bottom:1px solid var(--line);scrollbar-width:none;flex:none;justify-content:space-between;padding:0 10px;display:flex;overflow-x:auto}.tabs button{color:var(--soft);white-space:nowrap;background:0 0;border:0;border-bottom:2px solid #0000;padding:9px 4px 8px}.tabs button .count{color:var(--accent);margin-left:3px}.tabs button:hover{color:var(--text)}.tabs button[aria-selected=true]{color:var(--text);border-bottom-color:var(--accent)}.panel-body{flex:1;min-height:0;padding:14px 18px 20px;overflow:auto}.panel-body:focus-visible{outline-offset:-3px}.panel-body section{margin-top:16px}.panel-body>h2{margin-bottom:8px}.panel-body h3{margin:14px 0 6px}.empty{color:var(--soft);padding:24px 8px}.empty p+p{margin-top:8px}.object-head{grid-template-columns:1fr auto;align-items:center;gap:0 8px;margin-bottom:8px;display:grid}.object-head h2{font-size:13px}.object-head p{grid-column:1/-1}.actions{display:flex}.picture-frame{display:block}.picture{aspect-ratio:1;border-radius:var(--radius);background:repeating-conic-gradient(#2a2a2e 0 25%, #222226 0 50%) 0 0 / 12px 12px;width:100%;max-width:420px;display:block}.caption{font-size:var(--small);font-variant-numeric:tabular-nums;margin-top:4px!important}.fields{grid-template-columns:1fr 1fr;gap:6px 14px;margin-top:8px;display:grid}.fields .field{justify-content:space-between}.fields .field>select,.fields .field>input{flex:0 104px;width:60px}.picture-controls{margin-top:8px}.stack-fields{grid-template-columns:repeat(12,1fr);gap:6px 8px;display:grid}.stack-fields .field{grid-column:span 3;gap:1px;display:grid}.stack-fields .field:has(select){grid-column:span 4}.stack-fields.two .field:has(select){grid-column:span 6}.stack-fields .field>span{font-size:var(--small)}.stack-fields select,.stack-fields input{width:100%;max-width:none!important}.checks{align-items:center;gap:14px;margin:8px 0 2px;display:flex}.check{align-items:center;gap:5px;display:inline-flex}.checks .text-button{margin-left:auto}.strip{grid-template-columns:repeat(auto-fill, minmax(calc(var(--thumb) + 14px), 1fr));gap:8px 6px;list-style:none;display:grid}.strip li{min-width:0;position:relative}.card{border-radius:var(--radius);background:0 0;border:0;flex-direction:column;align-items:center;width:100%;padding:3px;display:flex}.card:hover{background:var(--hover)}.card .thumb{width:var(--thumb);height:var(--thumb)}.card .id{width:100%;color:var(--soft);text-align:center;text-overflow:ellipsis;white-space:nowrap;margin-top:2px;font-size:10px;line-height:1.25;overflow:hidden}.card .note{font-size:var(--small);font-variant-numeric:tabular-nums}.card-tools{border-radius:var(--radius);background:var(--raised);box-shadow:var(--shadow);opacity:0;gap:1px;display:flex;position:absolute;top:3px;left:50%;transform:translate(-50%)}.card-tools .icon-button{width:22px;height:22px}.strip li:hover .card-tools,.strip li:focus-within .card-tools{opacity:1}.bare-names .card .id{clip-path:inset(50%);width:1px;height:1px;position:absolute;overflow:hidden}.cluster h3{white-space:nowrap}.cluster h3 .quiet{text-overflow:ellipsis;min-width:0;font-size:var(--small);overflow:hidden}.cluster h3 .text-button{flex:none;margin-left:auto}.bare-names .strip{grid-template-columns:repeat(auto-fill, minmax(calc(var(--thumb) + 6px), 1fr));gap:4px 2px}.outs{gap:14px;display:flex;margin-top:4px!important}.out{color:var(--accent);align-items:center;gap:3px;text-decoration:none;display:inline-flex}.out:hover{text-decoration:underline}.out .icon{width:12px;height:12px}.facts{grid-template-columns:minmax(90px,auto) 1fr;gap:3px 14px;font-size:12px;display:grid}.facts dt{color:var(--soft);overflow-wrap:anywhere}.facts dd{text-align:right;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}.example-group{border:1px solid var(--line);border-radius:var(--radius);border-left-width:3px;flex-wrap:wrap;align-items:center;gap:6px;min-height:58px;margin-bottom:6px;padding:6px 8px;display:flex}.example-group.like{border-left-color:var(--good)}.example-group.unlike{border-left-color:var(--bad)}.group-name{align-items:center;gap:4px;width:54px;display:inline-flex}.example{position:relative}.example .thumb{border:0;width:44px;height:44px;padding:0}.example .icon-button{background:var(--raised);width:18px;height:18px;box-shadow:0 0 0 1px var(--line-strong);border-radius:50%;position:absolute;top:-6px;right:-6px}.example .icon-button .icon{width:10px;height:10px}.odd-list{list-style:none;margin:10px 0!important}.odd{border:0;border-bottom:1px solid var(--line);text-align:left;background:0 0;grid-template-columns:30px 52px 1fr;align-items:center;gap:10px;width:100%;padding:5px 4px;display:grid}.odd:hover{background:var(--hover)}.odd[aria-pressed=true]{background:var(--accent-soft)}.odd .rank{text-align:right;color:var(--soft);font-variant-numeric:tabular-nums}.odd .thumb{width:52px;height:52px}.odd-text{grid-template-columns:1fr auto;gap:0 8px;min-width:0;display:grid}.odd-text .reason{color:var(--soft);grid-column:1/-1;font-size:12px}.labelling .picture-frame{width:min(100%,290px);margin:10px auto 0}.sentence:first-letter{text-transform:uppercase}.label-buttons{flex-wrap:wrap;gap:6px;margin:8px 0;display:flex}.label-button{border:1px solid var(--line-strong);border-radius:var(--radius);background:var(--raised);justify-content:center;align-items:center;gap:6px;min-width:38px;height:32px;padding:0 10px;display:inline-flex}.label-button:hover{background:var(--hover)}.label-button[aria-pressed=true]{background:var(--accent);border-color:var(--accent);color:var(--on-accent)!important}.label-button[aria-pressed=true] kbd{color:inherit;border-color:currentColor}.current{margin-top:4px!important}.morphospace progress{width:100%;height:6px;accent-color:var(--accent)}.new-set form{gap:6px;margin-top:8px;display:grid}.morphospace summary{cursor:pointer;color:var(--soft)}.folded{margin-top:10px}.folded .facts{margin:8px 0}.new-set{border:1px solid var(--line);border-radius:var(--radius);margin:16px 0 10px;padding:10px 12px}.new-set .field{justify-content:space-between}.new-set .field input,.new-set .field select{width:220px}.new-set .button{justify-self:end}.morphospace kbd{border:1px solid var(--line-strong);min-width:20px;font:11px/17px var(--mono);text-align:center;color:var(--soft);border-radius:4px;padding:0 4px;display:inline-block}.status{border-top:1px solid var(--line);background:var(--panel);font-size:var(--small);color:var(--soft);font-variant-numeric:tabular-nums;white-space:nowrap;grid-area:status;justify-content:space-between;gap:12px;padding:3px 12px;display:flex;overflow:hidden}.notices{z-index:20;pointer-events:none;flex-direction:column;gap:8px;width:min(380px,100vw - 24px);display:flex;position:absolute;bottom:36px;right:404px}.notice{border:1px solid var(--line);border-left:3px solid var(--accent);border-radius:var(--radius);background:var(--raised);box-shadow:var(--shadow);pointer-events:auto;align-items:flex-start;gap:8px;padding:9px 8px 9px 12px;display:flex}.notice.bad{border-left-color:var(--bad)}.notice p{overflow-wrap:anywhere;flex:1}.notice .icon-button{width:20px;height:20px}.dialog{border:1px solid var(--line);background:var(--panel);max-width:min(520px,100vw - 32px);max-height:calc(100vh - 48px);color:var(--text);box-shadow:var(--shadow);border-radius:9px;padding:16px 20px 20px}.dialog.wide{max-width:min(720px,100vw - 32px)}.dialog::backdrop{background:#080a0e73}.dialog header{justify-content:space-between;align-items:center;margin-bottom:10px;display:flex}.shortcuts{grid-template-columns:auto 1fr;gap:5px 16px;display:grid;margin-bottom:14px!important}.shortcuts dt{align-items:flex-start;gap:4px;display:flex}.pair{grid-template-columns:1fr 1fr;gap:14px;margin-bottom:6px;display:grid}.veil{z-index:40;background:color-mix(in srgb, var(--accent) 16%, transparent);border:3px dashed var(--accent);pointer-events:none;place-items:center;display:grid;position:absolute;inset:0}.veil p{border-radius:var(--radius);background:var(--raised);box-shadow:var(--shadow);font-size:var(--large);padding:12px 18px}.loading,.fatal{text-align:center;max-width:560px;color:var(--soft);grid-area:main/1/main/-1;place-self:center}.fatal h1{color:var(--text);margin-bottom:8px}.fatal .button{margin-top:14px}@media (prefers-color-scheme:dark){.morphospace:not([data-theme]){color:#e7e9ed;background:#101216}}@media (max-width:1100px){.morphospace{grid-template-columns:minmax(0,1fr) 340px}.top{flex-wrap:wrap;gap:6px 12px;height:auto;padding:6px 12px}.filter{flex-basis:100%;order:5}.notices{right:356px}.tabs button{padding:9px 4px 8px}}@media (max-width:760px){.morphospace{grid-template:\"top\"\"main\"minmax(0,1fr)\"side\"/minmax(0,1fr)}.top{gap:6px 8px;padding:6px 8px}.title{max-width:34vw}.title .badge{display:none}.switch button{height:30px;padding:0 8px}.switch button span{display:none}.choosers{flex:100%;order:4}.choosers .field{flex:1}.choosers select{flex:1;width:0;max-width:none!important}.icon-button{width:34px;height:34px}.morphospace select,.morphospace input[type=text],.morphospace input[type=number],.button{height:34px;font-size:16px}.button{font-size:var(--body)}.status{display:none}.side{border-left:0;border-top:1px solid var(--line);box-shadow:var(--shadow);z-index:6}.side .panel-body{flex:none;height:min(62vh,560px)}.side[data-sheet=closed] .panel-body{display:none}.tabs{padding:0 4px}.tabs button{padding:13px 6px 12px}.side[data-sheet=closed] .tabs button[aria-selected=true]{color:var(--soft);border-bottom-color:#0000}.legend{max-height:104px}.morphospace:has(.side[data-sheet=open]) .legend{display:none}.chips{flex-wrap:wrap}.notices{bottom:60px;right:12px}.card-tools{box-shadow:none;opacity:1;background:0 0;justify-content:center;position:static;transform:none}.view-tools .hint{display:none}.fields{grid-template-columns:1fr}}@media (prefers-reduced-motion:no-preference){.card-tools,.icon-button,.button,.chip{transition:background-color .12s,opacity .12s,border-color .12s}}"), n);
	let r = new qt(e.get("data")), i = e.get("color"), a = new zt(n, r, await r.space(), {
		address: !1,
		colour: typeof i == "string" && i ? i : void 0
	});
	await a.start();
	let { store: o } = a, s = (t) => Array.isArray(e.get(t)) ? e.get(t) : [], c = !1, l = (t, n) => {
		c = !0, e.set(t, n), e.save_changes(), c = !1;
	};
	o.on(["selection"], (e) => l("selection", Array.from(e.selection))), o.on(["chosen"], (e) => l("chosen", e.chosen));
	let u = {
		"change:selection": () => o.set({ selection: Uint32Array.from(s("selection")).sort() }),
		"change:chosen": () => o.set({ chosen: Number(e.get("chosen") ?? -1) }),
		"change:color": () => o.set({ colour: String(e.get("color") ?? "") })
	}, d = Object.entries(u).map(([e, t]) => [e, () => c || t()]);
	for (let [t, n] of d) e.on(t, n);
	return s("selection").length && u["change:selection"](), () => d.forEach(([t, n]) => e.off(t, n));
}
var Qt = { render: Zt };
export { Qt as default };
