import { nearest } from "../data/epochs";
import { epochPhrase, shorten } from "../data/formatting";
import { useAppState } from "../state/state";
import { togglePlay } from "./playback";
import "./cursorBar.css";

/** The cursor and the chosen layer, which all views share. */
export function CursorBar() {
  const state = useAppState();
  const steps = state.steps.value;
  const at = nearest(steps, state.cursor.value);
  const last = steps.length - 1;
  return (
    <div class="cursor-bar" role="group" aria-label="Epoch and layer">
      <PlayButton />
      <input
        class="slider"
        type="range"
        aria-label="Epoch"
        aria-valuetext={epochPhrase(state.cursor.value)}
        min={0}
        max={Math.max(0, last)}
        value={at}
        onInput={(event) => {
          state.moveTo(steps[Number(event.currentTarget.value)] ?? 0);
        }}
      />
      <output class="epoch" aria-label="Epoch at the cursor">
        {epochPhrase(state.cursor.value)}
        {state.fields.epoch.cell.value === null && <span class="muted"> · newest</span>}
      </output>
      <LayerSelect />
      {state.fields.zoom.cell.value && (
        <button
          type="button"
          class="button"
          onClick={() => {
            state.fields.zoom.cell.value = null;
          }}
        >
          All epochs
        </button>
      )}
    </div>
  );
}

function LayerSelect() {
  const state = useAppState();
  return (
    <label class="field">
      <span>Layer</span>
      <select
        aria-label="Layer"
        value={state.layer.value ?? ""}
        onChange={(event) => {
          state.select(event.currentTarget.value);
        }}
      >
        {state.layers.value.map((name) => (
          <option key={name} value={name}>
            {shorten(name, 48)}
          </option>
        ))}
      </select>
    </label>
  );
}

function PlayButton() {
  const state = useAppState();
  const playing = state.playing.value;
  return (
    <button
      type="button"
      class="button play"
      aria-pressed={playing}
      title="Space bar"
      onClick={() => {
        togglePlay(state);
      }}
    >
      {playing ? "Pause" : "Play"}
    </button>
  );
}
