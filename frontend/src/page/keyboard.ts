import type { State } from "../state/state";
import { togglePlay } from "../components/playback";

const FAR = 10;

/** Arrow keys move the cursor and the layer, Home and End go to the ends, the space bar plays. */
export function onKey(state: State, event: KeyboardEvent): void {
  const far = event.shiftKey && isSlider(event.target); // a slider itself knows single steps only
  if (event.ctrlKey || event.metaKey || event.altKey || (isField(event.target) && !far)) return;
  const action = actionOf(state, event);
  if (!action) return;
  event.preventDefault();
  action();
}

function actionOf(state: State, event: KeyboardEvent): (() => void) | undefined {
  const by = event.shiftKey ? FAR : 1;
  const actions: Partial<Record<string, () => void>> = {
    ArrowLeft: () => {
      state.moveCursor(-by);
    },
    ArrowRight: () => {
      state.moveCursor(by);
    },
    ArrowUp: () => {
      state.moveLayer(-1);
    },
    ArrowDown: () => {
      state.moveLayer(1);
    },
    Home: () => {
      state.moveTo(state.fullRange.peek()[0]);
    },
    End: () => {
      state.moveTo(state.fullRange.peek()[1]);
    },
    " ": isButton(event.target)
      ? undefined
      : () => {
          togglePlay(state);
        },
  };
  return actions[event.key];
}

/** The slider of the epochs. */
function isSlider(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.classList.contains("slider");
}

function isField(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLSelectElement ||
    target instanceof HTMLTextAreaElement ||
    (target instanceof HTMLInputElement && target.type !== "checkbox")
  );
}

function isButton(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("button, summary, input");
}
