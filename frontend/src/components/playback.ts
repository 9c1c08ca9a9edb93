import { useEffect } from "preact/hooks";
import type { State } from "../state/state";

const FRAME = 120; // milliseconds for each epoch

/** Moves the cursor on while the page plays, until it reaches the newest epoch. */
export function usePlayback(state: State): void {
  const playing = state.playing.value;
  useEffect(() => {
    if (!playing) return;
    const timer = window.setInterval(() => {
      if (state.cursor.peek() >= state.fullRange.peek()[1]) state.playing.value = false;
      else state.moveCursor(1);
    }, FRAME);
    return () => {
      window.clearInterval(timer);
    };
  }, [playing, state]);
}

/** Starts or stops. If the cursor is at the end, it starts from the beginning. */
export function togglePlay(state: State): void {
  const playing = state.playing.peek();
  const [first, last] = state.fullRange.peek();
  if (!playing && state.cursor.peek() >= last) state.moveTo(first);
  state.playing.value = !playing;
}
