const RECORD = `from sparsight_torch import Recorder

with Recorder(model, probes, "runs/first") as recorder:
    recorder.record(-1)              # before training
    for epoch in range(epochs):
        ...                          # train as you do
        recorder.record(epoch, scalars={"loss/validation": loss})`;

const ANALYZE = "sparsight analyze checkpoints/*.onnx --probes probes.npz --logdir runs/first";

/** What to do if there is no run yet. */
export function NoRuns() {
  return (
    <main class="empty">
      <h1>No run has Sparsight data yet</h1>
      <p>
        Sparsight measures the entropy of every layer’s responses on a fixed set of held-out
        samples, epoch by epoch, and shows which layers overfit, when, and where in the image. There
        are two ways to write a first run.
      </p>
      <h2>While training with PyTorch</h2>
      <p>
        <code>probes</code> holds a few hundred samples that are used for neither training nor
        validation.
      </p>
      <pre>
        <code>{RECORD}</code>
      </pre>
      <h2>From exported checkpoints, without training code</h2>
      <pre>
        <code>{ANALYZE}</code>
      </pre>
      <p class="muted">
        Then start <code>tensorboard --logdir runs</code>. This page checks again every few seconds.
      </p>
    </main>
  );
}
