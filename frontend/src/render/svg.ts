/** A small SVG writer for figures. Names from event files cannot break out of its text. */

export interface Shape {
  readonly tag: string;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly children: readonly (Shape | string)[];
}

export function shape(
  tag: string,
  attributes: Readonly<Record<string, string | number>>,
  ...children: readonly (Shape | string)[]
): Shape {
  return { tag, attributes, children };
}

/** The shape as XML. */
export function xml({ tag, attributes, children }: Shape): string {
  const written = Object.entries(attributes)
    .map(([name, value]) => ` ${name}="${escape(rounded(value))}"`)
    .join("");
  const inner = children.map((c) => (typeof c === "string" ? escape(c) : xml(c))).join("");
  return inner ? `<${tag}${written}>${inner}</${tag}>` : `<${tag}${written}/>`;
}

function rounded(value: string | number): string {
  return typeof value === "string" ? value : String(Math.round(value * 100) / 100);
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};

// XML 1.0 allows no control characters and lone surrogates, not even escaped.
// eslint-disable-next-line no-control-regex -- they are what is searched for
const FORBIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

function escape(text: string): string {
  return text
    .toWellFormed()
    .replace(FORBIDDEN, "\ufffd")
    .replace(/[&<>"]/g, (sign) => ENTITIES[sign] ?? sign);
}

export const INK = "#202124";
export const FAINT = "#5f6368";
export const RULE = "#dadce0";

interface TextOptions {
  readonly anchor?: "start" | "middle" | "end";
  readonly fill?: string;
  readonly size?: number;
  readonly weight?: number;
}

/** Text whose baseline starts, is centred or ends at x, y. */
export function text(x: number, y: number, content: string, options: TextOptions = {}): Shape {
  const { anchor = "start", fill = INK, size = 11, weight = 400 } = options;
  const attributes = {
    x,
    y,
    fill,
    "font-size": size,
    "text-anchor": anchor,
    "font-weight": weight,
  };
  return shape("text", attributes, content);
}

export function line(
  [x1, y1, x2, y2]: readonly [number, number, number, number],
  stroke: string,
  width = 1,
  dash: readonly number[] = [],
): Shape {
  const attributes = { x1, y1, x2, y2, stroke, "stroke-width": width };
  return shape(
    "line",
    dash.length ? { ...attributes, "stroke-dasharray": dash.join(" ") } : attributes,
  );
}

export function group(x: number, y: number, ...children: readonly Shape[]): Shape {
  return shape(
    "g",
    { transform: `translate(${Math.round(x * 100) / 100},${Math.round(y * 100) / 100})` },
    ...children,
  );
}

/** A whole figure on a white ground, with its title above it. */
export interface Figure {
  readonly title: string;
  readonly width: number;
  readonly height: number;
  readonly body: readonly Shape[];
}

const TITLE = 30;

/** The figure as a document. */
export function svgDocument(figure: Figure): string {
  const width = Math.ceil(figure.width);
  const height = Math.ceil(figure.height + TITLE);
  return xml(
    shape(
      "svg",
      {
        xmlns: "http://www.w3.org/2000/svg",
        width,
        height,
        viewBox: `0 0 ${width} ${height}`,
        "font-family": "Helvetica, Arial, sans-serif",
      },
      shape("title", {}, figure.title),
      shape("rect", { width, height, fill: "#ffffff" }),
      text(10, 20, figure.title, { size: 13, weight: 600 }),
      group(0, TITLE, ...figure.body),
    ),
  );
}
