import { describe, expect, it } from "vitest";
import { shape, svgDocument, text, xml } from "../src/render/svg";

describe("SVG", () => {
  it("cannot be broken out of", () => {
    const evil = `</text><script>alert(1)</script>" onload='x' & \u0000\ud800`;
    const written = xml(text(0, 0, evil));
    expect(written).not.toContain("<script");
    expect(written.match(/<\/text>/g)).toHaveLength(1);
    expect(written).toContain("&amp;");
    expect(written).toMatch(/\ufffd\ufffd<\/text>$/);
    expect(xml(shape("rect", { title: evil }))).not.toContain('" onload');
  });

  it("is a document with a title, whose numbers are short", () => {
    const figure = { title: "A <b>", width: 10.4, height: 20, body: [text(1 / 3, 2, "x")] };
    const written = svgDocument(figure);
    expect(written).toContain('<svg xmlns="http://www.w3.org/2000/svg" width="11" height="50"');
    expect(written).toContain("<title>A &lt;b&gt;</title>");
    expect(written).toContain('x="0.33"');
  });
});
