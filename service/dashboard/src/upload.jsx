// A corpus of one's own: a file or pasted texts, which the service keeps under a name.

import { useEffect, useRef, useState } from "preact/hooks";
import { query, upload } from "./api.js";
import { bytes } from "./format.js";
import { Failure, Field } from "./parts.jsx";

const ADVICE = {
  conflict: "Choose another name. To replace what the name holds, delete that corpus first: “polyseme corpora delete”.",
  cut_off: "Is the service running? It may also have refused the file: it takes 1 GiB, unpacked, unless its operator says otherwise (POLYSEME_UPLOAD_BYTES).",
  invalid_corpus: "Mend the text there, then upload it again.",
  malformed_request: "Pack the file again, then upload it again.",
  unsupported_media_type: "Save it as plain text, JSON lines, CSV or Parquet, then upload that.",
  request_timeout: "The connection is too slow: try again, or upload the file packed, as .gz.",
  too_large: "Divide it, or ask the operator to allow more.",
};

const PACKED = "(\\.(gz|gzip|zst|zstd))?$";
// What is inside decides; these are likely to have fields.
const hasFields = (name) => new RegExp(`\\.(jsonl|ndjson|json|csv|tsv|parquet)${PACKED}`, "i").test(name);
const SPLITS = [["line", "one line"], ["paragraph", "one paragraph"], ["document", "the whole text"]];

const nameAfter = (file) => file.name.replace(new RegExp(`(\\.(txt|text|md|jsonl|ndjson|json|csv|tsv|parquet))?${PACKED}`, "i"), "").toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 60);

export function Upload({ done }) {
  const [file, setFile] = useState(null);
  const [text, setText] = useState("");
  const [name, setName] = useState("");
  const [split, setSplit] = useState(null);
  const [field, setField] = useState("text");
  const [languageField, setLanguageField] = useState("");
  const [sent, setSent] = useState(null); // the share of it, while it is under way
  const [error, fail] = useState(null);
  const stop = useRef(null);
  useEffect(() => () => stop.current?.abort(), []);
  const fields = hasFields(file?.name ?? "");
  const sampleBy = split ?? (file ? "line" : "paragraph");
  const wrong = (pointer) => error?.errors?.find((e) => e.pointer === pointer)?.detail;
  const choose = (e) => {
    const chosen = e.target.files[0] ?? null;
    setFile(chosen);
    fail(null);
    if (chosen && !name) setName(nameAfter(chosen));
  };
  const send = async () => {
    const control = (stop.current = new AbortController());
    const options = { name, filename: file?.name, ...(fields ? { field, language_field: languageField } : { sample_by: sampleBy }) };
    setSent(0);
    fail(null);
    try {
      done(await upload(`/v1/corpora${query(options)}`, file ?? text, "application/octet-stream", setSent, control.signal));
    } catch (e) {
      if (e.name !== "AbortError") fail(e);
      setSent(null);
    }
  };
  return (
    <section class="panel" aria-label="A new corpus">
      <Field label="File" hint="Plain text, JSON lines or an array, CSV, TSV or Parquet, packed (.gz, .zst) or not. What is inside decides">
        {(a) => <input {...a} type="file" accept=".txt,.md,.jsonl,.ndjson,.json,.csv,.tsv,.parquet,.gz,.zst,text/plain" onChange={choose} />}
      </Field>
      {!file && (
        <Field label="Or pasted texts">
          {(a) => <textarea {...a} rows={6} value={text} onInput={(e) => setText(e.target.value)} />}
        </Field>
      )}
      {fields
        ? (
          <>
            <Field label="Field with the text" hint="of each object, or the column; a line may also be a string alone" error={wrong("/field")}>
              {(a) => <input {...a} value={field} onInput={(e) => setField(e.target.value)} />}
            </Field>
            <Field label="Field with the language" hint="such as de or German; may be empty" error={wrong("/language_field")}>
              {(a) => <input {...a} value={languageField} onInput={(e) => setLanguageField(e.target.value)} />}
            </Field>
          </>
        )
        : (
          <Field label="A document is" hint="An empty line ends a paragraph">
            {(a) => <select {...a} value={sampleBy} onChange={(e) => setSplit(e.target.value)}>{SPLITS.map(([v, t]) => <option key={v} value={v}>{t}</option>)}</select>}
          </Field>
        )}
      <Field label="Name" hint="Lower-case letters, digits, - _ and .; if empty, it is made from the content" error={wrong("/name")}>
        {(a) => <input {...a} value={name} onInput={(e) => setName(e.target.value.trim())} />}
      </Field>
      <div class="buttons">
        <button type="button" disabled={sent !== null || !(file ?? text.trim())} onClick={send}>Upload</button>
        {sent !== null && <button type="button" class="second" onClick={() => stop.current.abort()}>Stop</button>}
        {file && sent === null && <span class="quiet">{bytes(file.size)}</span>}
        <span class="quiet" role="status">{sent === null ? "" : sent < 1 ? "Uploading …" : "All is sent. The service reads the rest of it …"}</span>
      </div>
      {sent !== null && <progress aria-label="Share sent" max={1} value={sent} />}
      {error && !["/name", "/field", "/language_field"].some(wrong) && <Failure error={error} advice={ADVICE} />}
    </section>
  );
}
