// Deleting a job asks first.

import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { ask, forgetJob } from "./api.js";
import { Failure } from "./parts.jsx";

export function DeleteDialog({ job, close, deleted }) {
  const dialog = useRef();
  const [error, fail] = useState(null);
  const [busy, setBusy] = useState(false);
  const id = useId();
  // A modal keeps the focus inside, closes on Escape, and gives the focus back to the button that opened it.
  useLayoutEffect(() => dialog.current.showModal(), []);
  const remove = async () => {
    setBusy(true);
    try {
      await ask(`/v1/jobs/${job.id}`, { method: "DELETE" });
    } catch (e) {
      fail(e);
      setBusy(false);
      return;
    }
    forgetJob(job.id);
    dialog.current.close();
    deleted(job);
  };
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={close}>
      <h2 id={id}>Delete job …{job.id.slice(-8)}?</h2>
      <p>
        {job.request.model} on {job.request.corpus.id}.{job.status === "succeeded" && " Its result is deleted too."} This
        cannot be undone.
      </p>
      {error && <Failure error={error} />}
      <p class="buttons">
        <button type="button" class="second" autofocus onClick={() => dialog.current.close()}>Keep it</button>
        <button type="button" class="danger" disabled={busy} onClick={remove}>Delete it</button>
      </p>
    </dialog>
  );
}
