import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";

// Import direction: data, scale <- render; data <- api <- state; render, state <- components <- views
// <- page <- index. What a folder may import is listed here.
const ALLOWED = {
  data: [],
  scale: [],
  api: ["data"],
  render: ["data", "scale"],
  state: ["api", "data", "scale"],
  components: ["api", "data", "scale", "render", "state"],
  views: ["api", "data", "scale", "render", "state", "components"],
  page: ["api", "data", "scale", "render", "state", "components", "views"],
};

/** @param {[string, string[]]} entry */
const direction = ([folder, allowed]) => ({
  files: [`src/${folder}/**/*.{ts,tsx}`],
  rules: {
    "no-restricted-imports": [
      "error",
      {
        patterns: [
          ...[...Object.keys(ALLOWED), "index"]
            .filter((name) => name !== folder && !allowed.includes(name))
            .map((name) => ({
              regex: `^(\\.\\./)+(${name})(/|$)`,
              message: `src/${folder} must not know src/${name}.`,
            })),
          ...(folder === "views" ? [OTHER_VIEW] : []),
        ],
      },
    ],
  },
});

const OTHER_VIEW = {
  regex: `^\\.\\./(?!\\.\\.|view$|(${Object.keys(ALLOWED).join("|")})/)`,
  message: "A view must not know another one: what both need is a component.",
};

export default defineConfig(
  { ignores: ["node_modules"] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: {
        projectService: { allowDefaultProject: ["eslint.config.js"] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      // Names are cut for people to read; whole code points are enough.
      "@typescript-eslint/no-misused-spread": ["error", { allow: ["string"] }],
      "no-restricted-globals": [
        "error",
        { name: "fetch", message: "Only src/api/http.ts fetches." },
      ],
      "no-restricted-syntax": [
        "error",
        {
          selector: "Identifier[name=/^(innerHTML|outerHTML|insertAdjacentHTML)$/]",
          message: "Names from event files are hostile: text only.",
        },
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: "Names from event files are hostile: text only.",
        },
      ],
      complexity: ["error", 12],
      "max-lines-per-function": ["error", { max: 90, skipComments: true, skipBlankLines: true }],
    },
  },
  { files: ["src/api/http.ts"], rules: { "no-restricted-globals": "off" } },
  {
    files: ["tests/**", "*.js"],
    rules: { "max-lines-per-function": "off", "@typescript-eslint/no-non-null-assertion": "off" },
  },
  ...Object.entries(ALLOWED).map(direction),
);
